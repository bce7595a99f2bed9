"""Money goes back to the card, and credit with it; if that fails, the credit comes back."""

from __future__ import annotations

import uuid

import pytest

from accounts import budget
from payments import autotopup, refunds, topup_work, topups
from payments.errors import RefundRefused
from payments.models import Refund, TopUp
from tests.payments.paying import Killed, booked, die, fold_events, later, remaining, with_card, work
from tests.together import together

pytestmark = pytest.mark.django_db
State = Refund.State


@pytest.fixture
def paid(stripe, account):
    """A top-up of 2500 that succeeded."""
    return topup_work.advance(topups.begin(with_card(stripe, account), 2500, by="bursar"))


def refund(paid, cents, **options):
    return refunds.begin(paid, cents, **{"reason": "asked by mail", "by": "operator"} | options)


def test_a_part_is_refunded_and_then_the_rest_and_no_more(stripe, account, paid):
    refund(paid, 1000)
    assert remaining(account) == 1500  # at once: it can't be spent meanwhile
    work(Refund)
    with pytest.raises(RefundRefused) as refused:
        refund(paid, 1501)
    assert refused.value.extra == {"refundable_cents": 1500}
    refund(paid, 1500)
    work(Refund)
    fold_events(stripe)
    paid.refresh_from_db()
    assert (paid.refunded_cents, remaining(account)) == (2500, 0)
    assert booked(account) == [("topup", 2500), ("refund", -1000), ("refund", -1500)]
    assert {row.state for row in Refund.objects.all()} == {State.SUCCEEDED}
    assert [one["amount"] for one in stripe.objects("refund")] == [1500, 1000]


def test_what_was_spent_is_refunded_only_deliberately_and_nothing_is_left_of_a_refusal(stripe, account, paid):
    account.refresh_from_db()
    budget.hold(account, cast_id=uuid.uuid4(), cents=2000)
    with pytest.raises(RefundRefused) as refused:
        refund(paid, 600)
    assert refused.value.extra == {"unspent_cents": 500}
    paid.refresh_from_db()
    assert (Refund.objects.count(), paid.refunded_cents, remaining(account)) == (0, 0, 500)
    refund(paid, 600, spent_too=True)
    assert remaining(account) == -100
    for bad in ({"cents": 0}, {"cents": -5}, {"cents": 1, "reason": " "}):
        with pytest.raises(RefundRefused):
            refund(paid, bad.pop("cents"), **bad)


def test_a_refund_that_fails_days_later_gives_the_credit_back(stripe, account, paid):
    stripe.faults(cards={"refunds": "failed"})
    row = refund(paid, 1000)
    work(Refund)
    row.refresh_from_db()
    assert (row.state, remaining(account)) == (State.PENDING, 1500)
    stripe.advance(60)
    later(Refund)
    work(Refund)
    fold_events(stripe)
    row.refresh_from_db()
    paid.refresh_from_db()
    assert (row.state, remaining(account), paid.refunded_cents) == (State.FAILED, 2500, 0)
    assert row.message
    assert booked(account) == [("topup", 2500), ("refund", -1000), ("refund", 1000)]


def test_what_stripe_refuses_gives_the_credit_back(stripe, account, paid):
    stripe.client().v1.refunds.create({"payment_intent": paid.intent_id, "amount": 2000})
    row = refund(paid, 1000)
    work(Refund)
    row.refresh_from_db()
    assert (row.state, remaining(account)) == (State.FAILED, 2500)
    assert "greater than unrefunded" in row.message
    fold_events(stripe)
    assert remaining(account) == 500


@pytest.mark.parametrize("told_by", ["refund", "charge"])
def test_a_refund_made_by_hand_at_stripe_takes_its_credit_once(stripe, account, paid, told_by):
    autotopup.switch_on(paid.customer, below_cents=0, cents=1000)
    stripe.client().v1.refunds.create({"payment_intent": paid.intent_id, "amount": 700})
    if told_by == "charge":
        assert topups.fold_facts(topups.look_up(paid.intent_id))
    fold_events(stripe)
    fold_events(stripe, order=list)
    [row] = Refund.objects.all()
    paid.refresh_from_db()
    assert (row.by, row.cents, row.state, paid.refunded_cents) == ("at Stripe", 700, State.SUCCEEDED, 700)
    assert remaining(account) == 1800
    assert not autotopup.is_on(row.topup.customer)  # what was given back is not charged again at once


@pytest.mark.parametrize("killed", ["before the call", "after the call", "answer lost"])
def test_whatever_happens_around_the_call_one_refund_is_made(stripe, account, paid, monkeypatch, killed):
    row = refund(paid, 1000)
    if killed == "answer lost":
        stripe.faults(api={"reset_after": 1, "times": 1, "paths": "/v1/refunds$", "methods": ["POST"]})
        refunds.RefundWork().step(row)
    else:
        with monkeypatch.context() as patched:
            before = killed == "before the call"
            patched.setattr("payments.client.client" if before else "payments.refunds.fold_refund", die)
            with pytest.raises(Killed):
                refunds.RefundWork().step(row)
    later(Refund)
    work(Refund)
    row.refresh_from_db()
    assert row.state == State.SUCCEEDED
    assert len(stripe.objects("refund")) == 1
    assert remaining(account) == 1500


@pytest.mark.django_db(transaction=True)
def test_operators_at_once_refund_no_more_than_was_paid(stripe, account, paid):
    results = together([lambda: refund(paid, 1000)] * 4)
    assert sum(isinstance(result, Refund) for result in results) == 2
    assert remaining(account) == 500
    together([lambda: work(Refund)] * 2)
    paid.refresh_from_db()
    assert paid.refunded_cents == 2000 == sum(one["amount"] for one in stripe.objects("refund"))
    assert TopUp.objects.count() == 1
