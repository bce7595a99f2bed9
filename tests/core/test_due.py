"""The queue without a queue: claims, leases, fencing and wake-ups, on casts; every due row is alike."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import pytest
from django.db import connections
from django.utils import timezone

from casts.lifecycle import dispatching, ending, waking
from casts.models import Artifact, Cast, CastStatus
from tests.casts.conftest import LEASE, claim
from tests.casts.lifecycle.test_moves import together
from webhooks.models import Delivery


def rows():
    return Cast.due_rows()


def take(limit=10):
    return rows().claim(limit=limit, lease=LEASE)


def test_due_rows_are_taken_oldest_first_and_as_many_as_asked_for(make_cast, clock):
    casts = []
    for _ in range(4):
        clock.forward(seconds=1)
        casts.append(make_cast())
    assert {row.pk for row in take(3)} == {c.pk for c in casts[:3]}
    assert [row.pk for row in take(3)] == [casts[3].pk]
    assert take(3) == []


def test_what_has_just_become_due_can_be_taken_before_a_long_line(make_cast, clock):
    casts = []
    for _ in range(3):
        clock.forward(seconds=1)
        casts.append(make_cast())
    assert [row.pk for row in rows().claim(limit=1, lease=LEASE, newest=True)] == [casts[2].pk]
    assert [row.pk for row in take(1)] == [casts[0].pk]


def test_a_row_is_not_taken_before_its_time_nor_without_one(cast, clock):
    Cast.objects.update(due_at=clock.now + dt.timedelta(seconds=1))
    assert take() == []
    assert rows().seconds_until_due() == pytest.approx(1, abs=0.01)
    clock.forward(seconds=1)
    assert len(take()) == 1
    Cast.objects.update(due_at=None, lease_until=None)
    assert take() == []
    assert rows().seconds_until_due() is None


def test_a_claim_leases_counts_and_numbers(cast, clock):
    [row] = take()
    assert (row.lease_until, row.due_at) == (clock.now + LEASE, None)
    assert (row.attempts, row.claim_number) == (cast.attempts + 1, cast.claim_number + 1)
    assert row.mine().exists()
    assert rows().seconds_until_due() is None


def test_a_row_given_back_is_due_when_its_holder_said(cast, clock):
    [row] = take()
    assert row.give_back(clock.now + dt.timedelta(seconds=5))
    assert not row.mine().exists()
    assert take() == []
    clock.forward(seconds=5)
    assert len(take()) == 1


def test_a_row_given_back_for_nothing_waits_to_be_woken(cast, clock):
    [row] = take()
    assert row.give_back(None)
    clock.forward(days=9)
    assert take() == []
    rows().wake(pk=cast.pk)
    assert len(take()) == 1


@pytest.mark.parametrize("again", [None, 3600])
def test_a_wake_up_during_a_lease_is_not_lost(cast, clock, again):
    [row] = take()
    waking.wake(cast.pk)
    assert take() == []  # still held
    row.give_back(again and clock.now + dt.timedelta(seconds=again))
    assert len(take()) == 1


def test_a_holder_that_comes_back_earlier_than_the_wake_up_does(cast, clock):
    [row] = take()
    rows().filter(pk=cast.pk).update(due_at=clock.now + dt.timedelta(hours=1))
    row.give_back(clock.now + dt.timedelta(seconds=1))
    assert rows().seconds_until_due() == pytest.approx(1, abs=0.01)


def test_a_wake_up_never_makes_a_row_later(cast, clock):
    before = Cast.objects.get().due_at
    clock.forward(hours=1)
    rows().wake(pk=cast.pk)
    assert Cast.objects.get().due_at == before


def test_a_dead_holders_row_is_due_again_and_his_token_is_worth_nothing(cast, clock):
    [dead] = take()
    assert rows().recover() == 0
    clock.forward(seconds=LEASE.total_seconds())
    assert rows().recover() == 1
    assert not dead.mine().exists()
    [living] = take()
    assert living.claim_number > dead.claim_number
    for write in (
        lambda: dead.extend(LEASE),
        lambda: dead.give_back(clock.now),
        lambda: dead.give_back(None),
        lambda: dispatching.intend_dispatch(dead) is not dispatching.Intent.LOST,
        lambda: ending.request_cancel(dead, reason="x"),
        lambda: ending.end(dead, CastStatus.FAILED, reason="x", message="x", charge=True),
    ):
        before = Cast.objects.values().get()
        assert not write()
        assert Cast.objects.values().get() == before
    for write in (
        lambda: dispatching.take_back_intent(dead, tried=False),
        lambda: dispatching.wait_for(dead, reason="x", message="x"),
        lambda: dispatching.dispatched(dead, None),
        lambda: ending.note_cancel_asked(dead, forced=True),
    ):
        before = Cast.objects.values().get()
        write()
        assert Cast.objects.values().get() == before
    assert living.extend(LEASE)


def test_a_stale_holder_is_stopped_also_when_nobody_has_taken_over_yet(cast, clock):
    [row] = take()
    clock.forward(seconds=LEASE.total_seconds())
    rows().recover()
    assert not row.give_back(None)
    assert len(take()) == 1


def test_a_lease_that_is_extended_is_not_recovered(cast, clock):
    [row] = take()
    for _ in range(5):
        clock.forward(seconds=20)
        assert row.extend(LEASE)
        assert rows().recover() == 0
    assert row.give_back(None)


def test_a_claim_is_on_one_row_and_on_no_other_with_the_same_number(make_cast, clock):
    make_cast(), make_cast()
    one, other = take()
    assert one.claim_number == other.claim_number
    assert one.give_back(None)
    other.refresh_from_db()
    assert other.lease_until is not None
    assert one.mine().count() == 0
    assert other.mine().count() == 1


def test_microseconds_and_whole_seconds_are_compared_alike(cast, clock):
    """SQLite compares times as text; `…:05` and `…:05.000001` must still stand in order."""
    whole = clock.now.replace(microsecond=0)
    clock.now = whole + dt.timedelta(microseconds=1)
    Cast.objects.update(due_at=whole)
    assert len(take()) == 1
    Cast.objects.update(lease_until=None, due_at=clock.now)
    clock.now = whole
    assert take() == []


def test_every_kind_of_due_row_has_its_indexes():
    for model in (Cast, Artifact, Delivery):
        names = {index.name for index in model._meta.indexes}
        assert any(name.endswith("_due") for name in names), model
        assert any(name.endswith("_leased") for name in names), model


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_once_never_hold_one_row_twice(make_cast):
    casts = {make_cast().pk for _ in range(30)}
    held: list[uuid.UUID] = []
    lock = threading.Lock()

    def work(_):
        while True:
            taken = take(4)
            with lock:
                held.extend(row.pk for row in taken)
            if not taken and rows().seconds_until_due() is None:
                return

    outcomes = together(6, work)
    assert outcomes == [None] * 6, outcomes
    assert sorted(held) == sorted(casts)


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_and_a_return_at_one_moment_leave_the_row_due(cast):
    for _ in range(15):
        row = claim(cast)
        outcomes = together(2, lambda i: rows().wake(pk=cast.pk) if i else row.give_back(None))  # noqa: B023
        assert not [o for o in outcomes if isinstance(o, Exception)], outcomes
        found = Cast.objects.get(pk=cast.pk)
        assert found.lease_until is None
        assert found.due_at is not None
        assert found.due_at <= timezone.now()
    connections.close_all()


# --- what operators ask for ------------------------------------------------------------------------------------------


def test_rows_that_nobody_takes_are_told_from_rows_that_somebody_holds(make_cast, clock):
    late, held, dead, later = (make_cast() for _ in range(4))
    for cast, columns in (
        (late, {"due_at": clock.now - dt.timedelta(minutes=3)}),
        (held, {"due_at": None, "lease_until": clock.now + LEASE}),
        (dead, {"due_at": None, "lease_until": clock.now - dt.timedelta(minutes=3)}),
        (later, {"due_at": clock.now}),
    ):
        Cast.objects.filter(pk=cast.pk).update(**columns)
    found = rows().unclaimed(since=clock.now - dt.timedelta(minutes=2))
    assert {row.pk for row in found} == {late.pk, dead.pk}


def test_many_are_woken_at_once_but_for_those_that_have_ended(make_cast, clock):
    casts = [make_cast() for _ in range(5)]
    Cast.objects.update(due_at=clock.now + dt.timedelta(hours=1))
    ending.cancel(casts[0].pk)
    held = claim(casts[1])
    assert len(waking.wake_all([cast.pk for cast in casts])) == 4
    assert waking.wake_all([]) == []
    assert {row.pk for row in take()} == {cast.pk for cast in casts[2:]}
    assert held.give_back(clock.now + dt.timedelta(hours=1))  # its claim held all the while
    assert [row.pk for row in take()] == [held.pk]


@pytest.mark.django_db(transaction=True)
def test_two_who_wake_many_at_once_do_not_wait_for_each_other(make_cast):
    keys = [make_cast().pk for _ in range(30)]
    assert together(4, lambda i: len(waking.wake_all(keys[::-1] if i % 2 else keys))) == [30] * 4


def test_a_claim_that_is_kept_lasts_for_a_whole_lease(cast, clock):
    [row] = take()
    clock.forward(seconds=20)
    Cast.due_rows().wake(pk=cast.pk)
    kept = row.rest(None, lease=LEASE)
    assert kept is not None
    assert kept.lease_until == clock.now + LEASE
