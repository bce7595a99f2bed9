from typing import Any

import pytest

from .conftest import Api


def annotations(api: Api, job: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    answer = api.get(job["check_run_url"].removeprefix(api.base) + "/annotations" + query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_steps_remark_is_kept_with_file_line_and_title(api: Api):
    run_id = api.start("remarks.yml")
    api.wait(run_id)
    [job] = api.jobs(run_id)
    assert job["check_run_url"].endswith(f"/check-runs/{job['id']}")
    error, warning, notice, no_line, no_file, *notices, end = annotations(api, job)
    assert {key: value for key, value in error.items() if key != "blob_href"} == {
        "path": "src/a.py", "start_line": 3, "end_line": 4, "start_column": 2, "end_column": 9,
        "annotation_level": "failure", "title": "Oh, dear: 100%", "message": "it broke\nbadly :: twice",
        "raw_details": "",
    }  # fmt: skip
    assert error["blob_href"].endswith("/src/a.py")
    assert (warning["path"], warning["annotation_level"], warning["message"]) == (".github", "warning", "careful")
    assert (notice["path"], notice["start_line"], notice["end_line"]) == ("b.py", 7, 7)
    assert (no_line["path"], no_line["start_line"], no_line["end_line"]) == ("b.py", 1, 1), "the file as a whole"
    assert (no_file["path"], no_file["message"]) == (".github", "no file")
    assert (notice["title"], notice["message"]) == ("By the way", "all is % well")
    assert [n["message"] for n in notices] == [str(n) for n in range(1, 10)], "ten of a level a step, as on GitHub"
    assert (end["annotation_level"], end["message"]) == ("failure", "Process completed with exit code 4.")
    assert annotations(api, job, "?per_page=1&page=2") == [warning]


def test_annotations_need_checks_read(api: Api, as_app: Api):
    run_id = api.start("quick.yml", {"cast_id": "checks"})
    api.wait(run_id)
    [job] = api.jobs(run_id)
    narrow = as_app.post("/app/installations/77/access_tokens", {"permissions": {"actions": "read"}}).json()
    refused = Api(api.base, narrow["token"]).get(api.repo(f"check-runs/{job['id']}/annotations"))
    assert (refused.status_code, refused.json()["message"]) == (403, "Resource not accessible by integration")
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "checks=read"
    assert annotations(api, job) == []
    assert api.get(api.repo("check-runs/1/annotations")).status_code == 404


def test_app_without_checks_can_not_ask_for_them(server, as_app: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server.config, "permissions", {"actions": "write", "metadata": "read"})
    refused = as_app.post("/app/installations/77/access_tokens", {"permissions": {"checks": "read"}})
    assert (refused.status_code, refused.json()["message"]) == (
        422, "The permissions requested are not granted to this installation.",
    )  # fmt: skip


def test_run_says_who_started_it(server, api: Api, receiver, control):
    ours = api.start("quick.yml", {"cast_id": "who"})
    mine = Api(server.config.base_url, "github_pat_local")
    assert mine.get("/user").json()["login"] == "local-person"
    assert api.get("/user").status_code == 403
    theirs = mine.start("quick.yml", {"cast_id": "who"})
    [strange] = control("noise", workflow="quick.yml", actor="mona", title="mine [cast:copied]")["run_ids"]
    [robot] = control("noise", workflow="quick.yml", actor="other[bot]", inputs={"cast_id": "copied"})["run_ids"]
    shown = {run_id: api.wait(run_id) for run_id in (ours, theirs, strange, robot)}
    for run in shown.values():
        assert run["actor"] == run["triggering_actor"]
        assert run["created_at"] == run["run_started_at"]
        assert run["head_branch"] == "main"
    assert [(run["actor"]["login"], run["actor"]["type"], run["display_title"]) for run in shown.values()] == [
        ("local-spells[bot]", "Bot", "quick [cast:who]"),
        ("local-person", "User", "quick [cast:who]"),
        ("mona", "User", "mine [cast:copied]"),
        ("other[bot]", "Bot", "quick [cast:copied]"),
    ]
    listed = api.get(api.repo("actions/runs?actor=mona")).json()["workflow_runs"]
    assert [run["id"] for run in listed] == [strange]
    receiver.wait_for(strange)
    told = [b["workflow_run"] for _, b in receiver.got if b.get("workflow_run", {}).get("id") == strange]
    assert {run["actor"]["login"] for run in told} == {"mona"}
    mine.post(api.repo(f"actions/runs/{ours}/rerun"))
    again = api.wait(ours)
    assert (again["actor"]["type"], again["triggering_actor"]["login"]) == ("Bot", "local-person")


def test_few_runners_let_runs_wait(api: Api, control):
    control("faults", runners={"limit": 1})
    busy, waits = api.start("slow.yml"), api.start("quick.yml", {"cast_id": "late"})
    api.wait(busy, lambda run: run["status"] == "in_progress")
    [job] = api.jobs(waits)
    assert (api.run(waits)["status"], job["status"]) == ("queued", "queued")
    assert (job["steps"], job["runner_name"], job["runner_id"]) == ([], None, None)
    assert job["started_at"] == job["created_at"], "GitHub gives the time when it was queued"
    api.post(api.repo(f"actions/runs/{busy}/force-cancel"))
    assert api.wait(waits)["conclusion"] == "success"
    [job] = api.jobs(waits)
    assert job["runner_name"] == "local act"


def test_run_that_gets_no_runner_fails_without_steps_and_says_why(api: Api, control, receiver):
    control("faults", runners={"never_start": 1})
    run = api.wait(api.start("fails.yml"))
    assert run["conclusion"] == "failure"
    first, second = api.jobs(run["id"])
    assert [(j["conclusion"], j["steps"], j["runner_name"]) for j in (first, second)] == [
        ("failure", [], None), ("skipped", [], None),
    ]  # fmt: skip
    [why] = annotations(api, first)
    assert why["message"].startswith("The job was not started because recent account payments have failed")
    assert "workflow_run.completed" in receiver.wait_for(run["id"])
    assert control("record")["faults"]["runners.never_start"] == 1
