"""Steps of a cast on a runtime that does what a test says: look, compare, move, and never start a run twice."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest
from django.utils import timezone

from casts.execution.steps import CastWork
from casts.lifecycle import binding, dispatching, ending, observing, waking
from casts.models import Cast, CastStatus
from casts.runtime import (
    AccessLost,
    DispatchRefused,
    Failure,
    Job,
    JobStep,
    NotNow,
    Observation,
    OutcomeUnknown,
    Run,
    RunGone,
    Turn,
    runtime_of,
)
from tests.casts.conftest import claim, history, ledger, step, wait
from tests.casts.fake import FakeRuntime, jobs_of

URL = "https://github.example/runs/7"


def seen(status, conclusion=None, attempt=1, **fields):
    """An observation of whichever run is asked for."""
    conclusion = conclusion or ("success" if status == "completed" else None)

    def observe(cast):
        began = timezone.now() if status != "queued" else None
        told: dict[str, Any] = {"run_started_at": began, "title": f"greet {cast.run_tag}", "url": URL} | fields
        told = {"jobs": jobs_of(status, conclusion, began=told["run_started_at"])} | told
        return Observation(cast.run_scope, cast.run_key or "7", attempt, status, conclusion, **told)

    return observe


@pytest.fixture(autouse=True)
def limits(settings, monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    settings.CAST_LOST_SECONDS = 300
    settings.CAST_CANCEL_GRACE_SECONDS = 60
    settings.CAST_ARTIFACT_WAIT_SECONDS = 120
    settings.CAST_LOOK_MIN_SECONDS, settings.CAST_LOOK_MAX_SECONDS = 2, 300


def ended(cast):
    """Check that a cast has ended for good, and return how."""
    assert cast.final
    assert (cast.progress, cast.due_at, cast.lease_until) == (100, None, None)
    assert history(cast).count("ended") == 1
    settled = [kind for kind, _ in ledger(cast)]
    assert len(settled) == 2
    return cast.status, cast.status_reason, settled[1]


# --- the main road ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fake"),
    [
        ({"runtime": "workflow_dispatch"}, "FakeRuntime"),
        ({"runtime": "repository_dispatch", "event_type": "x"}, "OtherRuntime"),
    ],
)
def test_a_cast_goes_the_whole_road_on_its_spells_own_runtime(make_cast, make_spell, runtime, kind, fake):
    cast = make_cast(spell=make_spell("any", **kind))
    mine = runtime_of(cast)
    assert isinstance(mine, FakeRuntime)
    assert type(mine).__name__ == fake
    step(cast)
    assert (cast.status, cast.status_reason, cast.progress) == ("queued", "waiting_for_runner", 10)
    assert (cast.dispatch_attempts, cast.run_url) == (1, "https://github.example/runs/1")
    mine.answers["observe"] = seen("in_progress")
    step(cast)
    assert (cast.status, cast.status_reason) == ("running", "running")
    mine.answers["observe"] = seen("completed")
    step(cast)
    assert (cast.status, cast.status_reason, cast.progress) == ("running", "copying_artifacts", 95)
    step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")
    assert history(cast) == ["accepted", "dispatched", "observed", "run_finished", "ended"]
    assert mine.count("start") == 1
    assert cast.duration_ms is not None


def test_the_intent_is_committed_before_the_call(cast, runtime):
    def start(asked):
        row = Cast.objects.get(pk=asked.pk)
        assert row.dispatch_started_at is not None
        assert row.dispatched_at is None
        assert row.dispatch_attempts == 1
        return Run("7", URL)

    runtime.answers["start"] = start
    step(cast)
    assert runtime.count("start") == 1
    assert cast.dispatched_at is not None


def test_an_ended_cast_is_left_alone(cast, runtime):
    ending.end(claim(cast), CastStatus.FAILED, reason="x", message="x", charge=False)
    assert step(cast) is None
    assert runtime.asked == []


def test_looks_become_rarer_as_a_run_gets_older(cast, runtime, clock):
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    waits = []
    for _ in range(16):
        waits.append(wait(cast).total_seconds())
        clock.forward(seconds=2 * waits[-1])
    assert waits == sorted(waits)
    assert waits[0] == 2
    assert waits[-1] == 300


def test_a_run_that_waits_for_an_approval_says_so(cast, runtime):
    step(cast)
    runtime.answers["observe"] = seen("waiting")
    step(cast)
    assert (cast.status, cast.status_reason) == ("queued", "waiting_for_approval")
    assert "approval" in cast.message


def test_a_cancel_that_comes_before_the_dispatch_starts_nothing(cast, runtime):
    held = claim(cast)
    assert ending.request_cancel(held, reason="cancelled_by_caller")
    assert dispatching.intend_dispatch(held) is dispatching.Intent.LOST
    step(cast)
    assert ended(cast) == ("cancelled", "cancelled_by_caller", "release")
    assert runtime.count("start") == 0


# --- the dispatch fails ----------------------------------------------------------------------------------------------


def test_a_refused_dispatch_fails_the_cast_with_githubs_own_words(cast, runtime):
    runtime.answers["start"] = DispatchRefused("Workflow does not have 'workflow_dispatch' trigger")
    step(cast)
    assert ended(cast) == ("failed", "dispatch_refused", "release")
    assert "does not have 'workflow_dispatch' trigger" in cast.message
    assert cast.error["reason"] == "dispatch_refused"
    assert (runtime.count("start"), cast.started_at, cast.duration_ms) == (1, None, None)


def test_a_rate_limit_is_waited_out_in_public_and_counts_as_no_dispatch(cast, runtime, clock):
    later = clock.now + dt.timedelta(minutes=20)
    runtime.answers["start"] = NotNow("GitHub's rate limit is reached.", retry_at=later, reason="rate_limited")
    for _ in range(5):
        assert step(cast) == later - clock.now
    assert (cast.status, cast.status_reason, cast.message) == (
        "queued",
        "rate_limited",
        "GitHub's rate limit is reached.",
    )
    assert (cast.dispatch_started_at, cast.dispatch_attempts) == (None, 0)
    assert history(cast) == ["accepted", "waiting"]
    clock.forward(minutes=20)
    del runtime.answers["start"]
    step(cast)
    assert (cast.status_reason, cast.dispatch_attempts) == ("waiting_for_runner", 1)


def test_a_wait_without_a_time_is_short(cast, runtime):
    runtime.answers["start"] = NotNow("GitHub can't be reached.")
    assert dt.timedelta(seconds=1) < wait(cast) < dt.timedelta(seconds=10)
    assert cast.status_reason == "waiting_for_github"


def test_a_wait_is_never_longer_than_the_casts_own_time(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    runtime.answers["start"] = NotNow("Wait.", retry_at=clock.now + dt.timedelta(hours=1), reason="rate_limited")
    assert wait(cast) <= dt.timedelta(seconds=60)
    clock.forward(seconds=61)
    step(cast)
    assert ended(cast) == ("failed", "expired", "release")


def test_an_unknown_outcome_is_looked_for_and_the_run_found_is_taken(cast, runtime):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    assert wait(cast) < dt.timedelta(seconds=5)
    assert (cast.status, cast.status_reason, cast.run_key) == ("queued", "confirming_dispatch", None)
    assert wait(cast) < dt.timedelta(seconds=10)
    runtime.answers["find"] = seen("in_progress")
    assert wait(cast) <= dt.timedelta(0)
    assert (cast.status, cast.run_key, cast.run_url) == ("running", "7", URL)
    assert runtime.count("start") == 1
    cast.spell.refresh_from_db()
    assert cast.spell.tags_runs


def test_a_cast_whose_worker_was_killed_while_it_dispatched_says_that_its_run_is_looked_for(cast, runtime, clock):
    Cast.objects.filter(pk=cast.pk).update(dispatch_started_at=clock.now, dispatch_attempts=1)
    step(cast)
    assert (cast.status, cast.status_reason) == ("queued", "confirming_dispatch")
    step(cast)
    assert history(cast) == ["accepted", "waiting"]  # said once
    assert runtime.count("start") == 0


def test_a_webhook_that_is_faster_than_the_answer_counts_once_the_answer_is_lost(cast, runtime):
    def start(asked):
        assert (
            observing.observe_run(seen("in_progress")(asked)) is observing.Observed.NO_CAST
        )  # the answer may name another run
        raise OutcomeUnknown("reset")

    runtime.answers["start"] = start
    assert wait(cast) <= dt.timedelta(0)
    assert observing.observe_run(seen("in_progress")(cast)) is observing.Observed.CHANGED
    cast.refresh_from_db()
    assert (cast.status, cast.status_reason, cast.run_key) == ("running", "running", "7")
    runtime.answers["observe"] = seen("completed")
    step(cast), step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")
    assert runtime.count("start") == 1


def test_an_answer_that_comes_after_the_webhook_sends_nothing_back(cast, runtime):
    def start(asked):
        binding.bind_run(asked.pk, asked.run_scope, "7", URL, guessed=True)
        observing.observe(asked.pk, seen("completed")(asked))
        return Run("7", URL)

    runtime.answers["start"] = start
    step(cast)
    assert (cast.status, cast.progress, cast.status_reason) == ("running", 95, "copying_artifacts")
    assert cast.dispatched_at is not None
    assert step(cast) is None
    assert ended(cast) == ("succeeded", "succeeded", "capture")


def test_without_a_tag_in_its_title_a_lost_dispatch_is_never_repeated(cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    clock.forward(seconds=2)
    step(cast)
    clock.forward(seconds=299)
    step(cast)
    assert not cast.final
    clock.forward(seconds=2)
    step(cast)
    assert ended(cast) == ("failed", "dispatch_lost", "release")
    assert runtime.count("start") == 1


def test_only_looks_that_were_answered_prove_that_there_is_no_run(cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    runtime.answers["find"] = NotNow("GitHub is away")
    step(cast)
    for _ in range(10):
        clock.forward(seconds=360)
        step(cast)
    runtime.answers["find"] = None
    step(cast)
    assert not cast.final  # back after an hour; the first list may be stale
    clock.forward(seconds=299)
    step(cast)
    assert not cast.final
    clock.forward(seconds=2)
    step(cast)
    assert ended(cast) == ("failed", "dispatch_lost", "release")


def test_the_run_is_looked_for_several_times_before_it_counts_as_lost(cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    while not cast.final:
        if (wait := step(cast)) is not None:
            clock.forward(seconds=wait.total_seconds())
    assert runtime.count("find") >= 8
    assert 300 <= (cast.finished_at - cast.dispatch_started_at).total_seconds() < 400


def test_with_the_token_absence_is_proved_and_it_is_sent_again_three_times_at_most(
    make_cast, make_spell, runtime, clock
):
    cast = make_cast(spell=make_spell("told", tags_runs=True))
    runtime.answers["start"] = OutcomeUnknown("timeout")
    for sent in (1, 2, 3):
        step(cast)
        assert runtime.count("start") == cast.dispatch_attempts == sent
        step(cast)
        clock.forward(seconds=299)
        step(cast)
        assert runtime.count("start") == sent  # still looking
        clock.forward(seconds=2)
        step(cast)
    assert ended(cast) == ("failed", "dispatch_lost", "release")
    assert runtime.count("start") == 3


def test_waits_do_not_use_up_the_three_dispatches(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("told", tags_runs=True))
    runtime.answers["start"] = (
        [NotNow("rate")] * 4 + [OutcomeUnknown("timeout")] + [NotNow("rate")] * 4 + [Run("7", URL)]
    )
    for _ in range(6):
        step(cast)
    clock.forward(seconds=301)
    for _ in range(6):
        step(cast)
    assert (cast.run_key, cast.dispatch_attempts, cast.status_reason) == ("7", 2, "waiting_for_runner")


def test_an_accepted_dispatch_whose_run_never_appears_is_lost_and_not_repeated(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("event", runtime="repository_dispatch", event_type="x", tags_runs=True))
    mine = runtime_of(cast)
    assert isinstance(mine, FakeRuntime)
    mine.answers["start"] = None
    step(cast)
    assert (cast.status_reason, cast.run_key) == ("waiting_for_runner", None)
    step(cast)
    clock.forward(seconds=301)
    step(cast)
    assert ended(cast) == ("failed", "dispatch_lost", "release")
    assert mine.count("start") == 1
    assert "run-name" in cast.message


def test_a_worker_that_died_after_its_intent_leads_to_a_search_and_not_to_a_second_dispatch(cast, runtime):
    dispatching.intend_dispatch(claim(cast))
    step(cast)
    assert [asked for asked, _ in runtime.asked] == ["find"]


def test_a_run_that_belongs_to_another_cast_is_not_taken(cast, make_cast, runtime, clock):
    other = make_cast()
    Cast.objects.filter(pk=other.pk).update(run_key=7)
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    runtime.answers["find"] = seen("in_progress")
    step(cast)
    assert (cast.run_key, cast.status) == (None, "queued")
    clock.forward(seconds=301)
    step(cast)
    assert cast.status_reason == "dispatch_lost"


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_cast_waits_for_its_turn_says_when_it_comes_and_keeps_it(cast, runtime, clock):
    turn = clock.now + dt.timedelta(seconds=90)
    runtime.answers["book"] = turn
    assert step(cast) == dt.timedelta(seconds=90)
    assert (cast.status, cast.status_reason, cast.dispatch_started_at) == ("queued", "waiting_for_turn", None)
    assert f"{turn:%H:%M:%S} UTC" in cast.message
    clock.forward(seconds=30)
    assert step(cast) == dt.timedelta(seconds=60)  # woken early: it stays in line
    clock.forward(seconds=60)
    step(cast)
    assert (runtime.count("book"), runtime.count("start")) == (1, 1)
    assert (cast.pace_at, cast.run_key is None) == (None, False)


def test_a_cast_in_line_keeps_its_place_and_says_when_its_turn_comes(cast, runtime, clock):
    place = clock.now + dt.timedelta(seconds=5)
    answers = [Turn(clock.now + dt.timedelta(seconds=s), place) for s in (30, 60)]
    runtime.answers["book"] = [*answers, Turn(clock.now + dt.timedelta(seconds=60))]
    for turn in answers:
        assert step(cast) == dt.timedelta(seconds=30)
        assert (cast.line_at, cast.pace_at) == (place, None)
        assert f"{turn.at:%H:%M:%S} UTC" in cast.message
        clock.forward(seconds=30)
    step(cast)
    assert (runtime.count("book"), runtime.count("start")) == (3, 1)
    assert (cast.line_at, cast.pace_at) == (None, None)


def test_a_turn_that_nobody_took_is_lost(cast, runtime, clock):
    runtime.answers["book"] = [clock.now + dt.timedelta(seconds=90), clock.now + dt.timedelta(seconds=200)]
    step(cast)
    clock.forward(seconds=151)
    step(cast)
    assert (runtime.count("book"), runtime.count("start")) == (2, 0)


def test_a_short_wait_for_a_turn_is_no_news(cast, runtime, clock):
    runtime.answers["book"] = clock.now + dt.timedelta(seconds=1)
    step(cast)
    assert (cast.status_reason, history(cast)) == ("accepted", ["accepted"])


def test_a_look_that_is_put_off_to_spare_requests_is_no_news(cast, runtime, clock):
    step(cast)
    before = history(cast)
    runtime.answers["observe"] = NotNow("spared", retry_at=clock.now + dt.timedelta(seconds=40), reason="")
    assert step(cast) == dt.timedelta(seconds=40)
    assert (history(cast), cast.status_reason) == (before, "waiting_for_runner")


def test_while_somebody_watches_looks_are_more_frequent(cast, runtime, clock, settings):
    settings.CAST_LOOK_MIN_SECONDS, settings.CAST_LOOK_WATCHED_SECONDS = 15, 5
    assert step(cast) == dt.timedelta(seconds=15)
    assert waking.watch([cast.pk], arrived=True) == set()
    cast.refresh_from_db()
    assert cast.due_at <= clock.now + dt.timedelta(seconds=5)
    clock.forward(seconds=5)
    assert step(cast) == dt.timedelta(seconds=5)
    clock.forward(seconds=waking.WATCH_LASTS.total_seconds())
    assert wait(cast) > dt.timedelta(seconds=15)


def test_who_follows_while_the_cast_is_being_sent_is_not_forgotten(cast, runtime, clock, settings):
    settings.CAST_LOOK_MIN_SECONDS, settings.CAST_LOOK_WATCHED_SECONDS = 15, 5

    def start(asked):
        waking.watch([asked.pk], arrived=True)
        return Run("7", URL)

    runtime.answers["start"] = start
    assert step(cast) == dt.timedelta(seconds=5)
    assert cast.due_at == clock.now + dt.timedelta(seconds=5)


def test_who_follows_while_the_run_is_looked_at_brings_the_next_look_nearer(cast, runtime, clock, settings):
    settings.CAST_LOOK_MIN_SECONDS, settings.CAST_LOOK_WATCHED_SECONDS = 15, 5
    runtime.answers["observe"] = seen("in_progress")
    step(cast), step(cast)

    def observe(asked):
        waking.watch([asked.pk], arrived=True)
        return seen("in_progress")(asked)

    runtime.answers["observe"] = observe
    assert step(cast) == dt.timedelta(seconds=15)
    assert cast.due_at == clock.now + dt.timedelta(seconds=5)


def test_who_follows_a_cast_whose_run_is_not_known_yet_brings_the_search_nearer(cast, runtime, clock, settings):
    settings.CAST_LOOK_WATCHED_SECONDS = 5
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast), step(cast)
    clock.forward(seconds=200)
    assert wait(cast) > dt.timedelta(seconds=30)
    waking.watch([cast.pk], arrived=True)
    cast.refresh_from_db()
    assert (cast.run_key, cast.due_at) == (None, clock.now + dt.timedelta(seconds=5))


def test_watching_hurries_nothing_that_waits_for_github(cast, runtime, clock):
    runtime.answers["start"] = NotNow("an hour", retry_at=clock.now + dt.timedelta(hours=1), reason="rate_limited")
    assert step(cast) == dt.timedelta(hours=1)
    waking.watch([cast.pk], arrived=True)
    cast.refresh_from_db()
    assert cast.due_at == clock.now + dt.timedelta(hours=1)


def test_casts_of_one_moment_part(cast, runtime, monkeypatch):
    monkeypatch.undo()
    step(cast)
    waits = {step(cast) for _ in range(5)}
    assert len(waits) == 5


def test_when_access_is_withdrawn_a_cast_fails_and_costs_nothing(cast, runtime):
    step(cast)
    runtime.answers["observe"] = AccessLost("The App was uninstalled.", reason="installation_removed")
    step(cast)
    assert ended(cast) == ("failed", "installation_removed", "release")
    assert cast.message == "The App was uninstalled."


def test_when_access_is_withdrawn_before_the_dispatch_the_intent_is_taken_back(cast, runtime):
    runtime.answers["start"] = AccessLost("The App was uninstalled.", reason="installation_removed")
    step(cast)
    assert ended(cast) == ("failed", "installation_removed", "release")
    assert cast.dispatch_started_at is None


# --- time passes -----------------------------------------------------------------------------------------------------


def test_a_cast_that_was_not_started_in_its_time_expires_and_costs_nothing(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    clock.forward(seconds=61)
    step(cast)
    assert ended(cast) == ("failed", "expired", "release")
    assert runtime.asked == []
    assert cast.error["reason"] == "expired"


def test_a_run_that_never_got_a_runner_is_cancelled_and_expires(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    step(cast)
    clock.forward(seconds=61)
    step(cast)
    assert runtime.count("cancel") == 1
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast), step(cast)
    assert ended(cast) == ("failed", "expired", "release")


def test_a_cancel_that_meets_a_rate_limit_is_asked_for_when_it_ends(cast, runtime, clock):
    step(cast)
    ending.cancel(cast.pk)
    runtime.answers["cancel"] = NotNow("wait", retry_at=clock.now + dt.timedelta(seconds=37), reason="rate_limited")
    assert step(cast) == dt.timedelta(seconds=37)
    runtime.answers["cancel"] = NotNow("wait", retry_at=clock.now + dt.timedelta(hours=1), reason="rate_limited")
    assert step(cast) == dt.timedelta(seconds=120)  # then it ends without GitHub


def test_a_run_that_takes_too_long_is_cancelled_then_forced_then_given_up(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    step(cast), step(cast)
    assert wait(cast) <= dt.timedelta(seconds=100)  # the deadline is not slept through
    clock.forward(seconds=101)
    step(cast), step(cast)
    assert (runtime.count("cancel"), runtime.count("force")) == (1, 0)
    assert (cast.status, cast.status_reason) == ("running", "cancelling")
    clock.forward(seconds=61)
    step(cast), step(cast)
    assert (runtime.count("cancel"), runtime.count("force")) == (1, 1)
    clock.forward(seconds=60)
    step(cast)
    assert ended(cast) == ("failed", "timed_out", "capture")
    assert history(cast).count("cancel_asked") == 2


def test_a_run_that_obeys_the_cancel_ends_as_what_it_was_cancelled_for(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    step(cast), step(cast)
    clock.forward(seconds=101)
    step(cast)
    assert runtime.count("cancel") == 1
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast), step(cast)
    assert ended(cast) == ("failed", "timed_out", "capture")
    assert cast.error["reason"] == "timed_out"


def test_a_run_that_succeeds_all_the_same_has_succeeded(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    step(cast), step(cast)
    clock.forward(seconds=101)
    runtime.answers["observe"] = seen("completed")
    step(cast), step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")


def test_a_timeout_is_not_charged_where_the_spell_says_so(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("kind", timeout_seconds=100, charge_failed_runs=False))
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    step(cast), step(cast)
    for _ in range(3):
        clock.forward(seconds=101)
        step(cast)
    assert ended(cast) == ("failed", "timed_out", "release")


def test_a_cast_ends_in_time_also_when_github_can_not_be_asked_to_cancel(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress", run_started_at=clock.now)
    step(cast), step(cast)
    trouble = NotNow("GitHub is away.")
    runtime.answers |= {"cancel": trouble, "force": trouble, "observe": trouble}
    clock.forward(seconds=101)
    waited = 0.0
    while not cast.final and waited < 200:
        again = step(cast)
        clock.forward(seconds=again.total_seconds() if again else 0)
        waited += again.total_seconds() if again else 0
    assert ended(cast) == ("failed", "timed_out", "capture")
    assert waited <= 140


def test_a_run_that_was_deleted_while_it_worked_costs_nothing_and_is_not_cancelled(
    make_cast, make_spell, runtime, clock
):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress")
    step(cast), step(cast)
    runtime.answers["observe"] = RunGone("404")
    clock.forward(seconds=20)
    assert step(cast) is None
    assert ended(cast) == ("failed", "run_deleted", "release")
    assert runtime.count("cancel") == 0


def test_a_run_that_is_found_deleted_when_its_time_is_up_costs_nothing(make_cast, make_spell, runtime, clock):
    cast = make_cast(spell=make_spell("slow", timeout_seconds=100))
    runtime.answers["observe"] = seen("in_progress")
    step(cast), step(cast)
    runtime.answers["observe"] = RunGone("404")
    clock.forward(seconds=101)
    assert step(cast) is None
    assert ended(cast) == ("failed", "run_deleted", "release")
    assert runtime.count("cancel") == 0


def test_a_run_that_begins_in_the_last_moment_is_not_cancelled_as_expired(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    step(cast)
    runtime.answers["observe"] = seen("in_progress", jobs=jobs_of("in_progress", began=clock.now))
    clock.forward(seconds=61)
    step(cast)
    assert (cast.status, cast.status_reason, runtime.count("cancel")) == ("running", "running", 0)
    assert cast.cancel_requested_at is None
    runtime.answers["observe"] = seen("completed")
    step(cast), step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")


def test_a_cancel_that_comes_during_the_last_look_keeps_its_reason(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    step(cast)

    def meanwhile(asked):
        ending.cancel(asked.pk)
        return seen("queued")(asked)

    runtime.answers["observe"] = meanwhile
    clock.forward(seconds=61)
    step(cast)
    assert cast.cancel_reason == "cancelled_by_caller"
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast), step(cast)
    assert ended(cast) == ("cancelled", "cancelled_by_caller", "release")


def test_a_cancel_during_the_last_look_ends_the_cast_also_when_its_run_is_gone(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    step(cast)

    def meanwhile(asked):
        ending.cancel(asked.pk)
        runtime.answers["observe"] = RunGone("404")
        return seen("queued")(asked)

    runtime.answers |= {"observe": meanwhile, "cancel": RunGone("404")}
    clock.forward(seconds=61)
    step(cast)
    assert ended(cast) == ("cancelled", "cancelled_by_caller", "release")


def test_a_deadline_waits_a_moment_for_a_last_look_and_no_longer(make_cast, runtime, clock):
    cast = make_cast(ttl_seconds=60)
    step(cast)
    runtime.answers["observe"] = NotNow("spared", reason="")
    clock.forward(seconds=61)
    assert wait(cast) <= dt.timedelta(seconds=5)
    assert cast.cancel_requested_at is None
    clock.forward(seconds=10)
    step(cast)
    assert (cast.cancel_reason, runtime.count("cancel")) == ("expired", 1)


def test_every_few_looks_the_run_itself_is_asked_for(cast, runtime):
    asked: list[bool] = []
    runtime.closely = asked.append
    for _ in range(9):
        step(cast)
    assert asked.count(True) == 2


def test_a_lost_run_of_a_cancelled_cast_is_still_looked_for_to_be_cancelled(cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    Cast.objects.filter(pk=cast.pk).update(cancel_requested_at=clock.now, cancel_reason="cancelled_by_caller")
    step(cast)
    assert not cast.final
    runtime.answers["find"] = seen("in_progress")
    step(cast)
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast)
    assert runtime.count("cancel") == 1
    step(cast)
    assert ended(cast) == ("cancelled", "cancelled_by_caller", "release")


def test_a_cancelled_cast_whose_run_is_never_found_ends_all_the_same(cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    Cast.objects.filter(pk=cast.pk).update(cancel_requested_at=clock.now, cancel_reason="cancelled_by_caller")
    clock.forward(seconds=121)
    step(cast)
    assert ended(cast) == ("cancelled", "cancelled_by_caller", "release")


# --- the run's own end -----------------------------------------------------------------------------------------------

ENDS = {
    "success": ("succeeded", "succeeded", "capture"),
    "neutral": ("succeeded", "succeeded", "capture"),
    "failure": ("failed", "run_failed", "capture"),
    "timed_out": ("failed", "timed_out", "capture"),
    "stale": ("failed", "stale", "release"),
    "startup_failure": ("failed", "startup_failure", "release"),
    "action_required": ("failed", "action_required", "release"),
    "skipped": ("failed", "skipped", "release"),
    "cancelled": ("cancelled", "cancelled_on_github", "release"),
    "something_new": ("failed", "something_new", "release"),
}


@pytest.mark.parametrize("conclusion", ENDS)
def test_a_run_ends_its_cast_as_the_table_says(cast, runtime, conclusion):
    runtime.answers["observe"] = seen("completed", conclusion)
    step(cast), step(cast), step(cast)
    assert ended(cast) == ENDS[conclusion]
    assert (cast.error is None) == (cast.status != "failed")
    if cast.error:
        assert cast.error["reason"] == cast.status_reason
        assert cast.error["run_url"] == URL


def test_a_failed_run_is_not_charged_where_the_spell_says_so(make_cast, make_spell, runtime):
    cast = make_cast(spell=make_spell("kind", charge_failed_runs=False))
    runtime.answers["observe"] = seen("completed", "failure")
    step(cast), step(cast), step(cast)
    assert ended(cast) == ("failed", "run_failed", "release")


def test_a_failure_names_the_job_the_step_and_the_last_lines(cast, runtime):
    runtime.answers["observe"] = seen("completed", "failure")
    runtime.answers["failure"] = Failure(job="cast", step="Greet", log_tail=("one", "##[error]boom"))
    step(cast), step(cast), step(cast)
    wanted = {"failed_job": "cast", "failed_step": "Greet", "log_tail": ["one", "##[error]boom"], "run_url": URL}
    assert cast.error.items() >= wanted.items()
    assert "'Greet'" in cast.message


def test_a_log_that_is_late_is_waited_for_and_one_that_never_comes_is_not(cast, runtime, clock):
    runtime.answers["observe"] = seen("completed", "failure")
    runtime.answers["failure"] = [NotNow("no log yet"), Failure(job="cast")]
    step(cast), step(cast)
    assert wait(cast) <= dt.timedelta(seconds=30)
    assert not cast.final
    step(cast)
    assert cast.error["failed_job"] == "cast"
    assert ended(cast) == ("failed", "run_failed", "capture")


def test_a_log_that_never_comes_does_not_hold_the_cast_for_ever(cast, runtime, clock):
    runtime.answers["observe"] = seen("completed", "failure")
    runtime.answers["failure"] = NotNow("never", retry_at=clock.now + dt.timedelta(days=1))
    step(cast), step(cast)
    assert wait(cast) <= dt.timedelta(seconds=30)
    clock.forward(seconds=121)
    step(cast)
    assert ended(cast) == ("failed", "run_failed", "capture")
    assert cast.error["log_tail"] == []


@pytest.mark.parametrize("method", ["artifacts", "failure"])
def test_a_bug_at_the_end_costs_two_minutes_and_not_the_cast(cast, runtime, clock, method, caplog):
    runtime.answers["observe"] = seen("completed", "failure")
    runtime.answers[method] = RuntimeError("a bug")
    step(cast), step(cast)
    assert wait(cast) <= dt.timedelta(seconds=30)
    clock.forward(seconds=121)
    step(cast)
    assert ended(cast) == ("failed", "run_failed", "capture")
    assert "a bug" in caplog.text


def test_the_last_steps_are_fetched_when_a_webhook_told_the_end_alone(cast, runtime):
    step(cast)
    observing.observe(cast.pk, Observation(cast.run_scope, cast.run_key, status="completed", conclusion="success"))
    done = (Job(1, "cast", "completed", "success", steps=(JobStep("one", 1, "completed", "success"),)),)
    runtime.answers["observe"] = seen("completed", jobs=done)
    step(cast)
    assert ended(cast) == ("succeeded", "succeeded", "capture")
    assert [job["status"] for job in cast.jobs] == ["completed"]


def test_a_run_that_vanishes_when_it_is_young_is_looked_for_again(cast, runtime, clock):
    step(cast)
    runtime.answers["observe"] = RunGone("404")
    assert wait(cast) <= dt.timedelta(seconds=10)
    assert not cast.final
    clock.forward(seconds=301)
    step(cast)
    assert ended(cast) == ("failed", "run_deleted", "release")


def test_trouble_while_looking_is_not_shown_on_a_running_cast(cast, runtime):
    runtime.answers["observe"] = seen("in_progress")
    step(cast), step(cast)
    before = history(cast)
    runtime.answers["observe"] = NotNow("GitHub is away.")
    step(cast)
    assert (cast.status, cast.status_reason, history(cast)) == ("running", "running", before)


# --- whose step is it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        {"start": Run("9", URL)},
        {"start": DispatchRefused("no")},
        {"start": OutcomeUnknown("?")},
        {"start": NotNow("wait", reason="rate_limited")},
    ],
)
def test_a_worker_that_lost_its_claim_while_it_called_writes_nothing(cast, runtime, answers):
    given = answers["start"]

    def start(asked):
        Cast.due_rows().filter(pk=asked.pk).update(lease_until=timezone.now())
        assert Cast.due_rows().recover() == 1
        others[:] = Cast.due_rows().claim(limit=1, lease=dt.timedelta(seconds=30))
        if isinstance(given, Exception):
            raise given
        return given

    others: list[Any] = []
    runtime.answers["start"] = start
    row = claim(cast)
    again = CastWork().step(row)
    now = Cast.objects.get(pk=cast.pk)
    assert not row.give_back(again)
    assert (now.status, now.status_reason, now.progress, now.claim_number) == (
        "queued",
        "accepted",
        0,
        others[0].claim_number,
    )
    assert now.dispatch_started_at is not None  # so the new holder searches
    assert now.dispatch_attempts == 1
    assert history(cast) == ["accepted"]
    assert ledger(cast) == [("hold", 5)]
