"""Whose turn it is at GitHub, shared by accounts and processes."""

from __future__ import annotations

import datetime as dt
import heapq
import random
import threading
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from django.utils import timezone

from accounts.models import Account
from casts.runtime import NotNow, Turn
from github_integration import turns
from github_integration.models import AccountTurns, Installation
from github_integration.quota import known

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _usual_limit(settings: Any) -> None:
    settings.GITHUB_POINTS_PER_MINUTE = 900


def row() -> Installation:
    return Installation.objects.get(pk=1)


class Clock:
    """The time that `turns` reads: real until a test sets it."""

    def __init__(self) -> None:
        self.at: dt.datetime | None = None

    def now(self) -> dt.datetime:
        return self.at or timezone.now()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "timezone", made)
    return made


@dataclass
class Waiting:
    """One cast on its way to its start; times in seconds."""

    account: Account
    came: float
    place: dt.datetime | None = None
    asked: int = 0
    started: float = 0.0


def start_all(clock: Clock, waiting: list[Waiting], *, lateness: float = 0.0) -> list[Waiting]:
    """Have casts ask as workers do, up to `lateness` too late, until all have started; return them in that order."""
    begin, chance = timezone.now(), random.Random(1)
    asking = [(one.came, number, one) for number, one in enumerate(waiting)]
    heapq.heapify(asking)
    while asking:
        at, number, one = heapq.heappop(asking)
        clock.at = begin + dt.timedelta(seconds=at)
        turn, in_line = turns.book(1, one.account.pk, place=one.place)
        one.asked, one.place = one.asked + 1, turn.place
        if in_line and turn.place is None:
            one.started = (turn.at - begin).total_seconds()
        else:
            again = (turn.at - begin).total_seconds()
            assert again >= at
            heapq.heappush(asking, (again + chance.uniform(0, lateness), number, one))
    return sorted(waiting, key=lambda one: one.started)


def in_each_minute(started: list[Waiting]) -> list[int]:
    counts = Counter(int(one.started // 60) for one in started)
    return [counts[minute] for minute in range(max(counts) + 1)]


@pytest.mark.once  # hundreds of steps of the same arithmetic; one of each kind runs on both
def test_a_few_dispatches_go_at_once_and_the_others_as_fast_as_github_permits(account: Account, clock: Clock) -> None:
    started = start_all(clock, [Waiting(account, 0.0) for _ in range(400)], lateness=0.2)
    assert started[turns.DISPATCH_BURST - 1].started < 1
    minutes = in_each_minute(started)
    assert minutes[0] <= 120 + turns.DISPATCH_BURST + 1
    assert minutes[1:-1] == pytest.approx([120] * (len(minutes) - 2), abs=1)  # 600 of the 900 points
    assert started[-1].started == pytest.approx((400 - 20) / 2, abs=2)
    assert max(one.asked for one in started) <= 5


@pytest.mark.once
def test_who_casts_once_does_not_wait_for_an_account_with_a_long_line(account: Account, clock: Clock) -> None:
    others = [Account.objects.create(name=f"account {number}") for number in range(3)]
    crowd = [Waiting(account, 0.0) for _ in range(150)]
    second = [Waiting(others[0], 10.0) for _ in range(40)]
    single = [Waiting(others[1], 20.0), Waiting(others[2], 20.0), Waiting(others[1], 40.0)]
    started = start_all(clock, [*crowd, *second, *single], lateness=0.2)
    for one in single:
        assert one.started - one.came <= 2.5  # a turn of each of the other three
    # In total exactly what GitHub allows, and between two who both have a line one by turns.
    assert started[-1].started == pytest.approx((len(started) - 20) / 2, abs=2)
    both = [one.account for one in started if 15 < one.started < max(two.started for two in second)]
    assert both.count(others[0]) == pytest.approx(both.count(account), abs=3)
    # Within an account in the order in which they came, but for neighbours that ask too late, and with few questions.
    for line in (crowd, second):
        order = sorted(range(len(line)), key=lambda number: line[number].started)
        assert max(abs(number - place) for place, number in enumerate(order)) <= 2
    assert max(one.asked for one in started) <= 12


def test_a_line_is_an_hour_long_at_most(account: Account, clock: Clock) -> None:
    clock.at = clock.now()
    booked = [turns.book(1, account.pk) for _ in range(turns.DISPATCH_BURST + 3)]
    assert booked[-1].turn.place is not None
    at_the_end = clock.at + dt.timedelta(minutes=60)
    AccountTurns.objects.update(line_until=at_the_end)
    put_off = [turns.book(1, account.pk) for _ in range(3)]
    assert [one.in_line for one in put_off] == [False] * 3
    again = [(one.turn.at - clock.at).total_seconds() for one in put_off]
    assert again == pytest.approx([1800.02, 1800.04, 1800.06])
    assert AccountTurns.objects.get().line_until == at_the_end


def spent(account: Account, count: int) -> tuple[int, list[float]]:
    """Ask for so many GETs one by one; return how many were to be had, and when the others may ask again."""
    now, put_off = timezone.now(), list[NotNow]()
    for _ in range(count):
        try:
            turns.spend(1, account.pk)
        except NotNow as exc:
            put_off.append(exc)
    assert {one.reason for one in put_off} <= {""}
    return count - len(put_off), [(one.retry_at - now).total_seconds() for one in put_off if one.retry_at]


def hour(*, left: int, minutes: int = 30) -> Installation:
    """Have so many requests left of 5,000 for so many minutes."""
    installation = known(1)
    reset_at = timezone.now() + dt.timedelta(minutes=minutes)
    Installation.objects.filter(pk=1).update(rate_limit=5000, rate_remaining=left, rate_reset_at=reset_at)
    installation.refresh_from_db()
    return installation


def test_looks_are_not_spared_while_requests_are_plentiful(account: Account, clock: Clock) -> None:
    for left in (5000, 4200):
        between = turns.between_looks(hour(left=left, minutes=60), timezone.now())
        assert between == dt.timedelta(seconds=0.2)  # by points a minute alone
    clock.at = timezone.now()
    had, again = spent(account, 200)
    assert had >= turns.LOOK_BURST
    assert max(again) < 5


def test_looks_are_spared_as_requests_run_out_and_hardly_made_when_none_is_left() -> None:
    apart = []
    for left in (5000, 4200, 3000, 2000, 1600, 1500, 0):
        known = hour(left=left)
        assert known.rate_reset_at is not None
        now = known.rate_reset_at - dt.timedelta(minutes=30)
        apart.append(round(turns.between_looks(known, now).total_seconds(), 1))
    assert apart == [0.2, 0.2, 0.4, 2.6, 17.0, 1799.0, 1799.0]
    assert apart == sorted(apart)


def test_what_looks_spend_in_an_hour_leaves_room_for_what_cannot_wait() -> None:
    """However many want to look, three tenths of the hour's requests are left for dispatches and artifacts."""
    now, left, seconds = timezone.now(), 5000, 0.0
    known = Installation(id=1, rate_limit=5000, rate_reset_at=now + dt.timedelta(hours=1))
    while seconds < 3600:
        known.rate_remaining = left
        seconds += turns.between_looks(known, now + dt.timedelta(seconds=seconds)).total_seconds()
        left -= 1
    assert left >= 1500 - 1


@pytest.mark.once
def test_who_is_put_off_comes_back_one_after_the_other(account: Account, clock: Clock) -> None:
    clock.at = clock.now()
    _, again = spent(account, 1200)
    assert len(again) > 500
    assert again == sorted(again)
    assert all(later - before >= 0.019 for before, later in pairwise(again))


def test_what_was_spent_while_little_was_left_does_not_reach_beyond_the_hours_end(account: Account) -> None:
    hour(left=0, minutes=20)
    assert spent(account, 50)[0] <= 2
    reset_at = row().rate_reset_at
    Installation.objects.update(looks_booked_until=F("looks_booked_until") - dt.timedelta(minutes=20))
    hour(left=5000, minutes=60)
    booked_until = row().looks_booked_until
    assert booked_until is not None
    assert reset_at is not None
    assert booked_until <= reset_at
    assert spent(account, 50)[0] == 50


def test_limit_that_is_over_is_forgotten() -> None:
    known = hour(left=0, minutes=-1)
    assert turns.between_looks(known, timezone.now()) == turns.between_looks(Installation(id=1), timezone.now())


def test_no_limit_means_no_turns(account: Account, settings: Any) -> None:
    settings.GITHUB_POINTS_PER_MINUTE = 0
    booked = [turns.book(1, account.pk).turn for _ in range(500)]
    assert {turn.place for turn in booked} == {None}
    assert max(turn.at for turn in booked) <= timezone.now()
    assert spent(account, 500) == (500, [])
    assert not Installation.objects.exists()


def test_dispatches_and_looks_do_not_wait_for_each_other(account: Account) -> None:
    spent(account, 200)
    booked = [turns.book(1, account.pk).turn for _ in range(10)]
    assert {turn.place for turn in booked} == {None}


@pytest.mark.once
def test_who_looks_once_does_not_wait_for_an_account_that_looks_all_the_time(account: Account, clock: Clock) -> None:
    other = Account.objects.create(name="another")
    begin, had = timezone.now(), Counter[int]()
    due = [(0.0, number, account) for number in range(60)] + [(30.0, 1000, other)]
    heapq.heapify(due)
    while due:
        at, number, whose = heapq.heappop(due)
        if at > 60:
            break
        clock.at = begin + dt.timedelta(seconds=at)
        try:
            turns.spend(1, whose.pk, 2)
        except NotNow as exc:
            again = exc.retry_at or begin
            heapq.heappush(due, ((again - begin).total_seconds(), number, whose))
        else:
            had[whose.pk] += 1
            if whose == other:
                assert at - 30.0 < 2
            else:
                heapq.heappush(due, (at + 3.0, number, whose))
    assert had[other.pk] == 1
    # And not one more than GitHub allows: 300 points a minute, and what may be spent at once.
    assert sum(had.values()) * 2 == pytest.approx(300 + turns.LOOK_BURST, abs=6)


@pytest.mark.django_db(transaction=True)
def test_no_two_processes_start_at_the_same_time() -> None:
    known(1)
    Installation.objects.update(dispatches_booked_until=timezone.now() + dt.timedelta(seconds=60))
    accounts = [Account.objects.create(name=f"account {number}") for number in range(10)]
    booked: list[tuple[int, Turn]] = []

    def work() -> None:
        booked.extend((account.pk, turns.book(1, account.pk).turn) for account in accounts)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts = sorted(turn.at for _, turn in booked if turn.place is None)
    assert len(starts) == 10  # one of each account
    apart = [(b - a).total_seconds() for a, b in pairwise(starts)]
    assert apart == pytest.approx([0.5] * 9, abs=0.001)
    assert len({(account, turn.place) for account, turn in booked if turn.place is not None}) == len(booked) - 10
