"""Deliveries of one new run that arrive at the same moment, on real connections: none of them is lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from casts.lifecycle import binding, dispatching
from casts.models import Cast
from casts.runtime import Run
from core.queue.due import DueQuerySet
from tests.e2e.platform import until
from webhooks import inbox
from webhooks.handlers import HANDLERS
from webhooks.models import Delivery

from .conftest import again, deliver, job_event, run_event, work_off

Outcome = Delivery.Outcome
pytestmark = pytest.mark.django_db(transaction=True)
KINDS = [f"{what} {action}" for what, actions in {
    "run": ("requested", "in_progress", "completed"), "job": ("queued", "in_progress", "completed"),
}.items() for action in actions]  # fmt: skip


def body_of(cast: Cast, kind: str) -> tuple[str, dict[str, Any]]:
    what, action = kind.split()
    return f"workflow_{what}", (run_event if what == "run" else job_event)(cast, action)


def at_once(*jobs: Callable[[], object]) -> None:
    """Do all of this at one moment, on connections of their own."""
    gate, failed = threading.Barrier(len(jobs)), list[BaseException]()

    def one(job: Callable[[], object]) -> None:
        try:
            gate.wait(10)
            job()
        except BaseException as exc:
            failed.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed


def work_off_what_is_due() -> None:
    """Have a worker do what is due now: a message that is to be applied must not wait for a later look."""
    for _ in range(5):
        later = Delivery.objects.filter(due_at__gt=timezone.now()).values_list("pk", flat=True)
        held = list(later)
        Delivery.objects.filter(pk__in=held).update(due_at=None)
        work_off()


def settled(cast: Cast) -> None:
    """Check that the cast learnt all that was delivered about its run."""
    outcomes = set(Delivery.objects.values_list("outcome", flat=True))
    assert outcomes <= {Outcome.APPLIED, Outcome.NOTHING_NEW}, list(Delivery.objects.values("action", "outcome"))
    assert again(cast).run_key == "42"


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations_with_replacement(KINDS, 2)])
def test_two_messages_of_a_new_run_at_once_are_both_applied(
    make_cast: Callable[..., Cast], one: str, other: str
) -> None:
    for _ in range(3):
        Delivery.objects.all().delete()
        Cast.objects.filter(run_key=42).update(run_key=None, status="failed", finished_at=timezone.now(), due_at=None)
        cast = make_cast()
        at_once(*(partial(deliver, *body_of(cast, kind)) for kind in (one, other)))
        if one.startswith("job") and other.startswith("job"):
            assert set(Delivery.objects.values_list("outcome", flat=True)) == {Outcome.PENDING}  # no title, no cast
            binding.bind_run(cast.pk, cast.run_scope, "42", "")
        work_off_what_is_due()
        settled(cast)


@pytest.mark.parametrize("kind", KINDS)
def test_message_that_comes_in_the_moment_of_the_answer_is_applied(make_cast: Callable[..., Cast], kind: str) -> None:
    for _ in range(5):
        Delivery.objects.all().delete()
        Cast.objects.filter(run_key=42).update(run_key=None, status="failed", finished_at=timezone.now(), due_at=None)
        cast = make_cast(dispatched_at=None)
        held = Cast.objects.get(pk=cast.pk)
        Cast.due_rows().filter(pk=cast.pk).update(due_at=timezone.now())
        at_once(
            partial(deliver, *body_of(cast, kind)),
            partial(dispatching.dispatched, held, Run("42", "")),
        )
        work_off_what_is_due()
        settled(cast)


def test_the_race_that_lost_a_runs_end_is_won(make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two deliveries waits for the cast's row, finds it bound, and must ask whose run it is."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one transaction write at a time")
    cast, inside, go_on = make_cast(), threading.Event(), threading.Event()
    real = binding.bind_run

    def slow(*args: Any, **kwargs: Any) -> bool:
        bound = real(*args, **kwargs)
        if not inside.is_set():
            inside.set()
            go_on.wait(10)
        return bound

    monkeypatch.setattr(binding, "bind_run", slow)

    def second() -> None:
        assert inside.wait(10)
        threading.Timer(0.3, go_on.set).start()
        deliver(*body_of(cast, "run completed"))

    at_once(lambda: deliver(*body_of(cast, "run requested")), second)
    assert again(cast).run_finished_at is not None
    settled(cast)


@pytest.mark.parametrize("stored_before", [True, False], ids=["tried by a worker", "on arrival"])
@pytest.mark.parametrize(
    ("kind", "title", "judged"),
    [("job completed", None, Outcome.PENDING), ("run completed", "no token", Outcome.NOT_OURS)],
)
def test_run_that_finds_its_cast_while_its_message_is_judged_is_not_lost(
    make_cast: Callable[..., Cast],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    title: str | None,
    judged: Outcome,
    stored_before: bool,
) -> None:
    """The answer names the run after the message was judged and before that is committed."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one transaction write at a time")
    cast = make_cast(dispatched_at=None, spell={"tags_runs": title is not None})
    event, body = body_of(cast, kind)
    if title:
        body["workflow_run"]["display_title"] = title
    if stored_before:
        deliver(event, body)
        Delivery.objects.update(outcome=Outcome.PENDING, due_at=timezone.now())
    real = HANDLERS[event]

    def meanwhile(payload: dict[str, Any]) -> Outcome:
        outcome = real(payload)
        if outcome == judged:
            at_once(partial(binding.bind_run, cast.pk, cast.run_scope, "42", ""))
        return outcome

    monkeypatch.setitem(HANDLERS, event, meanwhile)
    if stored_before:
        work_off()
    else:
        deliver(event, body)
    monkeypatch.setitem(HANDLERS, event, real)
    work_off_what_is_due()
    settled(cast)


def test_who_wakes_messages_of_one_run_and_who_locks_them_do_not_wait_for_each_other_for_ever(
    make_cast: Callable[..., Cast], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that the first has not locked turns late while it is at work, and the other locks it."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one transaction write at a time")
    cast = make_cast()
    for number in (1, 2):
        deliver("workflow_job", job_event(cast, "queued", run_id=77, number=number))
    first = Delivery.objects.earliest("pk")
    Delivery.objects.update(outcome=Outcome.NOT_OURS)
    Delivery.objects.filter(pk=first.pk).update(outcome=Outcome.APPLIED)
    keys, wake, others = list(Delivery.objects.values_list("pk", flat=True)), DueQuerySet.wake, list[threading.Thread]()

    def lock_both() -> None:
        with transaction.atomic():
            Delivery.due_rows().locked(keys)

    def slow_wake(rows: Any, **which: Any) -> int:
        if not others:
            at_once(partial(Delivery.objects.filter(pk=first.pk).update, outcome=Outcome.NOT_OURS))
            others.append(threading.Thread(target=at_once, args=(lock_both,)))
            others[0].start()
            until(one_waits_for_a_lock)
        return wake(rows, **which)

    monkeypatch.setattr(DueQuerySet, "wake", slow_wake)
    inbox.run_known(cast.run_scope, "77")
    others[0].join(30)
    assert Delivery.objects.latest("pk").outcome == Outcome.PENDING


def one_waits_for_a_lock() -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    found: list[object] = []

    def look() -> None:  # in a transaction of its own: in ours the view would not change
        with connection.cursor() as cursor:
            cursor.execute(waiting)
            found.extend(cursor.fetchall())

    at_once(look)
    return bool(found)
