"""Time and money hang on what really began: waiting for a runner is not running, what never ran is never charged."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from django.utils import timezone

from casts.lifecycle import observing
from casts.models import Cast
from casts.runtime import Annotation, Failure, Job, NotNow, Observation, RemoteArtifact, RunGone
from tests.casts.conftest import history, step, wait
from tests.casts.execution.test_artifacts import RESULT
from tests.casts.execution.test_steps import URL, ended, limits, seen
from tests.casts.fake import jobs_of

__all__ = ["limits"]  # a fixture that these tests use

WHY = "The job was not started because your spending limit needs to be increased."


def refused(conclusion="failure", status="completed"):
    return (Job(1, "job", status, conclusion, started_at=timezone.now(), completed_at=timezone.now()),)


# --- waiting for a runner --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_the_spells_time_does_not_run_while_the_run_waits_for_a_runner(make_cast, make_spell, runtime, clock, status):
    cast = make_cast(spell=make_spell("short", timeout_seconds=20))
    runtime.answers["observe"] = seen(status, jobs=refused(None, "queued"))
    for _ in range(5):
        step(cast)
        clock.forward(seconds=60)
    assert (cast.status, cast.status_reason, cast.started_at) == ("queued", "waiting_for_runner", None)
    assert runtime.count("cancel") == 0
    began = clock.now.replace(microsecond=0)
    runtime.answers["observe"] = seen("in_progress", jobs=jobs_of("in_progress", began=began), run_started_at=None)
    step(cast)
    assert (cast.status, cast.started_at) == ("running", began)
    clock.forward(seconds=19)
    step(cast)
    assert runtime.count("cancel") == 0
    clock.forward(seconds=2)
    step(cast)
    assert runtime.count("cancel") == 1
    runtime.answers["observe"] = seen("completed", "cancelled", jobs=jobs_of("completed", "cancelled", began=began))
    step(cast), step(cast)
    assert ended(cast) == ("failed", "timed_out", "capture")
    assert 21_000 <= cast.duration_ms < 22_000


def test_a_run_that_got_no_runner_in_the_casts_time_is_cancelled_at_github_and_costs_nothing(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    runtime.answers["observe"] = seen("in_progress", jobs=refused(None, "queued"))
    step(cast), step(cast)
    clock.forward(seconds=61)
    step(cast)
    assert runtime.count("cancel") == 1
    runtime.answers["observe"] = seen("completed", "cancelled", jobs=refused("cancelled"))
    step(cast), step(cast)
    assert ended(cast) == ("failed", "expired", "release")
    assert (cast.started_at, cast.duration_ms) == (None, None)


@pytest.mark.parametrize("reason", ["timed_out", "expired", "cancelled_by_caller"])
def test_a_run_cut_off_before_a_runner_took_it_costs_nothing_whatever_cut_it(cast, runtime, clock, reason):
    runtime.answers["observe"] = seen("in_progress", jobs=refused(None, "queued"))
    step(cast), step(cast)
    Cast.objects.filter(pk=cast.pk).update(cancel_requested_at=clock.now, cancel_reason=reason)
    clock.forward(seconds=121)
    step(cast)
    assert ended(cast)[1:] == (reason, "release")


# --- what never ran --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conclusion", ["failure", "timed_out"])
def test_what_never_ran_is_not_charged_and_githubs_reason_is_told(cast, runtime, conclusion):
    runtime.answers["observe"] = seen("completed", conclusion, jobs=refused())
    runtime.answers["failure"] = Failure(job="job", annotations=(Annotation(WHY),))
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("failed", "never_ran", "release")
    assert (cast.started_at, cast.duration_ms) == (None, None)
    assert cast.error["message"] == WHY
    assert cast.error["annotations"] == [{"level": "error", "title": None, "message": WHY, "file": None, "line": None}]
    assert cast.message == f"GitHub ended the run before any step of it had begun: {WHY}"
    assert "running" not in {event.data["status"] for event in cast.events.all()}


def test_without_a_reason_what_never_ran_still_says_so(cast, runtime):
    runtime.answers["observe"] = seen("completed", "failure", jobs=())
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("failed", "never_ran", "release")
    assert cast.error["message"] == cast.message == "GitHub ended the run before any step of it had begun."


def told_alone(cast, conclusion):
    """Have a webhook tell of the run's end, and nothing of its jobs."""
    step(cast)
    observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key, 1, "completed", conclusion, url=URL))


@pytest.mark.parametrize(
    ("jobs", "end"),
    [
        (refused, ("failed", "never_ran", "release")),
        (lambda: jobs_of("completed", "failure"), ("failed", "run_failed", "capture")),
    ],
    ids=["never ran", "ran"],
)
def test_a_run_whose_end_a_webhook_told_is_asked_for_its_jobs_before_it_is_charged(cast, runtime, jobs, end):
    told_alone(cast, "failure")
    runtime.answers["observe"] = NotNow("GitHub is away.")
    step(cast)
    assert not cast.final
    runtime.answers["observe"] = seen("completed", "failure", jobs=jobs())
    step(cast)
    assert ended(cast) == end


def test_a_job_that_was_left_out_is_no_proof_that_the_others_were(cast, runtime):
    """Its webhook came, theirs was lost."""
    step(cast)
    skipped = Job(2, "other", "completed", "skipped")
    observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key, jobs=(skipped,)))
    observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key, 1, "completed", "failure"))
    runtime.answers["observe"] = seen("completed", "failure", jobs=(skipped, *jobs_of("completed", "failure")))
    step(cast)
    assert ended(cast) == ("failed", "run_failed", "capture")


@pytest.mark.parametrize("conclusion", ["failure", "success"])
def test_jobs_that_github_lists_as_of_before_are_asked_for_again(cast, runtime, conclusion):
    told_alone(cast, conclusion)
    stale = seen("completed", conclusion, jobs=refused(None, "queued"))
    runtime.answers["observe"] = [stale, seen("completed", conclusion, jobs=jobs_of("completed", conclusion))]
    assert wait(cast) <= dt.timedelta(seconds=3)
    assert not cast.final
    step(cast)
    assert ended(cast)[2] == "capture"
    assert cast.started_at is not None


def test_what_nobody_can_say_any_more_is_not_charged(cast, runtime):
    told_alone(cast, "failure")
    runtime.answers["observe"] = RunGone("404")
    step(cast)
    assert ended(cast) == ("failed", "run_failed", "release")


def test_a_run_of_which_every_job_was_left_out_costs_nothing(cast, runtime):
    runtime.answers["observe"] = seen("completed", "success", jobs=refused("skipped"))
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "release")
    assert cast.charged_cents == 0


# --- cut off by its workflow, or on GitHub ---------------------------------------------------------------------------


@pytest.mark.parametrize(("charged", "entry"), [(True, "capture"), (False, "release")])
@pytest.mark.parametrize("conclusion", ["cancelled", "failure"])
def test_a_jobs_own_time_limit_is_a_timeout_and_nobodys_cancel(
    make_cast, make_spell, runtime, conclusion, charged, entry
):
    cast = make_cast(spell=make_spell("own", charge_failed_runs=charged))
    why = "The job running on runner GitHub Actions 2 has exceeded the maximum execution time of 1 minutes."
    runtime.answers["observe"] = seen("completed", conclusion, jobs=jobs_of("completed", "cancelled"))
    runtime.answers["failure"] = Failure("job", "Brew", ("brewing",), (Annotation(why),), timed_out=True)
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("failed", "timed_out", entry)
    assert cast.message == f"It ran longer than its workflow allows, and GitHub ended it: {why}"
    assert (cast.error["message"], cast.error["failed_step"], cast.error["log_tail"]) == (why, "Brew", ["brewing"])


def test_a_run_that_was_cancelled_on_github_says_so_and_names_nobody(cast, runtime):
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("cancelled", "cancelled_on_github", "release")
    assert cast.message == "The run was cancelled on GitHub."


def test_a_run_that_github_cancelled_by_its_own_rules_says_which(cast, runtime):
    why = "Canceling since a higher priority waiting request for 'spells' exists"
    runtime.answers["observe"] = seen("completed", "cancelled", jobs=refused("cancelled"))
    runtime.answers["failure"] = Failure(job="job", annotations=(Annotation(why),))
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("cancelled", "cancelled_on_github", "release")
    assert cast.message == f"The run was cancelled on GitHub: {why}"


@pytest.mark.parametrize("reason", ["timed_out", "expired", "cancelled_by_caller"])
def test_what_we_asked_for_needs_no_explaining(cast, runtime, clock, reason):
    step(cast)
    Cast.objects.filter(pk=cast.pk).update(cancel_requested_at=clock.now, cancel_reason=reason)
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast), step(cast)
    assert cast.status_reason == reason
    assert runtime.count("failure") == 0


# --- the author's own sentence ---------------------------------------------------------------------------------------


def test_the_authors_own_sentence_is_the_error(cast, runtime):
    said = (
        Annotation("a loose cobblestone\nin the third row", "error", "Stones", "src/path.py", 3),
        Annotation("and another", "error"),
    )
    runtime.answers["observe"] = seen("completed", "failure")
    runtime.answers["failure"] = Failure("job", "Brew", ("##[error]a loose cobblestone",), said)
    step(cast), step(cast), step(cast)
    assert cast.error["message"] == "a loose cobblestone in the third row"
    assert cast.message == "The run failed in step 'Brew': a loose cobblestone in the third row"
    assert cast.error["annotations"] == [
        {"level": "error", "title": "Stones", "message": said[0].message, "file": "src/path.py", "line": 3},
        {"level": "error", "title": None, "message": "and another", "file": None, "line": None},
    ]


# --- run again -------------------------------------------------------------------------------------------------------


def test_a_rerun_of_failed_jobs_that_is_seen_first_has_the_output_of_what_was_not_run_again(cast, runtime):
    kept, again = jobs_of("completed", "success", number=1)[0], jobs_of("completed", "success", number=2, attempt=2)[0]
    again = Job(2, "other job", "completed", "success", 2, again.started_at, runner="runner 1")
    runtime.answers["observe"] = lambda cast: Observation(
        cast.run_scope, cast.run_key, 2, "completed", "success", jobs=(kept, again)
    )
    runtime.answers["artifacts"] = [RemoteArtifact(1, "spell-result", len(RESULT))]
    runtime.answers["download"] = RESULT
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")
    assert cast.output == {"greeting": "Hello"}
    assert [(job["name"], job["attempt"]) for job in cast.jobs] == [("job", 1), ("other job", 2)]


def test_a_rerun_that_webhooks_told_alone_is_asked_for_the_jobs_that_were_not_run_again(cast, runtime):
    step(cast)
    kept, again = jobs_of("completed", "success", number=1)[0], Job(2, "other job", "completed", "success", 2)
    again = dataclasses.replace(again, started_at=timezone.now(), runner="runner 1")
    for told in ({"jobs": (again,)}, {"status": "completed", "conclusion": "success"}):
        observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key, 2, **told))
    runtime.answers["observe"] = seen("completed", jobs=(kept, again), attempt=2)
    step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")
    assert [(job["name"], job["attempt"]) for job in cast.jobs] == [("job", 1), ("other job", 2)]


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-3600, -0.5, 0, 3600], ids=["hours behind", "cut", "equal", "hours ahead"])
def test_a_casts_times_are_in_order_whatever_githubs_clock_says(api, cast, runtime, clock, seconds):
    said = cast.created_at + dt.timedelta(seconds=seconds)
    clock.forward(seconds=0.4)
    step(cast)
    runtime.answers["observe"] = seen("completed", jobs=jobs_of("completed", "success", began=said))
    step(cast), step(cast)
    assert cast.final
    assert cast.created_at <= cast.started_at <= cast.finished_at
    shown = api.get(f"/casts/{cast.pk}").json()
    assert shown["created_at"] <= shown["started_at"] <= shown["finished_at"]
    assert 0 <= shown["duration_ms"] <= (cast.finished_at - cast.created_at).total_seconds() * 1000
    assert history(cast)[-1] == "ended"


def test_a_worker_whose_clock_is_behind_ends_no_cast_before_it_began(cast, runtime, clock):
    runtime.answers["observe"] = seen("completed")
    step(cast), step(cast)
    clock.forward(seconds=-5)
    Cast.objects.filter(pk=cast.pk).update(lease_until=None, due_at=clock.now)
    step(cast)
    assert cast.final
    assert cast.finished_at == cast.started_at
