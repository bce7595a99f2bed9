"""Cancelling for the caller: at once where nothing was sent, through GitHub where something was, once in any case."""

from __future__ import annotations

import pytest

from accounts import keys
from accounts.models import Account
from casts.execution.steps import CastWork
from casts.lifecycle import binding, dispatching, ending, observing
from casts.models import FINAL, Cast
from casts.runtime import NotNow, Observation, OutcomeUnknown, Run, RunGone
from tests.casts.client import Api, problem
from tests.casts.conftest import claim, history, ledger, nothing_left, step
from tests.casts.fake import jobs_of


@pytest.fixture(autouse=True)
def grace(settings):
    settings.CAST_CANCEL_GRACE_SECONDS = 60
    settings.CAST_LOST_SECONDS = 300


def cancel(api, cast):
    """Ask over HTTP; return the answer's body and refresh the cast."""
    answer = api.post(f"/casts/{cast.pk}/cancel")
    assert answer.status_code == 202, answer.content
    cast.refresh_from_db()
    return answer.json()


def seen(status, conclusion=None):
    return lambda cast: Observation(
        cast.run_scope, cast.run_key or "7", 1, status, conclusion, cast.run_tag, jobs=jobs_of(status, conclusion)
    )


def ended(cast):
    cast.refresh_from_db()
    assert cast.final
    assert history(cast).count("ended") == 1
    assert len(ledger(cast)) == 2
    return cast.status, cast.status_reason, ledger(cast)[1]


BY_CALLER = ("cancelled", "cancelled_by_caller", ("release", 5))


@pytest.fixture
def running(cast, runtime):
    """A cast whose run is at work."""
    step(cast)
    runtime.answers["observe"] = seen("in_progress")
    step(cast)
    assert cast.status == "running"
    return cast


# --- nothing was sent ------------------------------------------------------------------------------------------------


def test_a_cast_that_waits_for_a_worker_is_cancelled_at_once_and_gets_its_price_back(api, cast, account, runtime):
    shown = cancel(api, cast)
    assert (shown["status"], shown["status_reason"], shown["final"]) == ("cancelled", "cancelled_by_caller", True)
    assert (shown["message"], shown["error"], shown["progress"]) == ("Cancelled, as asked.", None, 100)
    assert ended(cast) == BY_CALLER
    assert account.budget_periods.get().used_cents == 0
    assert cast.due_at is None
    assert step(cast) is None
    assert runtime.asked == []


def test_a_worker_that_holds_it_and_has_not_sent_it_finds_it_gone(api, cast, runtime):
    held = claim(cast)
    cancel(api, cast)
    assert ended(cast) == BY_CALLER
    before = Cast.objects.filter(pk=cast.pk).values().get()
    assert dispatching.intend_dispatch(held) is dispatching.Intent.LOST
    assert not held.give_back(held.created_at)
    assert CastWork().step(held) is None
    assert Cast.objects.filter(pk=cast.pk).values().get() == before
    assert runtime.count("start") == 0


def test_a_cast_that_waits_for_a_rate_limit_is_cancelled_at_once(api, cast, runtime):
    runtime.answers["start"] = NotNow("Wait.", reason="rate_limited")
    step(cast)
    cancel(api, cast)
    assert ended(cast) == BY_CALLER


# --- it is being sent, or was sent -----------------------------------------------------------------------------------


def test_a_cancel_during_the_call_to_github_waits_for_its_answer_and_then_asks_github(api, cast, runtime):
    def start(asked):
        shown = cancel(api, cast)
        assert (shown["status"], shown["status_reason"], shown["final"]) == ("queued", "cancelling", False)
        return Run("7", "https://github.example/runs/7")

    runtime.answers["start"] = start
    step(cast)
    assert (cast.run_key, cast.final) == ("7", False)
    assert cast.due_at is not None
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(cast)
    assert runtime.count("cancel") == 1
    step(cast)
    assert ended(cast) == BY_CALLER
    assert runtime.count("start") == 1


def test_a_call_that_certainly_started_nothing_after_a_cancel_ends_it(api, cast, runtime):
    def start(asked):
        cancel(api, cast)
        raise NotNow("rate limited", reason="rate_limited")

    runtime.answers["start"] = start
    step(cast)
    step(cast)
    assert ended(cast) == BY_CALLER
    assert (runtime.count("start"), runtime.count("cancel")) == (1, 0)


def test_an_unknown_dispatch_is_looked_for_and_cancelled_when_it_is_found(api, cast, runtime):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    assert cancel(api, cast)["status_reason"] == "cancelling"
    step(cast)
    assert (cast.final, runtime.count("cancel")) == (False, 0)
    runtime.answers |= {"find": seen("queued"), "observe": seen("completed", "cancelled")}
    for _ in range(3):
        step(cast)
    assert (cast.run_key, runtime.count("cancel")) == ("7", 1)
    assert ended(cast) == BY_CALLER


def test_an_unknown_dispatch_that_is_never_found_ends_after_twice_the_grace(api, cast, runtime, clock):
    runtime.answers["start"] = OutcomeUnknown("timeout")
    step(cast)
    cancel(api, cast)
    clock.forward(seconds=119)
    step(cast)
    assert not cast.final
    clock.forward(seconds=2)
    step(cast)
    assert ended(cast) == BY_CALLER
    late = Observation(cast.run_scope, "7", status="in_progress", title=cast.run_tag)
    assert binding.find_cast(late) is None


def test_a_running_cast_asks_github_once_and_ends_as_cancelled_and_released(api, running, runtime):
    shown = cancel(api, running)
    assert (shown["status"], shown["status_reason"], shown["final"]) == ("running", "cancelling", False)
    assert running.due_at is not None  # a worker asks now, not at the next look
    for _ in range(3):
        step(running)
    assert (runtime.count("cancel"), runtime.count("force")) == (1, 0)
    assert running.status_reason == "cancelling"
    runtime.answers["observe"] = seen("completed", "cancelled")
    step(running), step(running)
    assert ended(running) == BY_CALLER
    assert [kind for kind in history(running) if "cancel" in kind] == ["cancel_requested", "cancel_asked"]


def test_what_does_not_stop_is_forced_after_the_grace_and_ended_without_github_after_another(
    api, running, runtime, clock
):
    cancel(api, running)
    step(running)
    clock.forward(seconds=61)
    step(running), step(running)
    assert (runtime.count("cancel"), runtime.count("force"), running.final) == (1, 1, False)
    clock.forward(seconds=60)
    step(running)
    assert ended(running) == BY_CALLER


def test_a_cancel_of_a_run_that_is_gone_ends_at_once(api, running, runtime, clock):
    clock.forward(seconds=60)
    runtime.answers |= {"cancel": RunGone(), "observe": RunGone()}
    cancel(api, running)
    step(running)
    assert ended(running) == BY_CALLER
    assert runtime.count("force") == 0


def test_github_in_trouble_only_delays_a_cancel(api, running, runtime, clock):
    trouble = NotNow("down")
    runtime.answers |= {"cancel": trouble, "force": trouble, "observe": trouble}
    cancel(api, running)
    for _ in range(3):
        step(running)
        assert not running.final
        clock.forward(seconds=50)
    step(running)
    assert ended(running) == BY_CALLER


# --- who was first ---------------------------------------------------------------------------------------------------


def test_a_run_that_succeeds_before_github_hears_of_it_is_a_success_and_paid(api, running, runtime):
    cancel(api, running)
    runtime.answers["observe"] = seen("completed", "success")
    step(running), step(running)
    assert ended(running) == ("succeeded", "succeeded", ("capture", 5))


def test_a_run_that_fails_meanwhile_is_its_own_failure(api, running, runtime):
    cancel(api, running)
    runtime.answers["observe"] = seen("completed", "failure")
    step(running), step(running)
    assert ended(running) == ("failed", "run_failed", ("capture", 5))


def test_a_cancel_after_the_runs_end_changes_nothing_and_the_run_counts(api, running, runtime):
    observing.observe(running.pk, seen("completed", "success")(running))
    shown = cancel(api, running)
    assert (shown["status"], shown["status_reason"]) == ("running", "copying_artifacts")
    assert running.cancel_requested_at is None
    step(running)
    assert ended(running) == ("succeeded", "succeeded", ("capture", 5))


def test_repeats_change_nothing(api, running):
    first = cancel(api, running)
    row, lines = Cast.objects.filter(pk=running.pk).values().get(), history(running)
    for _ in range(3):
        again = cancel(api, running)
        assert {k: v for k, v in again.items() if not k.endswith("_url")} == {
            k: v for k, v in first.items() if not k.endswith("_url")
        }
    assert (Cast.objects.filter(pk=running.pk).values().get(), history(running)) == (row, lines)


@pytest.mark.parametrize("status", FINAL)
def test_an_ended_cast_stays_as_it_ended(api, cast, status):
    ending.end(claim(cast), status, reason="test", message="Ended.", charge=True)
    row = Cast.objects.filter(pk=cast.pk).values().get()
    shown = cancel(api, cast)
    assert (shown["status"], shown["status_reason"]) == (status, "test")
    assert Cast.objects.filter(pk=cast.pk).values().get() == row
    assert ledger(cast) == [("hold", 5), ("capture", 5)]


def test_a_timeout_that_was_first_keeps_its_reason(api, running, clock):
    clock.forward(seconds=running.spell.timeout_seconds + 1)
    step(running)
    assert running.cancel_reason == "timed_out"
    cancel(api, running)
    assert running.cancel_reason == "timed_out"


# --- whose ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_another_accounts_cast_is_not_found(cast, verb):
    stranger = Api(keys.create(Account.objects.create(name="Assassins' Guild"), name="theirs")[1])
    with nothing_left():
        for path in (str(cast.pk), "01234567-89ab-7def-8123-456789abcdef", "none"):
            problem(stranger.post(f"/casts/{path}/{verb}"), 404, "CAST_NOT_FOUND")
    cast.refresh_from_db()
    assert (cast.final, cast.cancel_requested_at) == (False, None)


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_a_key_that_only_reads_cancels_and_retries_nothing(cast, account, verb):
    reader = Api(keys.create(account, name="reader", scopes=["casts:read"])[1])
    problem(reader.post(f"/casts/{cast.pk}/{verb}"), 403, "FORBIDDEN")


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_only_post_will_do(api, cast, verb):
    problem(api.get(f"/casts/{cast.pk}/{verb}"), 405, "METHOD_NOT_ALLOWED")
