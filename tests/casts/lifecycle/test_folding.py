"""Folding observations: pure, and the same whatever the order and however often."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from casts.lifecycle import folding
from casts.models import Cast, CastStatus, Spell
from casts.runtime import Job, JobStep, Observation

T0 = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
STATES = ("queued", "in_progress", "completed")


def at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def queued_cast(**fields):
    return Cast(spell=Spell(key="greet"), run_scope="demo/spells", created_at=T0, expires_at=at(9000), **fields)


def seen(status=None, attempt=1, *, updated=None, jobs=None, conclusion=None, **fields):
    conclusion = conclusion or ("success" if status == "completed" else None)
    fields = {"run_started_at": at(1000 * attempt), "url": "https://github.example/runs/7"} | fields
    return Observation(
        "demo/spells", "7", attempt, status, conclusion, updated_at=updated or at(1000 * attempt), jobs=jobs, **fields
    )


def job(number, state, attempt=1, *, steps=3):
    """Job `number` in its `state`-th state: not begun, then step after step, then done.

    It is queued at its attempt's 1000th second, and begins 10 seconds later for each number.
    """
    status = "queued" if state == 0 else "completed" if state > steps else "in_progress"
    began = 1000 * attempt + 10 * number
    shown = tuple(
        JobStep(
            f"Step {number}.{i}",
            i,
            "completed" if i < state else "in_progress" if i == state else "queued",
            started_at=at(began + i) if i <= state else None,
        )
        for i in range(1, steps + 1 if state else 1)
    )
    told = {"started_at": at(began if state else 1000 * attempt), "runner": "runner 1" if state else ""}
    return Job(100 * attempt + number, f"job {number}", status, attempt=attempt, steps=shown, **told)


def refused(number, attempt=1, conclusion="failure"):
    """A job that ended without ever having begun, as GitHub shows it: with times, without a runner or steps."""
    times = {"started_at": at(1000 * attempt), "completed_at": at(1000 * attempt + 3)}
    return Job(100 * attempt + number, f"job {number}", "completed", conclusion, attempt, **times)


def job_only(*given, **fields):
    return Observation("demo/spells", "7", attempt=given[0].attempt, jobs=given, **fields)


def apply(cast, *observations):
    for one in observations:
        for name, value in folding.fold(cast, one).items():
            setattr(cast, name, value)
    return cast


# --- what each says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("github", "reason"),
    [
        ("requested", "waiting_for_runner"),
        ("queued", "waiting_for_runner"),
        ("pending", "waiting_for_runner"),
        ("waiting", "waiting_for_approval"),
        ("something_new", "waiting_for_runner"),
        ("in_progress", "waiting_for_runner"),
    ],
)
def test_a_run_that_has_not_begun_leaves_the_cast_queued_and_says_for_what(github, reason):
    cast = apply(queued_cast(), seen(github))
    assert (cast.status, cast.status_reason, cast.progress, cast.started_at) == ("queued", reason, 10, None)


def test_a_run_is_running_since_the_first_step_of_its_first_job():
    cast = apply(queued_cast(), seen("in_progress"), job_only(job(2, 1)), job_only(job(1, 2)))
    assert (cast.status, cast.status_reason, cast.started_at) == ("running", "running", at(1011))


@pytest.mark.parametrize("state", [1, 4])
def test_a_run_that_is_over_when_first_seen_was_running_since_its_jobs_say_so(state):
    cast = apply(queued_cast(), seen("completed", conclusion="failure"))
    assert (cast.status, cast.status_reason, cast.started_at, cast.progress) == (
        "queued",
        "copying_artifacts",
        None,
        95,
    )
    assert cast.run_finished_at is not None
    assert "failure" in cast.message
    apply(cast, job_only(job(1, state)))
    assert (cast.status, cast.status_reason, cast.started_at) == ("running", "copying_artifacts", at(1011))


@pytest.mark.parametrize("state", [1, 4])
def test_a_job_that_has_begun_or_ended_means_that_the_run_has_begun(state):
    cast = apply(queued_cast(), job_only(job(1, state)))
    assert (cast.status, cast.started_at) == ("running", at(1011))


def with_steps(*states, status="completed", runner=""):
    steps = tuple(JobStep(f"Step {i}", i, *state) for i, state in enumerate(states, 1))
    return Job(1, "job", status, steps=steps, started_at=at(1000), runner=runner)


@pytest.mark.parametrize(
    "one",
    [
        with_steps(status="queued"),
        with_steps(status="waiting"),
        with_steps(status="in_progress"),
        with_steps(status="queued", runner="named although it waits, as in one of GitHub's samples"),
        with_steps(("queued",), ("queued",), status="queued"),
        with_steps(("completed", "skipped")),
        refused(1),
        refused(1, conclusion="cancelled"),
        refused(1, conclusion="skipped"),
    ],
)
@pytest.mark.parametrize("status", ["queued", "in_progress", "completed"])
def test_what_no_runner_took_has_not_begun_whatever_single_fields_say(one, status):
    cast = apply(queued_cast(), seen(status, jobs=(one,), conclusion="failure" if status == "completed" else None))
    assert (cast.status, cast.started_at) == ("queued", None)


@pytest.mark.parametrize(
    "one",
    [
        with_steps(status="in_progress", runner="runner 1"),
        with_steps(runner="runner 1"),
        with_steps(("in_progress",), status="in_progress"),
        with_steps(("completed", "success")),
        with_steps(("completed", "cancelled")),
    ],
)
def test_a_runner_or_a_step_is_a_beginning(one):
    cast = apply(queued_cast(), seen("in_progress", jobs=(one,)))
    assert (cast.status, cast.started_at) == ("running", at(1000))


def test_a_job_that_waits_after_one_that_ran_does_not_stop_the_clock():
    cast = apply(queued_cast(), job_only(job(1, 4)), job_only(job(2, 0)))
    assert (cast.status, cast.started_at) == ("running", at(1011))


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "started"),
    [(-3, 60), (-0.4, 0), (0, 0), (5, 5), (59, 59), (61, 60)],
    ids=["their clock is behind", "cut to the second", "equal", "as said", "just now", "their clock is ahead"],
)
def test_a_start_is_neither_before_the_cast_nor_after_now(monkeypatch, said, started):
    monkeypatch.setattr(timezone, "now", lambda: at(60))
    one = Job(1, "job", "in_progress", started_at=at(said), runner="runner 1")
    cast = apply(queued_cast(), seen("in_progress", jobs=(one,)))
    assert cast.started_at == at(started)
    for later in (60.5, 1000):
        monkeypatch.setattr(timezone, "now", lambda later=later: at(later))
        assert folding.fold(cast, seen("in_progress", jobs=(one,))) == {}, "a later look moves nothing"


def test_a_step_never_ends_before_it_began():
    step = JobStep("Skipped", 1, "completed", "skipped", started_at=at(9), completed_at=at(7))
    [row] = apply(queued_cast(), seen("completed", jobs=(Job(1, "job", "completed", steps=(step,)),))).jobs
    assert row["steps"][0]["completed_at"] == row["steps"][0]["started_at"]


def test_progress_counts_finished_steps_and_names_the_one_at_work():
    cast = apply(queued_cast(), seen("in_progress"), job_only(job(1, 3, steps=4)))
    assert (cast.progress, cast.step_name) == (10 + 80 * 2 // 4, "Step 1.3")
    assert "(3 of 4)" in cast.message


def test_progress_is_not_invented_before_steps_are_known_and_never_goes_back():
    cast = apply(queued_cast(), seen("in_progress"))
    assert cast.progress == 10
    apply(cast, job_only(job(1, 4, steps=4)))
    high = cast.progress
    apply(cast, job_only(job(2, 1, steps=40)))
    assert cast.progress == high
    assert apply(cast, seen("completed")).progress == 95


def test_a_step_with_an_endless_name_fits_its_column():
    endless = Job(1, "job", "in_progress", steps=(JobStep("x" * 5000, 1, "in_progress"),))
    cast = apply(queued_cast(), job_only(endless))
    assert len(cast.step_name) == 300
    assert len(cast.message) <= 500


# --- what is late, doubled or of another attempt ---------------------------------------------------------------------


def test_a_late_in_progress_does_not_reopen_a_finished_run():
    cast = apply(queued_cast(), seen("completed", updated=at(1010)))
    assert folding.fold(cast, seen("in_progress", updated=at(1020))) == {}
    assert folding.fold(cast, seen("queued", updated=at(1030))) == {}


def test_the_same_again_changes_nothing():
    for one in (seen("queued"), seen("in_progress"), job_only(job(1, 2)), seen("completed", jobs=(job(1, 4),))):
        cast = apply(queued_cast(), one)
        assert folding.fold(cast, one) == {}


def test_a_job_never_goes_back():
    cast = apply(queued_cast(), job_only(job(1, 3)), job_only(job(1, 1)), job_only(job(1, 0)))
    assert cast.jobs[0]["steps"][1]["status"] == "completed"


def test_an_older_attempt_is_over_when_a_newer_one_is_known():
    cast = apply(queued_cast(), seen("in_progress", 2), seen("completed", 1, conclusion="failure"), job_only(job(1, 4)))
    assert (cast.status_reason, cast.run_attempt, cast.observation["conclusion"]) == ("running", 2, None)
    assert cast.run_finished_at is None


@pytest.mark.parametrize("late", [True, False], ids=["attempt 2 seen first", "in order"])
def test_a_rerun_of_failed_jobs_keeps_the_jobs_that_were_not_run_again(late):
    kept, failed, again = job(1, 4), job(2, 4), job(2, 4, attempt=2)
    first, second = (
        seen("completed", 1, conclusion="failure", jobs=(kept, failed)),
        seen("in_progress", 2, jobs=(again,)),
    )
    told = (second, first) if late else (seen("in_progress", 1, jobs=(kept, failed)), second)
    cast = apply(queued_cast(), *told, seen("completed", 2))
    assert [(j["name"], j["attempt"]) for j in cast.jobs] == [("job 1", 1), ("job 2", 2)]
    assert cast.started_at == at(2021), "the spell's time is the attempt's"


def test_work_of_an_earlier_attempt_counts_from_the_later_attempts_own_time():
    copied = Job(201, "job 1", "completed", "success", 2, at(1010), at(1012), runner="runner 1")
    cast = apply(queued_cast(), seen("in_progress", 2, jobs=(copied, job(2, 0, attempt=2))))
    assert (cast.status, cast.started_at) == ("running", at(2000))
    assert apply(cast, job_only(job(2, 1, attempt=2))).started_at == at(2021)


def test_jobs_of_one_name_in_one_attempt_are_all_kept():
    one, two = (Job(number, "same", "in_progress", runner="runner 1") for number in (1, 2))
    assert [row["id"] for row in apply(queued_cast(), seen("in_progress", jobs=(one, two))).jobs] == [1, 2]


def test_a_rerun_while_we_collect_tells_of_the_attempt_that_ended():
    cast = apply(queued_cast(), seen("completed", 1))
    apply(cast, seen("in_progress", 2, jobs=(job(1, 4), job(1, 1, attempt=2))))
    assert ([(j["id"], j["attempt"]) for j in cast.jobs], cast.run_attempt) == ([(101, 1)], 1)
    assert (cast.status, cast.started_at) == ("running", at(1011))


def test_a_newer_attempts_jobs_replace_the_older_ones_and_gather():
    cast = apply(
        queued_cast(), seen("in_progress", 1), job_only(job(1, 2)), job_only(job(1, 4, 2)), job_only(job(2, 1, 2))
    )
    assert [(j["id"], j["attempt"]) for j in cast.jobs] == [(201, 2), (202, 2)]
    apply(cast, job_only(job(1, 4)))
    assert [j["attempt"] for j in cast.jobs] == [2, 2]


def test_a_rerun_while_we_collect_changes_nothing():
    cast = apply(queued_cast(), seen("completed", 1))
    for one in (
        seen("queued", 2),
        seen("in_progress", 2),
        seen("completed", 2, conclusion="failure"),
        job_only(job(1, 1, 2)),
    ):
        assert folding.fold(cast, one) == {}


def test_only_a_beginning_or_an_end_needs_a_worker_now():
    cast = queued_cast()
    begins = folding.fold(cast, seen("in_progress", jobs=(job(1, 1),)))
    assert not folding.needs_look(cast, begins)  # its steps come by webhook, and nobody waits for them
    cast.watched_until = timezone.now() + dt.timedelta(minutes=1)
    assert folding.needs_look(cast, begins)
    assert not folding.needs_look(cast, folding.fold(cast, seen("queued")))
    apply(cast, seen("in_progress", jobs=(job(1, 1),)))
    assert not folding.needs_look(cast, folding.fold(cast, job_only(job(1, 2))))
    assert folding.needs_look(cast, folding.fold(cast, seen("completed")))


# --- any order, any repetition ---------------------------------------------------------------------------------------

RUN_STATES = ("requested", "queued", "pending", "waiting", "in_progress", "completed")
run_messages = st.builds(
    lambda attempt, rank, tick: seen(RUN_STATES[rank], attempt, updated=at(1000 * attempt + tick)),
    st.integers(1, 2),
    st.integers(0, 5),
    st.integers(0, 3),
)
job_messages = st.builds(
    lambda number, state, attempt: job_only(job(number, state, attempt)),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(1, 2),
)
polls = st.builds(
    lambda attempt, rank, states: seen(
        RUN_STATES[rank], attempt, jobs=tuple(job(n, s, attempt) for n, s in enumerate(states, 1))
    ),
    st.integers(1, 2),
    st.integers(0, 5),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)


def sane(messages):
    """Keep what has one truth: a job of the last attempt began, and no earlier one ended before we knew of the last.

    What follows an end that we saw is the history's affair; see test_a_rerun_while_we_collect_changes_nothing.
    """
    last = max(m.attempt for m in messages)
    told = [m for m in messages if not (m.attempt < last and m.status == "completed")]
    return told if last == 1 else [*told, seen("in_progress", last, jobs=(job(1, 1, last),))]


def columns(cast):
    names = (
        "status",
        "status_reason",
        "message",
        "step_name",
        "observation",
        "jobs",
        "run_attempt",
        "run_url",
        "started_at",
    )
    shown = {name: getattr(cast, name) for name in names} | {"over": cast.run_finished_at is not None}
    if cast.run_finished_at is not None:
        # How far a bar got while it ran may depend on what it was told first; where it ends may not.
        shown["progress"] = cast.progress
    return shown


@given(
    st.lists(run_messages | job_messages | polls, min_size=1, max_size=9).map(sane), st.randoms(use_true_random=False)
)
@settings(max_examples=400, deadline=None)
def test_any_order_and_any_repetition_ends_in_the_same_columns(messages, chance):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timezone, "now", lambda: at(5000))
        straight = columns(apply(queued_cast(), *messages))
        mixed = messages + chance.choices(messages, k=len(messages))
        chance.shuffle(mixed)
        assert columns(apply(queued_cast(), *mixed)) == straight


@given(st.lists(run_messages | job_messages | polls, max_size=12), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_status_progress_and_rank_never_go_back(messages, seed):
    random.Random(seed).shuffle(messages)
    cast, rank = queued_cast(), [CastStatus.QUEUED, CastStatus.RUNNING]
    for one in messages:
        before = (
            rank.index(cast.status),
            cast.progress,
            folding.order_of(cast.observation or {}),
            cast.run_finished_at,
        )
        apply(cast, one)
        assert rank.index(cast.status) >= before[0]
        assert before[1] <= cast.progress <= 100
        assert folding.order_of(cast.observation or {}) >= before[2]
        assert before[3] in (None, cast.run_finished_at)


skewed = st.builds(
    lambda number, attempt, status, began, lasted: Job(
        100 * attempt + number,
        f"job {number}",
        status,
        attempt=attempt,
        started_at=at(began),
        completed_at=at(began + lasted) if status == "completed" else None,
        runner="runner 1",
    ),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(STATES),
    st.integers(-90, 200),  # seconds from the cast's own time: clocks differ, and GitHub's knows no fractions
    st.integers(-5, 90),
)


@given(
    st.lists(st.tuples(st.sampled_from([None, *RUN_STATES]), skewed, st.integers(0, 20_000)), min_size=1, max_size=12)
)
@settings(max_examples=300, deadline=None)
def test_times_never_contradict_each_other_in_any_order(told):
    cast, clock = queued_cast(), at(0.4)
    cast.created_at = clock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timezone, "now", lambda: clock)
        for status, one, milliseconds in told:
            clock += dt.timedelta(milliseconds=milliseconds)
            had = cast.started_at
            apply(cast, seen(status, one.attempt, jobs=(one,), run_started_at=at(100 * one.attempt)))
            assert (cast.started_at is None) == (cast.status == CastStatus.QUEUED)
            assert cast.started_at is not None or had is None
            assert cast.created_at <= (cast.started_at or clock) <= clock
            for step in (step for row in cast.jobs for step in [row, *row["steps"]] if step["completed_at"]):
                assert step["started_at"] <= step["completed_at"]
        cast.finished_at = clock
        life = (cast.finished_at - cast.created_at).total_seconds() * 1000
        assert 0 <= (cast.duration_ms or 0) <= life
