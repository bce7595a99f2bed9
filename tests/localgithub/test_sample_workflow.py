"""The sample workflow that we ship, run for real: all spells, both triggers, hostile input."""

import io
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from .conftest import Api
from .trees import SAMPLE

FILE = SAMPLE.name
SPELLS = Path(__file__).parents[2] / "spellplatform" / "demo" / "spells.toml"


def cast(api: Api, spell: str, data, cast_id: str = "01J") -> dict[str, Any]:
    text = data if isinstance(data, str) else json.dumps(data)
    return api.wait(api.start(FILE, {"cast_id": cast_id, "spell_key": spell, "input_data": text}))


def result(api: Api, run: dict[str, Any]) -> tuple[dict[str, Any], str]:
    [artifact] = api.get(api.repo(f"actions/runs/{run['id']}/artifacts")).json()["artifacts"]
    assert artifact["name"] == "spell-result"
    link = api.get(api.repo(f"actions/artifacts/{artifact['id']}/zip")).headers["Location"]
    with zipfile.ZipFile(io.BytesIO(requests.get(link, timeout=5).content)) as archive:
        return json.loads(archive.read("result.json")), archive.read("report.md").decode()


def errors(api: Api, run: dict[str, Any]) -> list[str]:
    log = api.log(api.jobs(run["id"])[0]["id"])
    return [line.split("##[error]")[1] for line in log.splitlines() if "##[error]" in line]


def test_greet_greets(api: Api):
    run = cast(api, "greet", {"name": "Zoë", "times": 2})
    assert (run["conclusion"], run["display_title"]) == ("success", "greet [cast:01J]")
    output, report = result(api, run)
    assert output == {"greeting": "Hello, Zoë!", "lines": ["Hello, Zoë!", "Hello, Zoë!"]}
    assert report.startswith("# greet\n")
    [job] = api.jobs(run["id"])
    assert len(job["steps"]) >= 8
    assert {s["conclusion"] for s in job["steps"]} == {"success"}


def test_count_words_counts(api: Api):
    output, _ = result(api, cast(api, "count-words", {"text": "The cat, the dog; don't the", "top": 2}))
    assert output == {"words": 6, "characters": 27, "top": [["the", 3], ["cat", 1]]}


@pytest.mark.parametrize("event", ["workflow_dispatch", "repository_dispatch"])
def test_all_that_github_takes_reaches_the_script(api: Api, event):
    text = "🧙" * 65_000  # twice what one environment variable holds
    data = json.dumps({"text": text}, ensure_ascii=False)
    sent = {"cast_id": f"01-{event}", "spell_key": "count-words", "input_data": data}
    if event == "workflow_dispatch":
        run_id = api.start(FILE, sent)
    else:
        api.post(api.repo("dispatches"), {"event_type": "cast-spell", "client_payload": sent})
        listed = api.get(api.repo("actions/runs?event=repository_dispatch&per_page=5")).json()["workflow_runs"]
        [run_id] = [r["id"] for r in listed if sent["cast_id"] in r["display_title"]]
    run = api.wait(run_id)
    assert run["conclusion"] == "success", api.log(api.jobs(run_id)[0]["id"])
    assert result(api, run)[0]["characters"] == 65_000


def test_stumble_fails_with_its_reason_and_without_artifact(api: Api):
    run = cast(api, "stumble", {"reason": "100% tired\n::set-output name=x::y"})
    assert run["conclusion"] == "failure"
    assert errors(api, run) == ["100% tired", "Process completed with exit code 1."]
    failed = [s["name"] for s in api.jobs(run["id"])[0]["steps"] if s["conclusion"] == "failure"]
    assert failed == ["Cast"]
    assert api.get(api.repo(f"actions/runs/{run['id']}/artifacts")).json()["total_count"] == 0


@pytest.mark.parametrize(
    ("spell", "data", "message"),
    [
        ("levitate", {}, 'Unknown spell_key "levitate". This workflow knows: greet, count-words, stumble.'),
        ("greet", "{", "input_data is not JSON"),
        ("greet", [], "input_data must be a JSON object."),
        ("greet", {"name": 1}, 'greet needs the text field "name".'),
        ("greet", {"name": "x", "times": 6}, "times must be a whole number from 1 to 5."),
        ("greet", {"name": "x", "times": 1.5}, "times must be a whole number from 1 to 5."),
        ("greet", {"name": "x", "times": True}, "times must be a whole number from 1 to 5."),
        ("greet", '{"name": "x", "times": NaN}', "times must be a whole number from 1 to 5."),
    ],
)
def test_wrong_input_fails_with_a_clear_message(api: Api, spell, data, message):
    run = cast(api, spell, data)
    assert run["conclusion"] == "failure"
    assert errors(api, run)[0].startswith(message)


@pytest.mark.parametrize(
    ("spell", "data"),
    [
        ("greet", '{"name": "x", "times": 1.0}'),
        ("greet", '{"name": "x", "times": 5e0}'),
        ("count-words", '{"text": " ", "top": 20.0}'),
        ("stumble", '{"reason": ""}'),
    ],
)
def test_what_the_demos_schemas_take_the_workflow_takes(api: Api, spell, data):
    schema = tomllib.loads(SPELLS.read_text(encoding="utf-8"))[spell]["input_schema"]
    assert list(Draft202012Validator(schema).iter_errors(json.loads(data))) == []
    run = cast(api, spell, data)
    failed = [s["name"] for s in api.jobs(run["id"])[0]["steps"] if s["conclusion"] == "failure"]
    assert failed == (["Cast"] if spell == "stumble" else [])


def test_both_triggers_give_the_same(api: Api):
    payload = {"cast_id": "01RD", "spell_key": "greet", "input_data": '{"name": "you"}'}
    api.post(api.repo("dispatches"), {"event_type": "cast-spell", "client_payload": payload})
    listed = api.get(api.repo("actions/runs?event=repository_dispatch&per_page=5")).json()["workflow_runs"]
    [run_id] = [r["id"] for r in listed if r["display_title"] == "greet [cast:01RD]"]
    output, report = result(api, api.wait(run_id))
    assert output["greeting"] == "Hello, you!"
    assert "01RD" in report


def test_run_by_hand_needs_no_input(api: Api):
    run = api.wait(api.start(FILE))
    assert (run["conclusion"], run["display_title"]) == ("success", "greet [cast:manual]")


@pytest.mark.parametrize(
    "name",
    [
        "$(touch {0})`touch {0}`;touch {0}\n'\"; touch {0} #",
        "${{{{ github.token }}}}\n::error::no {0}\n::add-mask::Hello",
        "'''+open('{0}','w').write('x')+'''\\x22\u0000\u2028",
    ],
)
def test_hostile_input_stays_text(api: Api, tmp_path, name):
    hostile = name.format(tmp_path / "owned")
    run = cast(api, "greet", {"name": hostile}, cast_id="x$(id)")
    assert run["conclusion"] == "success"
    output, _ = result(api, run)
    assert output["greeting"] == f"Hello, {hostile}!"
    assert not (tmp_path / "owned").exists()
    assert errors(api, run) == []
