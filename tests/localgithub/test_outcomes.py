"""Commit statuses and check runs, those of Apps and those of jobs."""

from pathlib import Path

import pytest

from .conftest import Api
from .trees import git


@pytest.fixture
def head(tree: Path) -> str:
    return git(tree, "rev-parse", "main")


def annotation(**changes):
    return {
        "path": "a.toml",
        "start_line": 3,
        "end_line": 3,
        "annotation_level": "failure",
        "message": "wrong",
    } | changes


OUTPUT = {"title": "2 mistakes", "summary": "in `a.toml`"}


def test_newest_status_of_each_context_counts(api: Api, control, head):
    path = api.repo(f"statuses/{head}")
    for state, context in (("pending", "spells"), ("success", "other"), ("failure", "spells")):
        body = {
            "state": state,
            "context": context,
            "description": "x" * 140,
            "target_url": "https://spells.example.com/",
        }
        made = api.post(path, body)
        assert made.status_code == 201
        assert made.json()["creator"]["login"] == "local-spells[bot]"
    for ref in ("main", head):
        whole = api.get(api.repo(f"commits/{ref}/status")).json()
        assert (whole["state"], whole["sha"], whole["total_count"]) == ("failure", head, 2)
        assert len(api.get(api.repo(f"commits/{ref}/statuses")).json()) == 3
    recorded = control("record")["statuses"]
    assert [(one["state"], one["context"]) for one in recorded][-1] == ("failure", "spells")
    api.post(path, {"state": "success", "context": "spells"})
    assert api.get(api.repo("commits/main/status")).json()["state"] == "success"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"description": "x" * 141}, "description is too long (maximum is 140 characters)"),
        ({"context": "x" * 256}, "context is too long (maximum is 255 characters)"),
        ({"target_url": "spells"}, "target_url must use http(s) scheme"),
        ({"target_url": "javascript:alert(1)"}, "target_url must use http(s) scheme"),
        ({"state": "fine"}, "state is not included in the list"),
    ],
)
def test_refused_status_says_which_field(api: Api, head, change, said):
    answer = api.post(api.repo(f"statuses/{head}"), {"state": "success", **change})
    assert (answer.status_code, answer.json()["message"]) == (422, "Validation Failed")
    assert [one["message"] for one in answer.json()["errors"]] == [said]


@pytest.mark.parametrize("sha", ["main", "0" * 40, "abc1234", "HEAD"])
def test_outcome_of_no_commit_is_refused(api: Api, sha):
    for answer in (
        api.post(api.repo(f"statuses/{sha}"), {"state": "success"}),
        api.post(api.repo("check-runs"), {"name": "spells", "head_sha": sha}),
    ):
        assert (answer.status_code, answer.json()["message"]) == (422, f"No commit found for SHA: {sha}")


def test_check_run_is_made_completed_and_read(api: Api, control, head):
    made = api.post(api.repo("check-runs"), {"name": "Spells", "head_sha": head, "status": "in_progress"})
    assert made.status_code == 201
    number = made.json()["id"]
    assert made.json()["completed_at"] is None
    for count in (50, 10):  # added to those that it has
        output = OUTPUT | {"annotations": [annotation()] * count}
        changed = api("PATCH", api.repo(f"check-runs/{number}"), json={"conclusion": "failure", "output": output})
        assert changed.status_code == 200
    shown = api.get(api.repo(f"check-runs/{number}")).json()
    assert (shown["status"], shown["conclusion"], shown["app"]["slug"]) == ("completed", "failure", "local-spells")
    assert (shown["output"]["annotations_count"], shown["output"]["title"]) == (60, "2 mistakes")
    assert len(api.get(api.repo(f"check-runs/{number}/annotations?per_page=100")).json()) == 60
    named = api.get(api.repo("commits/main/check-runs?check_name=Spells")).json()
    assert [one["id"] for one in named["check_runs"]] == [number]
    suite = shown["check_suite"]["id"]
    assert api.get(api.repo(f"check-suites/{suite}/check-runs")).json()["check_runs"] == [shown]
    again = api.post(api.repo("check-runs"), {"name": "Spells", "head_sha": head, "conclusion": "success"}).json()
    latest = api.get(api.repo("commits/main/check-runs?check_name=Spells")).json()["check_runs"]
    assert [one["id"] for one in latest] == [again["id"]]
    assert api.get(api.repo("commits/main/check-runs?check_name=Spells&filter=all")).json()["total_count"] == 2
    assert [one["conclusion"] for one in control("record")["check_runs"]] == ["failure", "success"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "For 'properties/name', 1 is not a string."),
        ({"status": "completed"}, '"conclusion" wasn\'t supplied.'),
        ({"conclusion": "fine"}, "For 'properties/conclusion', 'fine' is not a possible value."),
        ({"output": {"title": "x"}}, '"summary" wasn\'t supplied.'),
        ({"output": {"summary": "x"}}, '"title" wasn\'t supplied.'),
        (
            {"output": OUTPUT | {"annotations": [annotation()] * 51}},
            "No more than 50 items are allowed; 51 were supplied.",
        ),
        ({"output": OUTPUT | {"annotations": [{"path": "x"}]}}, '"start_line" wasn\'t supplied.'),
        ({"output": OUTPUT | {"annotations": [annotation(start_line="3")]}}, "'3' is not an integer."),
        (
            {"output": OUTPUT | {"annotations": [annotation(annotation_level="error")]}},
            "'error' is not a possible value.",
        ),
        ({"output": OUTPUT | {"annotations": [annotation(end_line=4, start_column=1)]}}, "Columns are allowed only"),
        ({"output": OUTPUT | {"annotations": ["x"]}}, "an item is not an object."),
        ({"details_url": "ftp://x"}, "is not a valid URL."),
        ({"started_at": "yesterday"}, "yesterday is not a valid date-time."),
    ],
)
def test_refused_check_run_says_why(api: Api, head, change, said):
    answer = api.post(api.repo("check-runs"), {"name": "Spells", "head_sha": head, **change})
    assert answer.status_code == 422
    assert said in answer.json()["message"]


def test_reader_and_person_may_not_write(server, as_app: Api, head):
    rights = {"statuses": "read", "checks": "read"}
    minted = as_app.post("/app/installations/77/access_tokens", {"permissions": rights}).json()
    reader = Api(as_app.base, minted["token"])
    refused = reader.post(reader.repo(f"statuses/{head}"), {"state": "success"})
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "statuses=write"
    refused = reader.post(reader.repo("check-runs"), {"name": "x", "head_sha": head})
    assert refused.headers["X-Accepted-GitHub-Permissions"] == "checks=write"
    person = Api(as_app.base, "github_pat_local")
    refused = person.post(person.repo("check-runs"), {"name": "x", "head_sha": head})
    assert (refused.status_code, refused.json()["message"]) == (403, "You must authenticate via a GitHub App.")


def test_one_call_tells_which_jobs_of_a_run_have_annotations(api: Api):
    run = api.wait(api.start("remarks.yml"))
    listed = api.get(api.repo(f"check-suites/{run['check_suite_id']}/check-runs")).json()["check_runs"]
    jobs = {job["id"]: job["name"] for job in api.jobs(run["id"])}
    assert {one["id"]: one["name"] for one in listed} == jobs
    for one in listed:
        there = api.get(api.repo(f"check-runs/{one['id']}/annotations?per_page=100")).json()
        assert one["output"]["annotations_count"] == len(there)
        assert one["app"]["slug"] == "github-actions"
    assert any(one["output"]["annotations_count"] for one in listed)
    assert api.get(api.repo("check-suites/1/check-runs")).status_code == 404
