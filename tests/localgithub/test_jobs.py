"""Jobs as GitHub runs, names and ends them: called workflows, limits of time, concurrency groups, cancelling."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from localgithub.server import LocalGitHub

from .conftest import Api
from .test_annotations import annotations
from .test_runs import steps


def conclusions(api: Api, run_id: int) -> dict[str, str]:
    return {job["name"]: job["conclusion"] for job in api.jobs(run_id)}


def until_step(api: Api, run_id: int, name: str) -> None:
    def begun(_: dict[str, Any]) -> bool:
        return any(s["name"] == name and s["status"] == "in_progress" for j in api.jobs(run_id) for s in j["steps"])

    api.wait(run_id, begun)


def test_names_of_steps_are_evaluated_when_they_begin(api: Api):
    run_id = api.start("names.yml", {"spell_key": "greet"})
    run = api.wait(run_id)
    one, two = sorted(api.jobs(run_id), key=lambda job: job["name"])
    assert steps(one)[1:-1] == [
        (f"step greet {run['run_number']}", "success"),
        ('Run echo "n=7 of all of job"', "success"),
        ("said it, ***", "success"),
        ("left out ${{ inputs.spell_key }}", "skipped"),
        ("no JSON ${{ fromJSON('{') }}", "success"),
        ("Plain", "success"),
    ]
    assert steps(two)[1] == ("told it", "success")


def test_called_workflows_show_their_jobs_under_githubs_names(api: Api):
    run_id = api.start("calls.yml", {"who": "Zoë"})
    assert api.wait(run_id)["conclusion"] == "success", [api.log(j["id"]) for j in api.jobs(run_id)]
    jobs = {job["name"]: job for job in api.jobs(run_id)}
    assert sorted(jobs) == [
        "First", "Many (a) / Inner Zoë (1)", "Many (a) / Inner Zoë (2)", "Many (b) / Inner Zoë (1)",
        "Many (b) / Inner Zoë (2)", "after",
    ]  # fmt: skip
    one = jobs["Many (b) / Inner Zoë (2)"]
    assert steps(one) == [("Set up job", "success"), ("Say", "success"), ("Complete job", "success")]
    said = api.log(one["id"])
    assert "b 2 given output blue inner" in said
    assert "all 1 output" in api.log(jobs["after"]["id"])


def test_job_that_takes_too_long_is_cancelled_as_github_does(api: Api, receiver):
    run_id = api.start("too-long.yml")
    assert api.wait(run_id)["conclusion"] == "cancelled"
    [job] = api.jobs(run_id)
    assert job["conclusion"] == "cancelled"
    assert steps(job)[1:] == [
        ("Sleep", "cancelled"), ("Never", "skipped"), ("Always", "success"), ("Complete job", "success"),
    ]  # fmt: skip
    said = [one["message"] for one in annotations(api, job)]
    assert said == [
        "The job running on runner local act has exceeded the maximum execution time of 1 minutes.",
        "The operation was canceled.",
    ]
    assert receiver.wait_for(run_id)[-1] == "workflow_run.completed"


def test_only_the_job_that_takes_too_long_is_cancelled(api: Api):
    run_id = api.start("too-long-beside.yml")
    assert api.wait(run_id)["conclusion"] == "cancelled"
    assert conclusions(api, run_id) == {"long": "cancelled", "beside": "success", "later": "skipped"}
    long = next(job for job in api.jobs(run_id) if job["name"] == "long")
    assert steps(long)[1:3] == [("Sleep", "cancelled"), ("Always", "success")]


def test_job_with_always_runs_whole_after_a_cancel(api: Api):
    run_id = api.start("tidies.yml")
    until_step(api, run_id, "Sleep")
    api.post(api.repo(f"actions/runs/{run_id}/cancel"))
    assert api.wait(run_id)["conclusion"] == "cancelled"
    assert conclusions(api, run_id) == {"work": "cancelled", "tidy": "success", "boast": "skipped", "guard": "success"}
    jobs = {job["name"]: job for job in api.jobs(run_id)}
    assert steps(jobs["tidy"])[1:4] == [("One", "success"), ("If failed", "skipped"), ("Two", "success")]
    assert "guarded to the end" in api.log(jobs["guard"]["id"])


@pytest.mark.parametrize(("loops", "end"), [("true", "cancelled"), ("false", "success")])
def test_no_process_of_a_run_outlives_it(api: Api, server: LocalGitHub, loops: str, end: str):
    run_id = api.start("lingers.yml", {"loops": loops})
    if loops == "true":
        until_step(api, run_id, "Loop")
        assert at_work(server, run_id)
        api.post(api.repo(f"actions/runs/{run_id}/cancel"))
    assert api.wait(run_id)["conclusion"] == end
    assert at_work(server, run_id) == []


def at_work(server: LocalGitHub, run_id: int) -> list[str]:
    """Return the processes that work in a run's folder."""
    place, found = server.world.runner.work / "runs" / f"{run_id}-1", []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "cwd").startswith(f"{place}/"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_newcomer_of_a_group_takes_the_place_of_who_waits(api: Api):
    runs, waits, newest = (api.start("grouped.yml", {"group": "one"}) for _ in range(3))
    elsewhere = api.start("grouped.yml", {"group": "two", "seconds": "0"})
    assert api.wait(elsewhere)["conclusion"] == "success"
    assert api.wait(waits)["conclusion"] == "cancelled"
    [job] = api.jobs(waits)
    assert (job["conclusion"], job["steps"]) == ("cancelled", [])
    assert [one["message"] for one in annotations(api, job)] == [
        "Canceling since a higher priority waiting request for 'group-one' exists"
    ]
    assert api.run(newest)["status"] == "pending"
    api.post(api.repo(f"actions/runs/{runs}/cancel"))
    api.wait(newest, lambda run: run["status"] == "in_progress")
    over = api.start("grouped.yml", {"group": "one", "over": "true", "seconds": "0"})
    assert api.wait(newest)["conclusion"] == "cancelled"
    assert "Canceling since a higher priority waiting request for 'group-one' exists" in [
        one["message"] for one in annotations(api, api.jobs(newest)[0])
    ]
    assert api.wait(over)["conclusion"] == "success"


@pytest.mark.parametrize("began", [True, False])
def test_run_whose_place_a_newcomer_takes_says_so_also_in_jobs_that_come_late(api: Api, control, began):
    if not began:
        control("faults", runners={"limit": 0})
    runs = api.start("grouped-matrix.yml", {"seconds": "30"})
    if began:
        until_step(api, runs, "Work")
    newest = api.start("grouped-matrix.yml", {"seconds": "0"})
    assert api.wait(runs)["conclusion"] == "cancelled"
    control("faults", runners={"limit": None})
    jobs = api.jobs(runs)
    assert {job["conclusion"] for job in jobs} == {"cancelled"}
    for job in jobs:
        why = "Canceling since a higher priority waiting request for 'of-a-matrix' exists"
        assert why in [one["message"] for one in annotations(api, job)]
    assert api.wait(newest)["conclusion"] == "success"
    assert not any(annotations(api, job) for job in api.jobs(newest))


def test_run_that_waits_for_its_group_can_be_cancelled(api: Api):
    runs, waits = (api.start("grouped.yml", {"group": "three"}) for _ in range(2))
    api.post(api.repo(f"actions/runs/{waits}/cancel"))
    assert api.run(waits)["conclusion"] == "cancelled"
    api.post(api.repo(f"actions/runs/{runs}/cancel"))
    assert api.wait(runs)["conclusion"] == "cancelled"


def test_jobs_have_groups_as_well(api: Api):
    first = api.start("grouped-jobs.yml", {"seconds": "30"})
    until_step(api, first, "Work")
    second = api.start("grouped-jobs.yml", {"seconds": "0"})
    api.wait(second, lambda _: any(job["status"] == "pending" for job in api.jobs(second)))
    third = api.start("grouped-jobs.yml", {"seconds": "0"})
    assert api.wait(second)["conclusion"] == "cancelled"
    [job] = [job for job in api.jobs(second) if job["name"] == "grouped"]
    assert (job["conclusion"], job["steps"], job["runner_name"]) == ("cancelled", [], None)
    assert annotations(api, job)[0]["message"].startswith("Canceling since a higher priority waiting request")
    api.post(api.repo(f"actions/runs/{first}/cancel"))
    assert api.wait(first)["conclusion"] == "cancelled"
    assert api.wait(third)["conclusion"] == "success"
    assert conclusions(api, third) == {"free": "success", "grouped": "success"}


def test_failed_job_ends_the_others_of_its_matrix(api: Api):
    run_id = api.start("matrix.yml")
    assert api.wait(run_id)["conclusion"] == "failure"
    assert conclusions(api, run_id) == {"build (good, 1)": "cancelled", "build (bad, 1)": "failure"}
    good = next(job for job in api.jobs(run_id) if job["conclusion"] == "cancelled")
    why = 'The strategy configuration was canceled because "build.bad_1" failed'
    assert annotations(api, good)[-2]["message"] == why


def test_jobs_of_a_matrix_end_each_for_itself_without_fail_fast(api: Api):
    run_id = api.start("matrix.yml", {"fast": "false"})
    assert api.wait(run_id)["conclusion"] == "failure"
    assert conclusions(api, run_id) == {"build (good, 1)": "success", "build (bad, 1)": "failure"}
    for job in api.jobs(run_id):
        assert steps(job)[1] == ("Forgiven", "success"), "a step that may fail counts as a success, as on GitHub"


def test_group_within_itself_is_a_deadlock(api: Api):
    run = api.wait(api.start("deadlock.yml"))
    assert run["conclusion"] == "cancelled"
    [job] = api.jobs(run["id"])
    assert "a deadlock for concurrency group 'Knot' was detected" in annotations(api, job)[0]["message"]


def test_secrets_and_variables_reach_the_run_and_secrets_no_log(api: Api, server):
    run_id = api.start("secretive.yml")
    assert api.wait(run_id)["conclusion"] == "success", api.log(api.jobs(run_id)[0]["id"])
    [job] = api.jobs(run_id)
    said = api.log(job["id"])
    assert "colour blue length 16" in said
    assert "secret: ***" in said
    assert "masked: ***" in said
    for secret in ("hunter2", "and more", "whispered"):
        assert secret not in said
        assert secret not in str(annotations(api, job))
    assert annotations(api, job)[0]["message"] == "told: ***"
