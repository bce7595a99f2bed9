"""Rows whose steps fail every time: each is counted for itself, stepped alone, and given up; others go on."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from django.db import ProgrammingError, connections
from django.utils import timezone

from accounts.models import BudgetPeriod
from casts.callbacks import outbox
from casts.callbacks.delivery import CallbackWork
from casts.execution.artifacts import ArtifactWork, copy_again
from casts.execution.steps import CastWork
from casts.lifecycle import dispatching, waking
from casts.models import Artifact, Callback, Cast
from casts.runtime import Run
from core.queue import poison
from core.queue.due import ALONE_FROM, GIVE_UP_AFTER
from core.queue.worker import Worker, step_once
from tests.casts.conftest import LEASE, history, ledger
from webhooks.inbox import DeliveryWork, apply_again
from webhooks.models import Delivery

LAST = GIVE_UP_AFTER  # failed steps of a row that is to be given up


class Failing:
    """A kind of work on casts whose step, and whose giving up, is a test's function."""

    def __init__(self, step=lambda row: None, give_up=lambda row: None):
        self.step, self.give_up = step, give_up

    def rows(self):
        return Cast.due_rows()


def boom(row):
    raise KeyError("a bug")


def claim(model=Cast, **which):
    model.objects.filter(lease_until=None, **which).update(due_at=timezone.now())
    [row] = model.due_rows().filter(**which).claim(limit=1, lease=LEASE)
    return row


def after(row):
    row.refresh_from_db()
    return row


@pytest.fixture
def worker(settings):
    settings.WORK = []
    return Worker(threads=1, lease_seconds=30)


@pytest.fixture(autouse=True)
def _own_connection(monkeypatch):
    # A test's transaction is on this one.
    monkeypatch.setattr(connections, "close_all", lambda: None)


# --- counting ---------------------------------------------------------------------------------------------------------


def test_a_step_that_raises_is_counted_and_waits_longer_each_time(cast, worker, clock):
    waits = []
    for failed in range(1, ALONE_FROM + 1):
        worker.step(Failing(boom), claim())
        row = Cast.objects.get()
        assert (row.failed_steps, row.lease_until) == (failed, None)
        assert row.failure.startswith("KeyError in boom, line ")
        waits.append((row.due_at - clock.now).total_seconds())
    assert waits == list(poison.WAITS[:ALONE_FROM])


@pytest.mark.parametrize("again", [None, dt.timedelta(0), dt.timedelta(minutes=1)])
def test_a_step_that_returns_ends_the_count_whatever_it_wants_next(cast, worker, again):
    Cast.objects.update(failed_steps=1, failure="x")
    worker.step(Failing(lambda row: None if again is None else timezone.now() + again), claim())
    assert (after(cast).failed_steps, cast.failure) == (0, "")


def test_a_worker_that_dies_costs_each_row_that_it_held_one_and_the_next_step_gives_it_back(make_cast, worker, clock):
    casts = [make_cast() for _ in range(8)]
    Cast.due_rows().claim(limit=8, lease=LEASE)
    clock.forward(seconds=LEASE.total_seconds())
    assert Cast.due_rows().recover() == 8
    assert set(Cast.objects.values_list("failed_steps", "failure")) == {(1, "its worker died, or stood still")}
    for cast in casts:
        worker.step(Failing(), claim(pk=cast.pk))
    assert not Cast.objects.exclude(failed_steps=0).exists()


def test_a_row_that_wakes_a_stopping_worker_or_an_unknown_table_is_not_counted(cast, worker):
    def unknown(row):
        raise ProgrammingError("column does not exist")

    worker.step(Failing(unknown), claim())
    assert after(cast).failed_steps == 0
    Cast.objects.update(failed_steps=ALONE_FROM)
    worker.stop()
    row = claim()
    worker.step(Failing(boom), row)
    assert (after(cast).failed_steps, cast.lease_until, cast.attempts) == (ALONE_FROM, None, row.attempts - 1)


@pytest.mark.parametrize(
    ("ended", "failed"),
    [(0, ALONE_FROM), (-9, ALONE_FROM + 1), (1, ALONE_FROM + 1), (-15, ALONE_FROM), (-2, 2)],
)
def test_a_process_that_ends_is_counted_unless_it_was_told_to(cast, worker, monkeypatch, ended, failed):
    Cast.objects.update(failed_steps=ALONE_FROM)
    monkeypatch.setattr(poison, "run", lambda kind, row: ended)
    worker.step(Failing(boom), claim())
    assert after(cast).failed_steps == failed
    assert (cast.lease_until is None) == (ended != 0)  # a process that ended well has given its row back


def test_rows_that_failed_are_taken_one_at_a_time_and_hold_up_no_other(make_cast, worker):
    """Should the worker be killed again, none that failed with it before is held beside the one that kills."""
    bad, good = [make_cast() for _ in range(4)], [make_cast() for _ in range(4)]
    Cast.objects.filter(pk__in=[cast.pk for cast in bad]).update(failed_steps=1)
    worker.kinds, worker.threads = [Failing()], 8
    worker.upkeep_at = worker.sweep_at = math.inf
    steps: list[Cast] = []
    pool = SimpleNamespace(submit=lambda step, kind, row: steps.append(row) or Future())
    assert worker.claim_and_submit(pool) == 5
    assert worker.claim_and_submit(pool) == 0
    assert {row.pk for row in steps[1:]} == {cast.pk for cast in good}
    assert steps[0].pk == bad[0].pk
    assert Cast.due_rows().seconds_until_due() is None
    worker.failing.set_result(None)
    assert worker.claim_and_submit(pool) == 1
    assert steps[-1].pk == bad[1].pk


# --- giving up --------------------------------------------------------------------------------------------------------


def test_after_the_last_failure_the_row_is_due_at_once_and_given_up_without_its_step(cast, clock):
    Cast.objects.update(failed_steps=LAST - 1)
    step_once(Failing(boom), claim())
    assert (after(cast).failed_steps, cast.due_at) == (LAST, clock.now)
    given_up: list[Cast] = []
    step_once(Failing(boom, given_up.append), claim())
    assert [row.pk for row in given_up] == [cast.pk]


def test_a_row_that_can_not_even_be_given_up_is_parked_until_an_operator_looks(cast, worker):
    Cast.objects.update(failed_steps=LAST)
    step_once(Failing(boom, boom), claim())
    for _ in range(2):  # a webhook may wake it
        worker.step(Failing(boom), claim())
        assert (after(cast).failed_steps, cast.due_at, cast.lease_until) == (LAST + 1, None, None)
    assert Cast.due_rows().parked().count() == 1
    assert waking.wake_all([cast.pk], by="operator") == [cast.pk]
    assert after(cast).failed_steps == 0
    assert cast.due_at is not None


def test_a_cast_that_is_given_up_ends_costs_nothing_and_has_its_run_cancelled(cast, runtime, account):
    dispatching.dispatched(claim(), Run("77", "https://github.example/runs/77"))
    Artifact.objects.create(cast=cast, name="left", remote_id=1)
    Cast.objects.update(failed_steps=LAST, lease_until=None)
    step_once(CastWork(), claim())
    assert (after(cast).status, cast.status_reason, cast.charged_cents) == ("failed", "internal_error", 0)
    assert cast.message == "Working on this cast failed 5 times in a row on our side, so it was given up."
    assert cast.error == {"reason": "internal_error", "message": cast.message}
    assert ledger(cast) == [("hold", 5), ("release", 5)]
    assert BudgetPeriod.objects.get(scope="account").held_cents == 0
    assert history(cast)[-1] == "ended"
    assert (cast.due_at, cast.lease_until) == (None, None)
    assert runtime.count("cancel") == 1
    assert Artifact.objects.get().due_at is not None  # copied after all, if it is not the artifact that fails


def test_an_artifact_that_is_given_up_is_failed_and_may_be_copied_again(cast):
    artifact = Artifact.objects.create(cast=cast, name="bomb", remote_id=1, failed_steps=LAST)
    step_once(ArtifactWork(), claim(Artifact))
    assert (after(artifact).state, artifact.failed_steps, artifact.due_at) == ("failed", 0, None)
    assert artifact.error == "Copying it failed 5 times in a row on our side, so it was given up."
    assert copy_again([artifact.pk]) == [artifact.pk]
    assert (after(artifact).state, artifact.error) == ("pending", "")


def test_a_delivery_that_is_given_up_says_why_and_may_be_applied_again(db):
    row = Delivery.objects.create(
        guid=str(uuid.uuid4()), event="ping", body="{}", received_at=timezone.now(), failed_steps=LAST
    )
    step_once(DeliveryWork(), claim(Delivery))
    assert (after(row).outcome, row.due_at, row.applied_at) == ("pending", None, None)
    assert row.error == "Applying it failed 5 times in a row on our side, so it was given up."
    assert apply_again([row.pk]) == [row.pk]
    assert after(row).due_at is not None


def test_a_callback_that_is_given_up_is_failed_and_may_be_sent_again(cast, account):
    callback = Callback.objects.create(
        account=account, cast=cast, url="https://a.example/", created_at=timezone.now(), failed_steps=LAST
    )
    step_once(CallbackWork(), claim(Callback))
    assert (after(callback).state, callback.due_at) == ("failed", None)
    assert callback.last_error == "Sending it failed 5 times in a row on our side, so it was given up."
    assert outbox.send_again(callback).state == "pending"
