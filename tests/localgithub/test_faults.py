import time

import pytest
import requests

import localgithub.faults
import localstripe.faults

from .conftest import Api


def test_reset_before_does_nothing_and_reset_after_starts_the_run_unseen(api: Api, control):
    control("faults", api={"reset_before": 1, "methods": ["POST"], "times": 1})
    with pytest.raises(requests.ConnectionError):
        api.dispatch("quick.yml", {"cast_id": "before"})
    control("faults", reset=True, api={"reset_after": 1, "paths": "/dispatches$", "times": 1})
    with pytest.raises(requests.ConnectionError):
        api.dispatch("quick.yml", {"cast_id": "after"})
    record = control("record")
    runs = {run["cast_id"]: run for run in record["runs"]}
    assert "before" not in runs
    before, after = record["dispatches"][-2:]
    assert (before["cast_id"], before["status"], before["runs"]) == ("before", None, [])
    assert (after["cast_id"], after["status"], after["runs"]) == ("after", None, [runs["after"]["id"]])
    api.wait(runs["after"]["id"])


def test_5xx_may_come_without_or_with_an_effect(api: Api, control):
    control("faults", api={"error_5xx": 1, "times": 1})
    assert api.dispatch("quick.yml", {"cast_id": "503"}).status_code == 503
    control("faults", reset=True, api={"error_5xx_after": 1, "times": 1})
    assert api.dispatch("quick.yml", {"cast_id": "502"}).status_code == 502
    cast_ids = [run["cast_id"] for run in control("record")["runs"]]
    assert "503" not in cast_ids
    assert "502" in cast_ids


def test_rate_limits_say_when_to_come_back(api: Api, control):
    control("faults", api={"secondary_rate_limit": 1, "retry_after": 7, "times": 1})
    limited = api.get("/installation/repositories")
    assert (limited.status_code, limited.headers["Retry-After"]) == (403, "7")
    assert "secondary rate limit" in limited.json()["message"]
    control("faults", reset=True, api={"primary_exhausted": True})
    used_up = api.get("/installation/repositories")
    assert used_up.status_code == 403
    assert used_up.json()["message"].startswith("API rate limit exceeded")
    assert used_up.headers["X-RateLimit-Remaining"] == "0"
    assert int(used_up.headers["X-RateLimit-Reset"]) > time.time()


def test_faults_can_be_aimed_at_paths_and_slowed(api: Api, control):
    control("faults", api={"error_5xx": 1, "paths": "/jobs$", "latency_ms": [100, 120]})
    assert api.get("/installation/repositories").status_code == 200
    begun = time.monotonic()
    assert api.get(api.repo("actions/runs/1/jobs")).status_code == 503
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize("faults_of", [localgithub.faults.Faults, localstripe.faults.Faults])
def test_a_request_that_was_under_way_before_a_fault_was_set_for_others_is_spared(faults_of):
    faults = faults_of()
    assert faults.applies("GET", "/repos/demo/spells")
    faults.update({"api": {"reset_after": 1.0, "times": 1, "paths": "/dispatches$"}})
    assert not faults.strikes("reset_after", "GET", "/repos/demo/spells")
    assert faults.strikes("reset_after", "POST", "/repos/demo/spells/dispatches")


def test_fresh_token_is_unknown_for_a_while(server, as_app, control):
    control("faults", api={"fresh_token_401_ms": 150})
    api = Api(server.config.base_url, as_app.post("/app/installations/77/access_tokens").json()["token"])
    assert api.get("/installation/repositories").status_code == 401
    time.sleep(0.2)
    assert api.get("/installation/repositories").status_code == 200


def test_unreachable_server_answers_nothing_but_the_control_plane(api: Api, control):
    control("faults", unreachable=True)
    with pytest.raises(requests.ConnectionError):
        api.get("/meta")
    control("faults", unreachable=False)
    assert api.get("/meta").status_code == 200


def test_unknown_fault_is_refused(server):
    known = {"Authorization": f"Bearer {server.world.control_token}"}
    asked = {"api": {"typo": 1}}
    answer = requests.post(server.config.base_url + "/_local/faults", json=asked, headers=known, timeout=5)
    assert answer.status_code == 422


def test_seed_repeats_the_same_misfortunes(api: Api, control):
    rows = []
    for _ in range(2):
        control("faults", reset=True, seed=42, api={"error_5xx": 0.5, "paths": "^/meta$"})
        rows.append([api.get("/meta").status_code for _ in range(12)])
    assert rows[0] == rows[1]
    assert set(rows[0]) == {200, 503}


def test_noise_makes_foreign_runs_in_the_same_second(api: Api, control):
    made = control("noise", n=6, workflow="quick.yml")["run_ids"]
    runs = {run["id"]: run for run in control("record")["runs"] if run["noise"]}
    assert set(made) <= set(runs)
    assert {runs[run_id]["display_title"] for run_id in made} >= {"quick [cast:]"}
    for run_id in made:
        assert api.wait(run_id)["conclusion"] == "success"
