"""Money: holds, captures and releases, and the cap that nothing passes."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import pytest
from django.db import IntegrityError, connections, transaction
from django.db.models import Sum
from django.utils import timezone

from accounts import budget
from accounts.errors import BudgetExceeded
from accounts.models import Account, BudgetPeriod, LedgerEntry, month_of


def hold(account, cents, cast_id=None):
    with transaction.atomic():
        return budget.hold(account, cast_id=cast_id or uuid.uuid4(), cents=cents)


def counters(account):
    period = budget.current(account)
    return period.held_cents, period.captured_cents


def test_a_hold_reserves_a_capture_takes_and_a_release_gives_back(account):
    kept, given_back = hold(account, 30), hold(account, 12)
    assert counters(account) == (42, 0)
    assert budget.current(account).remaining_cents == 9_958
    budget.settle(kept.cast_id, capture_cents=None)
    assert counters(account) == (12, 30)
    budget.settle(given_back.cast_id, capture_cents=0)
    assert counters(account) == (0, 30)
    assert budget.current(account).remaining_cents == 9_970
    moves = LedgerEntry.objects.order_by("id").values_list("kind", "cents", "cast_id")
    assert list(moves) == [
        ("hold", 30, kept.cast_id),
        ("hold", 12, given_back.cast_id),
        ("capture", 30, kept.cast_id),
        ("release", 12, given_back.cast_id),
    ]


def test_a_cast_is_settled_once(account):
    held = hold(account, 5)
    budget.settle(held.cast_id, capture_cents=0)
    for again in (None, 0):
        with pytest.raises(IntegrityError), transaction.atomic():
            budget.settle(held.cast_id, capture_cents=again)
    assert counters(account) == (0, 0)


def test_a_cast_is_held_once(account):
    held = hold(account, 5)
    with pytest.raises(IntegrityError):
        hold(account, 5, held.cast_id)
    assert counters(account) == (5, 0)


def test_what_was_never_held_is_not_settled(account):
    with pytest.raises(LedgerEntry.DoesNotExist):
        budget.settle(uuid.uuid4(), capture_cents=None)
    assert not LedgerEntry.objects.exists()


def test_the_cap_may_be_reached_and_not_passed(account):
    hold(account, 9_999)
    hold(account, 1)
    with pytest.raises(BudgetExceeded):
        hold(account, 1)
    assert counters(account) == (10_000, 0)


def test_captured_money_counts_against_the_cap(account):
    budget.settle(hold(account, 10_000).cast_id, capture_cents=None)
    with pytest.raises(BudgetExceeded):
        hold(account, 1)


def test_released_money_can_be_held_again(account):
    budget.settle(hold(account, 10_000).cast_id, capture_cents=0)
    hold(account, 10_000)
    assert counters(account) == (10_000, 0)


def test_no_cap_holds_anything(db):
    account = Account.objects.create(name="Patrician")
    hold(account, 10**15)
    assert budget.current(account).remaining_cents is None


@pytest.mark.parametrize("cents", [0, 1])
def test_a_cap_of_zero_holds_nothing_not_even_what_is_free(db, cents):
    account = Account.objects.create(name="Stranger", monthly_cap_cents=0)
    with pytest.raises(BudgetExceeded):
        hold(account, cents)
    assert not LedgerEntry.objects.exists()


def test_what_is_free_passes_under_a_cap_that_is_used_up(account):
    hold(account, 10_000)
    hold(account, 0)
    assert counters(account) == (10_000, 0)


def test_a_refusal_names_the_numbers_and_when_to_come_back(account):
    hold(account, 9_990)
    with pytest.raises(BudgetExceeded) as refused:
        hold(account, 20)
    numbers = {"cap_cents": 10_000, "held_cents": 9_990, "captured_cents": 0, "required_cents": 20}
    assert refused.value.extra.items() >= numbers.items()
    resets_at = dt.datetime.fromisoformat(refused.value.extra["resets_at"])
    wait = int(refused.value.headers["Retry-After"])
    assert abs(resets_at - timezone.now() - dt.timedelta(seconds=wait)) < dt.timedelta(seconds=5)
    assert "10 are left" in str(refused.value)


def test_what_a_whole_month_could_not_pay_is_not_told_to_come_back(account):
    with pytest.raises(BudgetExceeded) as refused:
        hold(account, 10_001)
    assert "Retry-After" not in refused.value.headers
    hold(account, 1)
    with pytest.raises(BudgetExceeded) as refused:
        hold(account, 10_000)  # just a whole month's
    assert "Retry-After" in refused.value.headers


def test_each_month_has_its_own_cap_and_a_hold_is_settled_in_its_own(account, monkeypatch):
    now = dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    december = hold(account, 10_000)
    now = now + dt.timedelta(seconds=1)
    assert budget.current(account).month == dt.date(2027, 1, 1)
    hold(account, 9_999)
    budget.settle(december.cast_id, capture_cents=None)
    periods = BudgetPeriod.objects.order_by("month").values_list("month", "held_cents", "captured_cents")
    assert list(periods) == [(dt.date(2026, 12, 1), 0, 10_000), (dt.date(2027, 1, 1), 9_999, 0)]


def test_months_are_those_of_utc():
    new_york = dt.timezone(dt.timedelta(hours=-5))
    assert month_of(dt.datetime(2026, 11, 30, 20, 0, tzinfo=new_york)) == dt.date(2026, 12, 1)
    assert month_of(dt.datetime(2026, 11, 30, 18, 59, tzinfo=new_york)) == dt.date(2026, 11, 1)


@pytest.mark.parametrize(("month", "reset"), [("2026-01", "2026-02"), ("2026-12", "2027-01"), ("2028-02", "2028-03")])
def test_a_month_ends_where_the_next_begins(month, reset):
    period = BudgetPeriod(month=dt.date.fromisoformat(f"{month}-01"))
    assert period.resets_at == dt.datetime.fromisoformat(f"{reset}-01T00:00:00Z")


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_on_the_last_cents_never_pass_the_cap():
    account = Account.objects.create(name="Narrow", monthly_cap_cents=35)
    together = threading.Barrier(20)
    outcomes = []

    def one():
        try:
            together.wait(10)
            hold(account, 5)
            outcomes.append("held")
        except BudgetExceeded:
            outcomes.append("refused")
        except Exception as exc:
            outcomes.append(repr(exc))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["held"] * 7 + ["refused"] * 13
    assert counters(account) == (35, 0)
    assert LedgerEntry.objects.aggregate(total=Sum("cents"))["total"] == 35
    assert BudgetPeriod.objects.count() == 1
