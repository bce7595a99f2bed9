"""Folding observations: pure, and the same whatever the order and however often."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from casts import folding
from casts.models import Cast, CastStatus, Spell
from casts.runtime import Job, Observation, Step

T0 = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
STATES = ("queued", "in_progress", "completed")


def at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


def queued_cast(**fields):
    return Cast(spell=Spell(key="greet"), repository="demo/spells", created_at=T0, expires_at=at(9000), **fields)


def seen(status=None, attempt=1, *, updated=None, jobs=None, conclusion=None, **fields):
    conclusion = conclusion or ("success" if status == "completed" else None)
    fields = {"run_started_at": at(1000 * attempt), "url": "https://github.example/runs/7"} | fields
    return Observation(
        "demo/spells", 7, attempt, status, conclusion, updated_at=updated or at(1000 * attempt), jobs=jobs, **fields
    )


def job(number, state, attempt=1, *, steps=3):
    """Job `number` in its `state`-th state: not begun, then step after step, then done."""
    status = "queued" if state == 0 else "completed" if state > steps else "in_progress"
    shown = tuple(
        Step(f"Step {number}.{i}", i, "completed" if i < state else "in_progress" if i == state else "queued")
        for i in range(1, steps + 1 if state else 1)
    )
    return Job(100 * attempt + number, f"job {number}", status, attempt=attempt, steps=shown)


def job_only(*given, **fields):
    return Observation("demo/spells", 7, attempt=given[0].attempt, jobs=given, **fields)


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
    ],
)
def test_a_run_that_has_not_begun_leaves_the_cast_queued_and_says_for_what(github, reason):
    cast = apply(queued_cast(), seen(github))
    assert (cast.status, cast.status_reason, cast.progress, cast.started_at) == ("queued", reason, 10, None)


def test_a_run_in_progress_is_running_since_githubs_own_time():
    cast = apply(queued_cast(), seen("in_progress"))
    assert (cast.status, cast.status_reason, cast.started_at, cast.progress) == ("running", "running", at(1000), 10)


def test_a_run_that_is_over_when_first_seen_was_running_and_is_being_copied():
    cast = apply(queued_cast(), seen("completed", conclusion="failure"))
    assert (cast.status, cast.status_reason, cast.started_at, cast.progress) == (
        "running",
        "copying_artifacts",
        at(1000),
        95,
    )
    assert cast.run_finished_at is not None
    assert "failure" in cast.message


@pytest.mark.parametrize("state", [1, 4])
def test_a_job_that_has_begun_or_ended_means_that_the_run_has_begun(state):
    cast = apply(queued_cast(), job_only(job(1, state)))
    assert cast.status == "running"
    assert cast.started_at is not None


def test_a_start_that_only_a_job_told_is_corrected_by_the_runs_own():
    cast = apply(queued_cast(), job_only(job(1, 1)))
    assert cast.started_at > at(1000)
    assert apply(cast, seen("in_progress")).started_at == at(1000)


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
    endless = Job(1, "job", "in_progress", steps=(Step("x" * 5000, 1, "in_progress"),))
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
    assert (cast.status_reason, cast.run_attempt, cast.started_at, cast.jobs) == ("running", 2, at(2000), [])


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
    begins = folding.fold(cast, seen("in_progress"))
    assert not folding.needs_look(cast, begins)  # its steps come by webhook, and nobody waits for them
    cast.watched_until = timezone.now() + dt.timedelta(minutes=1)
    assert folding.needs_look(cast, begins)
    assert not folding.needs_look(cast, folding.fold(cast, seen("queued")))
    apply(cast, seen("in_progress"))
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
    """Keep what has one truth: the last attempt has begun, and no earlier one ended before we knew of the last.

    What follows an end that we saw is the history's affair; see test_a_rerun_while_we_collect_changes_nothing.
    """
    last = max(m.attempt for m in messages)
    told = [m for m in messages if not (m.attempt < last and m.status == "completed")]
    mine = [m for m in told if m.attempt == last]
    begun = any(m.status in ("in_progress", "completed") for m in mine)
    return told if begun or last == 1 else [*told, seen("in_progress", last)]


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
