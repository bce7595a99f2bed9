"""The main roads, on real processes: success, failure, cancellation on GitHub, artifacts."""

import hashlib
import io
import zipfile

import pytest

from tests.e2e.platform import Platform, until


def test_both_kinds_of_spell_succeed_with_output_and_are_paid(here: Platform):
    greet = here.cast("greet", {"name": "Ada", "times": 2})
    count = here.cast("count-words", {"text": "To be, or not to be"})
    for cast in (greet, count):
        assert (cast["status"], cast["final"], cast["output"]) == ("queued", False, None)
    greeted, counted = (here.ended(cast["cast_id"]) for cast in (greet, count))
    assert greeted["output"] == {"greeting": "Hello, Ada!", "lines": ["Hello, Ada!", "Hello, Ada!"]}
    assert counted["output"] == {"words": 6, "characters": 19, "top": [["be", 2], ["to", 2], ["not", 1]]}
    assert greeted["summary"].startswith(f"# greet\n\nCast `{greet['cast_id']}` succeeded.")
    for ended, cents in ((greeted, 1), (counted, 2)):
        assert ended["annotations"] == []
        assert (ended["status"], ended["status_reason"], ended["progress"]) == ("succeeded", "succeeded", 100)
        assert ended["error"] is None
        [run] = here.runs(ended["cast_id"])
        assert ended["run_url"] == run["html_url"]
        assert here.ledger(ended["cast_id"]) == [("hold", cents), ("capture", cents)]


def test_a_run_is_paid_by_its_minutes_or_by_what_it_reports_and_the_rest_of_the_hold_is_given_back(here: Platform):
    gate = here.cast("gate-by-the-minute", {"gate": str(here.gate())})["cast_id"]
    wanted: list[tuple[str, dict[str, object], int, int, tuple[object, ...]]] = [
        # spell, input, captured of what was held, what the charge says
        ("echo-by-the-minute", {}, 5, 100, ("per_minute", 1, None, False)),
        ("echo-with-a-bill", {"charge_cents": 7, "fine": True}, 7, 50, ("reported", None, 7, False)),
        ("echo-with-a-bill", {"charge_cents": 70}, 50, 50, ("reported", None, 70, True)),
        ("echo-with-a-bill", {"fine": True}, 0, 50, ("reported", None, None, True)),
    ]
    casts = [here.cast(spell, given)["cast_id"] for spell, given, *_ in wanted]
    here.at_gate(gate)
    here.call("POST", f"/api/v1/casts/{gate}/cancel")
    for cast_id, (_, given, captured, held, charge) in zip(casts, wanted, strict=True):
        ended = here.ended(cast_id)
        assert (ended["status"], ended["charged_cents"], ended["cost_cents"]) == ("succeeded", captured, held), ended
        assert ended["output"] == {name: given[name] for name in given if name != "charge_cents"}
        how = ended["charge"]
        assert (how["kind"], how["minutes"], how["reported_cents"], bool(how["note"])) == charge
        moves = [("hold", held), ("capture", captured), ("release", held - captured)]
        assert here.ledger(cast_id) == [(kind, cents) for kind, cents in moves if cents]
    ended = here.ended(gate)
    assert (ended["status"], ended["charged_cents"]) == ("cancelled", 5)
    assert here.ledger(gate) == [("hold", 100), ("capture", 5), ("release", 95)]


def test_a_workflow_gets_an_input_byte_for_byte_as_its_caller_sees_it(here: Platform):
    given = '{"zeta":1,"b":2,"aa":3,"a":1e+22,"n":[1.5,-0.0,123456789012345678901234567890],"Ä":"进入 ✅ \\\\ \\"q\\""}'
    body = '{"spell_key": "echo", "input": ' + given.replace(",", " , ").replace("1e+22", "1E22") + "}"
    made = here.call("POST", "/api/v1/cast", data=body.encode(), headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    cast_id = made.json()["cast_id"]
    here.ended(cast_id)
    with zipfile.ZipFile(io.BytesIO(here.artifact(cast_id, "spell-result").content)) as archive:
        assert archive.read("result.json").decode() == given  # what the workflow got, as it wrote it down
    shown = here.call("GET", f"/api/v1/casts/{cast_id}").content.decode()
    assert f'"input":{given}' in made.content.decode()
    assert f'"input":{given}' in shown
    assert f'"output":{given}' in shown
    streamed = here.call("GET", f"/api/v1/casts/{cast_id}/events?after=0").content.decode()
    assert f'"output":{given}' in streamed


def test_what_the_jobs_of_a_run_remarked_is_told_with_its_job_also_if_it_succeeded(here: Platform):
    ended = here.ended(here.cast("remark", {})["cast_id"])
    assert (ended["status"], ended["output"]) == ("succeeded", {"read": True})
    assert ended["summary"] == "# Beside it"
    facts = [
        (one["level"], one["title"], one["message"], one["file"], one["line"], one["job"])
        for one in ended["annotations"]
    ]
    assert facts == [
        ("warning", "Slow", "it took long", "src/a.py", 7, "Loud"),
        ("notice", None, "one more thing", None, None, "Soft"),
    ]
    assert ended["artifact_url"].partition("?")[0].endswith("/artifacts/report")


@pytest.mark.parametrize(("spell", "settled"), [("fail", "capture"), ("fail-for-free", "release")])
def test_a_failed_run_says_where_and_why_and_costs_what_the_spell_says(here: Platform, spell: str, settled: str):
    ended = here.ended(here.cast(spell, {})["cast_id"])
    assert (ended["status"], ended["status_reason"]) == ("failed", "run_failed")
    error = ended["error"]
    assert (error["failed_job"], error["failed_step"]) == ("A sad job", "Break the vase")
    expected = [*(f"shard {number}" for number in range(22, 41)), "##[error]Process completed with exit code 3."]
    assert error["log_tail"] == expected
    assert {step["name"]: step["conclusion"] for step in ended["steps"]} == {
        "Set up job": "success",
        "Begin well": "success",
        "Break the vase": "failure",
        "Sweep up": "skipped",
        "Complete job": "success",
    }
    assert here.ledger(ended["cast_id"]) == [("hold", 3), (settled, 3)]


def test_a_run_cancelled_on_github_ends_its_cast_and_costs_nothing(here: Platform):
    cast_id = here.cast("gate", {"gate": str(here.gate())})["cast_id"]
    here.at_gate(cast_id)
    [run] = here.runs(cast_id)
    here.on_github("POST", f"/actions/runs/{run['id']}/cancel")
    ended = here.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("cancelled", "cancelled_on_github")
    assert here.ledger(cast_id) == [("hold", 3), ("release", 3)]


def test_a_rerun_on_github_after_the_end_changes_neither_state_nor_price(here: Platform):
    cast_id = here.cast("fail", {})["cast_id"]
    before = here.ended(cast_id)
    [run] = here.runs(cast_id)
    here.on_github("POST", f"/actions/runs/{run['id']}/rerun")
    until(lambda: here.row(cast_id)["run_attempt"] == 2)
    until(lambda: here.runs(cast_id)[0]["status"] == "completed")
    after = here.get(cast_id)
    same = ("status", "status_reason", "finished_at", "error", "final", "cost_cents")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert here.ledger(cast_id) == [("hold", 3), ("capture", 3)]


def test_artifacts_are_kept_byte_for_byte(here: Platform):
    ended = here.ended(here.cast("leave", {})["cast_id"])
    assert ended["status"] == "succeeded", ended
    [run] = here.runs(ended["cast_id"])
    stored = {artifact["name"]: artifact for artifact in run["artifacts"]}
    names = {"viele ✨ & mehr", "empty.bin", "random.bin", "ünï ✨ 100%25 #1+2.json", "random"}
    assert stored.keys() == names
    assert {artifact["name"] for artifact in ended["artifacts"]} == names
    bodies = {}
    for artifact in ended["artifacts"]:
        github = stored[artifact["name"]]
        answer = here.artifact(ended["cast_id"], artifact["name"])
        digest = hashlib.sha256(answer.content).hexdigest()
        assert (digest, len(answer.content)) == (github["sha256"], github["size"]), artifact["name"]
        assert (artifact["digest"], artifact["size_bytes"]) == (f"sha256:{digest}", github["size"])
        by_link = here.call("GET", artifact["url"].removeprefix(here.url), key="")
        assert by_link.content == answer.content
        bodies[artifact["file_name"]] = answer.content
    assert bodies["empty.bin"] == b""
    assert len(bodies["random.bin"]) == 3_000_000
    assert bodies["ünï ✨ 100%25 #1+2.json"] == '{"schön": true}\n'.encode()
    with zipfile.ZipFile(io.BytesIO(bodies["viele ✨ & mehr.zip"])) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    assert content == {"one.txt": b"one\n", "below/zwei ✨.txt": b"two\n", "nothing": b""}
