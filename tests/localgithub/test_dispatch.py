import json

import pytest

from localgithub.config import Config
from localgithub.server import LocalGitHub

from .conftest import REPOSITORY, Api

QUICK = {"cast_id": "C"}


def test_dispatch_of_2022_answers_204_and_gives_the_run_only_when_asked(api: Api):
    assert api.dispatch("quick.yml", QUICK).status_code == 204
    details = api.dispatch("quick.yml", QUICK, return_run_details=True)
    assert details.status_code == 200
    body = details.json()
    assert set(body) == {"workflow_run_id", "run_url", "html_url"}
    assert body["workflow_run_id"] > 2**31
    assert api.wait(body["workflow_run_id"])["conclusion"] == "success"


def test_dispatch_of_2026_always_gives_the_run_and_knows_no_parameter_for_it(server, token):
    api = Api(server.config.base_url, token, "2026-03-10")
    assert api.dispatch("quick.yml", QUICK).status_code == 200
    refused = api.dispatch("quick.yml", QUICK, return_run_details=True)
    assert (refused.status_code, refused.json()["message"]) == (
        422,
        'Invalid request.\n\n"return_run_details" is not a permitted key.',
    )


def test_workflow_is_found_by_id_too(api: Api):
    listed = api.get(api.repo("actions/workflows?per_page=100")).json()["workflows"]
    quick = next(w for w in listed if w["path"].endswith("/quick.yml"))
    assert api.get(api.repo(f"actions/workflows/{quick['id']}")).json() == quick
    assert api.dispatch(str(quick["id"]), QUICK).status_code == 204


@pytest.mark.parametrize(
    ("file", "body", "message"),
    [
        ("quick.yml", {"inputs": QUICK}, 'Invalid request.\n\n"ref" wasn\'t supplied.'),
        (
            "quick.yml",
            {"target": 1, "version": 2},
            'Invalid request.\n\n"target", "version" are not permitted keys.\n"ref" wasn\'t supplied.',
        ),
        (
            "quick.yml",
            {"ref": "main", "inputs": "x"},
            "Invalid request.\n\nFor 'properties/inputs', \"x\" is not an object.",
        ),
        ("quick.yml", {"ref": "no/such", "inputs": QUICK}, "No ref found for: no/such"),
        ("quick.yml", {"ref": "main", "inputs": {**QUICK, "foo": "1"}}, 'Unexpected inputs provided: ["foo"]'),
        ("quick.yml", {"ref": "main"}, "Required input 'cast_id' not provided"),
        (
            "quick.yml",
            {"ref": "main", "inputs": {**QUICK, "mode": ""}},
            "Provided value '' for input 'mode' not in the list of allowed values",
        ),
        (
            "quick.yml",
            {"ref": "main", "inputs": {**QUICK, "flag": "maybe"}},
            "Provided value 'maybe' for input 'flag' not in the list of allowed values",
        ),
        ("quick.yml", {"ref": "main", "inputs": {"cast_id": "x" * 65_530}}, "inputs are too large."),
        (
            "typed.yml",
            {"ref": "main", "inputs": {"count": "many", "said": ""}},
            "Provided value 'many' for input 'count' is not a number",
        ),
        (
            "typed.yml",
            {"ref": "main", "inputs": {"count": "0x10", "said": ""}},
            "Provided value '0x10' for input 'count' is not a number",
        ),
        (
            "typed.yml",
            {"ref": "main", "inputs": {"wild": "True", "said": ""}},
            "Provided value 'True' for input 'wild' not in the list of allowed values",
        ),
        (
            "typed.yml",
            {"ref": "main", "inputs": {"kind": "two", "said": ""}},
            "Provided value 'two' for input 'kind' not in the list of allowed values",
        ),
        (
            "typed.yml",
            {"ref": "main", "inputs": {"where": "Production"}},
            "Provided value 'Production' for input 'where' not in the list of allowed values",
        ),
        ("nightly.yml", {"ref": "main"}, "Workflow does not have 'workflow_dispatch' trigger"),
        ("called.yml", {"ref": "main"}, "Workflow does not have 'workflow_dispatch' trigger"),
        ("push.yml", {"ref": "main"}, "Workflow does not have 'workflow_dispatch' trigger"),
        (
            "many.yml",
            {"ref": "main", "inputs": {f"i{n}": "" for n in range(26)}},
            "Invalid request.\n\nNo more than 25 properties are allowed; 26 were supplied.",
        ),
    ],
)
def test_refused_dispatch_says_why_in_githubs_words(api: Api, file, body, message):
    answer = api.post(api.repo(f"actions/workflows/{file}/dispatches"), body)
    assert (answer.status_code, answer.json()["message"]) == (422, message)


def test_inputs_arrive_with_their_types_in_inputs_and_as_text_in_the_event(api: Api):
    given = {"where": "staging", "count": "-1.5e3", "wild": "false", "kind": "3", "said": ""}
    run = api.wait(api.start("typed.yml", given))
    [job] = api.jobs(run["id"])
    said = api.log(job["id"])
    assert 'inputs: { "count": "-1.5e3", "kind": "3", "said": "", "where": "staging", "wild": false }' in said
    assert 'event: { "count": "-1.5e3", "kind": "3", "said": "", "where": "staging", "wild": "false" }' in said
    assert "wild: no, less: yes" in said


def test_broken_yaml_is_refused_with_its_place(api: Api):
    answer = api.dispatch("broken.yml")
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("Invalid Argument - failed to parse workflow: (Line: ")


def test_unknown_workflow_repository_and_trailing_slash_are_404(api: Api):
    assert api.dispatch("none.yml").json()["message"] == "Not Found"
    assert api.get("/repos/octo-org/none/actions/runs").status_code == 404
    assert api.get(api.repo("actions/runs/")).status_code == 404


AS_JSON = {"Content-Type": "application/json"}


def test_body_that_is_no_json_object_is_400(api: Api):
    path = api.repo("actions/workflows/quick.yml/dispatches")
    assert api("POST", path, data="{", headers=AS_JSON).json()["message"] == "Problems parsing JSON"
    assert api("POST", path, data="[1]", headers=AS_JSON).json()["message"] == "Body should be a JSON object"


def test_disabled_workflow_is_refused_until_it_is_enabled(api: Api):
    assert api("PUT", api.repo("actions/workflows/many.yml/disable")).status_code == 204
    assert api.get(api.repo("actions/workflows/many.yml")).json()["state"] == "disabled_manually"
    refused = api.dispatch("many.yml")
    assert refused.json()["message"] == "Cannot trigger a 'workflow_dispatch' on a disabled workflow"
    api("PUT", api.repo("actions/workflows/many.yml/enable"))
    assert api.dispatch("many.yml").status_code == 204


@pytest.mark.parametrize("ref", ["refs/heads/main", "v1", "refs/tags/v1"])
def test_branch_and_tag_are_taken_short_and_full(api: Api, ref):
    assert api.dispatch("many.yml", ref=ref).status_code == 204


def test_a_commit_is_no_ref(api: Api, server):
    sha = server.world.repositories[REPOSITORY].refs["refs/heads/main"]
    assert api.dispatch("many.yml", ref=sha).json()["message"] == f"No ref found for: {sha}"


def test_uncommitted_workflow_runs(api: Api, tree):
    file = tree / ".github" / "workflows" / "fresh.yml"
    file.write_text("on: workflow_dispatch\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo fresh'}]}}\n")
    run = api.wait(api.start("fresh.yml"))
    assert (run["conclusion"], run["name"]) == ("success", ".github/workflows/fresh.yml")


def test_repository_dispatch_starts_every_workflow_that_takes_the_type(api: Api):
    payload = {"cast_id": "RD1", "spell": {"key": "greet"}}
    answer = api.post(api.repo("dispatches"), {"event_type": "poke", "client_payload": payload})
    assert answer.status_code == 204
    listed = api.get(api.repo("actions/runs?event=repository_dispatch&per_page=2")).json()["workflow_runs"]
    assert {run["display_title"] for run in listed} == {"greet [cast:RD1]", "poke"}
    assert all(api.wait(run["id"])["conclusion"] == "success" for run in listed)


def test_repository_dispatch_that_nobody_takes_is_still_204(api: Api, server):
    before = len(server.world.runs.all())
    poked_too = next(r for r in server.world.repositories.values()).disabled
    poked_too.add(".github/workflows/poked-too.yaml")
    assert api.post(api.repo("dispatches"), {"event_type": "nobody"}).status_code == 204
    poked_too.clear()
    assert len(server.world.runs.all()) == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"event_type": "poke", "client_payload": {str(n): n for n in range(13)}},
            "Invalid request.\n\nNo more than 10 properties are allowed; 13 were supplied.",
        ),
        ({"event_type": "poke", "client_payload": {"a": "x" * 66_000}}, "client_payload is too large."),
        (
            {"event_type": "poke", "client_payload": "x"},
            "Invalid request.\n\nFor 'properties/client_payload', \"x\" is not an object.",
        ),
        ({}, 'Invalid request.\n\n"event_type" wasn\'t supplied.'),
    ],
)
def test_refused_repository_dispatch_says_why(api: Api, body, message):
    answer = api.post(api.repo("dispatches"), body)
    assert (answer.status_code, answer.json()["message"]) == (422, message)


@pytest.mark.processes
def test_ghes_3_19_refuses_the_new_parameter_and_version_and_has_no_digest(tmp_path, tree, public_pem):
    config = Config(
        repositories={REPOSITORY: tree}, state_dir=tmp_path, port=0, app_public_key=public_pem, api="ghes-3.19",
        personal_token="github_pat_x",
    )  # fmt: skip
    server = LocalGitHub(config)
    server.start()
    try:
        api = Api(config.base_url + "/api/v3", "github_pat_x")
        refused = api.dispatch("quick.yml", QUICK, return_run_details=True)
        assert "is not a permitted key" in refused.json()["message"]
        assert api.dispatch("quick.yml", QUICK).status_code == 204
        assert api.get("/meta").json()["installed_version"] == "3.19.0"
        assert Api(config.base_url, "github_pat_x", "2026-03-10").get("/meta").status_code == 400
        assert "may only define up to 10" in api.dispatch("many.yml", {}).json()["message"]
        assert "No more than 10" in api.dispatch("typed.yml", {f"i{n}": "" for n in range(11)}).json()["message"]
        own = {"count": "2", "kind": "one", "said": "hello", "wild": "true"}
        answer = api.dispatch("typed.yml", own)
        assert (answer.status_code, answer.content) == (204, b"")
        [typed] = api.get(api.repo("actions/workflows/typed.yml/runs")).json()["workflow_runs"]
        assert api.wait(typed["id"])["conclusion"] == "success"
        assert (typed["actor"]["login"], typed["display_title"]) == ("local-person", "Typed")
        run_id = api.get(api.repo("actions/runs")).json()["workflow_runs"][0]["id"]
        api.wait(run_id)
        assert "digest" not in json.dumps(api.get(api.repo(f"actions/runs/{run_id}/artifacts")).json())
    finally:
        server.stop()
