import io
import time
import zipfile

import pytest
import requests

from .conftest import Api


def steps(job):
    return [(s["name"], s["conclusion"]) for s in job["steps"]]


def test_successful_run_shows_its_job_steps_and_log(api: Api):
    run_id = api.start("quick.yml", {"cast_id": "C-1"})
    run = api.wait(run_id)
    assert (run["status"], run["conclusion"], run["display_title"]) == ("completed", "success", "quick [cast:C-1]")
    assert (run["name"], run["path"], run["event"]) == ("Quick", ".github/workflows/quick.yml", "workflow_dispatch")
    [job] = api.jobs(run_id)
    assert (job["name"], job["conclusion"], job["labels"]) == ("Only job", "success", ["ubuntu-latest"])
    assert steps(job) == [("Set up job", "success"), ("Speak", "success"), ("Complete job", "success")]
    assert [s["number"] for s in job["steps"]] == [1, 2, 3]
    assert api.get(api.repo(f"actions/jobs/{job['id']}")).json() == job
    log = api.log(job["id"])
    assert "Z said: C-1\n" in log
    assert all(len(line.split("Z ")[0]) == len("2026-11-23T10:00:00.1234567") for line in log.splitlines())


def test_run_sees_its_ids_but_nothing_of_our_environment(api: Api, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "leaked-1")
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", "leaked-2")
    run_id = api.start("quick.yml", {"cast_id": "C"})
    api.wait(run_id)
    log = api.log(api.jobs(run_id)[0]["id"])
    assert f"GITHUB_RUN_ID={run_id}" in log
    assert "GITHUB_REPOSITORY=octo-org/spells" in log
    assert "leaked" not in log
    assert "from-dot-env" not in log


def test_default_variables_say_what_is_known(api: Api, server):
    run_id = api.start("quick.yml", {"cast_id": "C"})
    api.wait(run_id)
    mine = Api(server.config.base_url, "github_pat_local")
    assert mine.post(api.repo(f"actions/runs/{run_id}/rerun")).status_code == 201
    run = api.wait(run_id)
    assert (run["run_attempt"], run["conclusion"]) == (2, "success")
    pairs = (line.split("Z ", 1)[1].partition("=") for line in api.log(api.jobs(run_id)[0]["id"]).splitlines())
    seen = {name: value for name, _, value in pairs}
    where = ".github/workflows/quick.yml"
    assert (
        seen.items()
        >= {
            "GITHUB_ACTOR": "local-spells[bot]",
            "GITHUB_ACTOR_ID": str(run["actor"]["id"]),
            "GITHUB_TRIGGERING_ACTOR": "local-person",
            "GITHUB_REPOSITORY_ID": str(run["repository"]["id"]),
            "GITHUB_REPOSITORY_OWNER_ID": str(run["repository"]["owner"]["id"]),
            "GITHUB_REF_PROTECTED": "false",
            "GITHUB_WORKFLOW_REF": f"octo-org/spells/{where}@refs/heads/main",
            "GITHUB_WORKFLOW_SHA": run["head_sha"],
            "GITHUB_GRAPHQL_URL": f"{server.config.base_url}/graphql",
            "RUNNER_NAME": "local act",
            "RUNNER_ENVIRONMENT": "self-hosted",
        }.items()
    )


def test_failed_run_shows_where_and_why(api: Api):
    run_id = api.start("fails.yml")
    assert api.wait(run_id)["conclusion"] == "failure"
    broke, later = api.jobs(run_id)
    assert (broke["conclusion"], later["conclusion"]) == ("failure", "skipped")
    assert steps(broke) == [
        ("Set up job", "success"), ("Run echo fine", "success"), ("Break", "failure"), ("Run echo never", "skipped"),
        ("Tidy up", "success"), ("Complete job", "success"),
    ]  # fmt: skip
    said = [line.split(" ", 1)[1] for line in api.log(broke["id"]).splitlines()]
    at = said.index("##[error]it broke")
    assert said[at : at + 3] == ["##[error]it broke", "badly", "##[error]Process completed with exit code 3."]
    assert "##[group]Run echo fine" in said
    assert "tidied" in said
    link = api.get(api.repo(f"actions/runs/{run_id}/logs")).headers["Location"]
    with zipfile.ZipFile(io.BytesIO(requests.get(link, timeout=5).content)) as logs:
        assert logs.namelist()[0] == "0_breaks.txt"


def test_cancelled_run_still_runs_its_always_steps(api: Api):
    run_id = api.start("slow.yml")
    api.wait(
        run_id,
        lambda _: any(
            s["name"] == "Sleep" and s["status"] == "in_progress" for j in api.jobs(run_id) for s in j["steps"]
        ),
    )
    assert api.get(api.repo(f"actions/jobs/{api.jobs(run_id)[0]['id']}/logs")).status_code == 404
    begun = time.monotonic()
    answer = api.post(api.repo(f"actions/runs/{run_id}/cancel"))
    assert (answer.status_code, answer.json()) == (202, {})
    assert api.wait(run_id)["conclusion"] == "cancelled"
    assert time.monotonic() - begun < 5
    [job] = api.jobs(run_id)
    assert job["conclusion"] == "cancelled"
    assert steps(job)[1:3] == [("Sleep", "cancelled"), ("Wake", "success")]
    annotations = api.get(api.repo(f"check-runs/{job['id']}/annotations")).json()
    assert [one["message"] for one in annotations] == [
        "The run was canceled by @local-spells[bot].", "The operation was canceled.",
    ]  # fmt: skip
    again = api.post(api.repo(f"actions/runs/{run_id}/cancel"))
    assert (again.status_code, again.json()["message"]) == (409, "Cannot cancel a workflow run that is completed.")


@pytest.mark.parametrize("after", [0, 0.02, 0.05, 0.1, 0.15])
def test_cancel_is_honoured_at_any_moment_of_the_start(api: Api, after):
    run_id = api.start("slow.yml")
    time.sleep(after)
    api.post(api.repo(f"actions/runs/{run_id}/cancel"))
    assert api.wait(run_id)["conclusion"] == "cancelled"
    assert {j["conclusion"] for j in api.jobs(run_id)} == {"cancelled"}


def test_force_cancel_skips_always_steps(api: Api):
    run_id = api.start("slow.yml")
    api.wait(run_id, lambda run: run["status"] == "in_progress")
    assert api.post(api.repo(f"actions/runs/{run_id}/force-cancel")).status_code == 202
    assert api.wait(run_id)["conclusion"] == "cancelled"
    assert ("Wake", "success") not in steps(api.jobs(run_id)[0])


def test_run_that_waits_for_a_runner_is_cancelled_at_once(api: Api):
    first = [api.start("slow.yml") for _ in range(4)]
    queued = api.start("slow.yml")
    assert api.run(queued)["status"] == "queued"
    assert [j["status"] for j in api.jobs(queued)] == ["queued"]
    api.post(api.repo(f"actions/runs/{queued}/cancel"))
    assert api.run(queued)["conclusion"] == "cancelled"
    for run_id in first:
        api.post(api.repo(f"actions/runs/{run_id}/force-cancel"))
    for run_id in first:
        assert api.wait(run_id)["conclusion"] == "cancelled"


def test_run_whose_called_workflow_is_not_there_is_a_startup_failure_without_jobs(api: Api):
    run = api.wait(api.start("startup.yml"))
    assert run["conclusion"] == "startup_failure"
    assert api.jobs(run["id"]) == []
    page = requests.get(run["html_url"], timeout=5).text
    assert "nobody/nothing/.github/workflows/none.yml@v1: it is not found on" in page


def test_job_for_another_kind_of_machine_fails_instead_of_passing_unrun(api: Api):
    run = api.wait(api.start("mac.yml"))
    assert run["conclusion"] == "failure"
    assert "No runner for macos-latest on this machine." in api.log(api.jobs(run["id"])[0]["id"])


def test_labels_of_runners_are_those_of_each_job(api: Api):
    run = api.wait(api.start("runners.yml"))
    jobs = {job["name"]: job for job in api.jobs(run["id"])}
    assert {name: job["conclusion"] for name, job in jobs.items()} == {
        "each windows-latest": "failure", "each ubuntu-24.04": "success", "each our-own": "success",
        "some 1": "success", "some 2": "failure", "list": "success", "mac": "failure",
    }  # fmt: skip
    for name, why in {
        "each windows-latest": "No runner for windows-latest on this machine. (runs-on: ${{ matrix.os }})",
        "some 2": "Error when evaluating 'runs-on': Unexpected value '' (runs-on: ${{ matrix.os }})",
        "mac": "No runner for a, macOS-15 on this machine. (runs-on: ",
    }.items():
        assert f"##[error]{why}" in api.log(jobs[name]["id"])
        assert {state for _, state in steps(jobs[name])[1:-1]} == {"skipped"}, "also those that run always"


def test_rerun_is_a_second_attempt_of_the_same_run(api: Api, receiver):
    run_id = api.start("quick.yml", {"cast_id": "again"})
    api.wait(run_id)
    answer = api.post(api.repo(f"actions/runs/{run_id}/rerun"))
    assert (answer.status_code, answer.json()) == (201, {})
    run = api.wait(run_id)
    assert (run["run_attempt"], run["conclusion"], run["display_title"]) == (2, "success", "quick [cast:again]")
    assert run["previous_attempt_url"].endswith("/attempts/1")
    assert api.get(api.repo(f"actions/runs/{run_id}/attempts/1")).json()["run_attempt"] == 1
    assert [j["run_attempt"] for j in api.jobs(run_id)] == [2]
    assert [j["run_attempt"] for j in api.jobs(run_id, "?filter=all")] == [1, 2]
    assert len(api.get(api.repo(f"actions/runs/{run_id}/attempts/1/jobs")).json()["jobs"]) == 1
    assert api.get(api.repo(f"actions/runs/{run_id}/attempts/3")).status_code == 404
    seen = receiver.wait_for(run_id, count=2)
    assert seen.count("workflow_run.requested") == 1


def test_running_run_can_not_be_rerun(api: Api):
    run_id = api.start("slow.yml")
    refused = api.post(api.repo(f"actions/runs/{run_id}/rerun"))
    assert (refused.status_code, refused.json()["message"]) == (403, "This workflow is already running")
    api.post(api.repo(f"actions/runs/{run_id}/force-cancel"))
    api.wait(run_id)


def test_runs_are_listed_newest_first_by_pages_and_filters(api: Api):
    made = [api.start("quick.yml", {"cast_id": f"list-{n}"}) for n in range(3)]
    for run_id in made:
        api.wait(run_id)
    first = api.get(api.repo("actions/runs?per_page=2&event=workflow_dispatch"))
    assert [r["id"] for r in first.json()["workflow_runs"]] == [made[2], made[1]]
    assert first.json()["total_count"] >= 3
    following = api.get(first.links["next"]["url"].removeprefix(api.base)).json()
    assert following["workflow_runs"][0]["id"] == made[0]

    def ids(query: str) -> set[int]:
        return {r["id"] for r in api.get(api.repo(f"actions/{query}")).json()["workflow_runs"]}

    created = api.run(made[0])["created_at"]
    assert {*made} <= ids(f"runs?created=>={created}&per_page=100")
    assert {*made} <= ids(f"runs?created={created}..*&status=success&per_page=100")
    assert not {*made} & ids(f"runs?created=<{created}")
    assert not {*made} & ids("runs?branch=elsewhere")
    assert {*made} <= ids("workflows/quick.yml/runs?branch=main&per_page=100")
    assert ids("runs?status=no-such-status") == set()
    assert api.get("/repos/octo-org/other/actions/runs").json()["total_count"] == 0


def test_page_for_people_shows_the_run_and_escapes_what_it_said(api: Api):
    run_id = api.start("quick.yml", {"cast_id": "<script>alert(1)</script>"})
    run = api.wait(run_id)
    page = requests.get(run["html_url"], timeout=5).text
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
