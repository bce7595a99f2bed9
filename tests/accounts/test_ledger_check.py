"""Workers compare counters with the ledger by themselves, some at a time, and tell what differs."""

import uuid

import pytest
from django.utils import timezone

from accounts import budget, credit
from accounts.metrics import ledger
from accounts.models import BudgetPeriod
from accounts.proof import work
from accounts.proof.attention import ledger as attention
from accounts.proof.models import LedgerCheck
from core.admin.attention import Everything

pytestmark = pytest.mark.django_db


def told():
    """Do a whole round; return how many cents differ, and how many counters."""
    work.ensure()
    for _ in range(20):
        LedgerCheck.objects.update(due_at=timezone.now())
        (row,) = work.LedgerCheckWork().rows().claim(limit=1, lease=work.EVERY)
        again = work.LedgerCheckWork().step(row)
        row.give_back(again)
        assert again is not None
        if again > timezone.now() + work.REST * 2:
            break
    found = {sample.of.name: sample.value for sample in ledger()}
    return found["spell_ledger_difference_cents"], found["spell_ledger_counters_differing"]


def section():
    found = attention(Everything())
    assert found is not None
    return found


@pytest.mark.parametrize("at_once", [1, 20])
def test_each_kind_of_counter_is_compared(account, monkeypatch, at_once):
    monkeypatch.setattr(work, "AT_ONCE", at_once)
    monkeypatch.setattr(work, "STEP_SECONDS", 60.0)
    first, second, third = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    credit.begin_billing(account)
    credit.book(account.pk, "grant", 100, "grant:1")
    account.refresh_from_db()
    for cast, cents in ((first, 5), (second, 7), (third, 11)):
        budget.hold(account, cast_id=cast, cents=cents, at=timezone.now(), api_key_id="k", spell_key="s")
    budget.settle(first, capture_cents=3)
    budget.settle(second, capture_cents=0)
    month = BudgetPeriod.objects.get(scope="account").month
    BudgetPeriod.objects.create(account=account, month=month, scope="key", ref="k", held_cents=11, captured_cents=3)
    BudgetPeriod.objects.create(account=account, month=month, scope="spell", ref="s", held_cents=11, captured_cents=3)
    assert told() == (0, 0)
    assert section().troubles == ()
    for counted, (scope, column) in enumerate(
        [("account", "held_cents"), ("key", "captured_cents"), ("spell", "held_cents"), ("credit", "cap_cents")], 1
    ):
        one = BudgetPeriod.objects.get(scope=scope)
        BudgetPeriod.objects.filter(pk=one.pk).update(**{column: getattr(one, column) + 2})
        assert told() == (2 * counted, counted)
    (trouble,) = section().troubles
    assert trouble.count == 4


def test_a_round_is_done_in_steps_and_begins_anew(account, monkeypatch):
    monkeypatch.setattr(work, "STEP_SECONDS", -1.0)
    work.ensure()
    (row,) = work.LedgerCheckWork().rows().claim(limit=1, lease=work.EVERY)
    again = work.LedgerCheckWork().step(row)
    assert again is not None
    assert again <= timezone.now() + work.REST
    assert list(ledger()) == []  # nothing is told before a round has come to its end
