"""A disputed payment is taken from credit as the bank takes it, and comes back if the dispute is won."""

from __future__ import annotations

import uuid

import pytest

from accounts import budget
from accounts.errors import BudgetExceeded
from payments import autotopup, disputes, folding, subscriptions, topup_work, topups
from payments.client import client, errors
from payments.models import Dispute, Invoice, Subscription, TopUp
from tests.payments.metered import Both, captured
from tests.payments.paying import booked, fold_events, remaining, told, with_card

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(stripe, account):
    """A top-up of 2500 that succeeded; more is topped up when less than 100 are left."""
    customer = with_card(stripe, account)
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    autotopup.switch_on(customer, below_cents=100, cents=2500)
    return topup


def open_dispute(stripe, topup, **options):
    return stripe.local("POST", "disputes", {"payment_intent": topup.intent_id, "reason": "fraudulent"} | options)


def close(stripe, dispute, status):
    stripe.local("POST", f"disputes/{dispute['id']}", {"status": status})


@pytest.mark.parametrize(
    ("amount", "outcome", "left"),
    [(2500, "won", 2500), (2500, "lost", 0), (1000, "won", 2500), (1000, "lost", 1500)],
)
def test_a_dispute_takes_its_amount_and_gives_it_back_when_won(stripe, account, paid, amount, outcome, left):
    dispute = open_dispute(stripe, paid, amount=amount)
    fold_events(stripe)
    assert remaining(account) == 2500 - amount
    [event] = told(account, "dispute.opened")
    assert (event["cents"], event["topup_id"], event["reason"]) == (amount, str(paid.pk), "fraudulent")
    customer = paid.customer
    customer.refresh_from_db()
    assert (autotopup.is_on(customer), TopUp.objects.count()) == (False, 1)
    close(stripe, dispute, outcome)
    fold_events(stripe)
    fold_events(stripe, order=list)
    assert remaining(account) == left
    assert (Dispute.objects.get().status, Dispute.objects.get().closed_at is None) == (outcome, False)
    assert len(told(account, "dispute.opened")) == 1


@pytest.mark.parametrize(("withdrawn", "left"), [(True, 0), (False, 2500)])
def test_a_dispute_that_was_prevented_takes_what_the_cardholder_got(stripe, account, paid, withdrawn, left):
    """The local Stripe prevents none."""
    with errors():
        found = client().v1.disputes.retrieve(open_dispute(stripe, paid)["id"])
    assert found.balance_transactions[0].amount < 0
    found.update({"status": "prevented"} | ({} if withdrawn else {"balance_transactions": []}))
    disputes.fold_dispute(found)
    disputes.fold_dispute(found)
    assert remaining(account) == left
    assert Dispute.objects.get().closed_at is not None


def test_a_dispute_of_what_is_held_ends_nothing_and_refuses_what_comes(stripe, account, paid):
    account.refresh_from_db()
    cast = uuid.uuid4()
    budget.hold(account, cast_id=cast, cents=2000)
    open_dispute(stripe, paid)
    fold_events(stripe)
    assert remaining(account) == -2000
    with pytest.raises(BudgetExceeded):
        budget.hold(account, cast_id=uuid.uuid4(), cents=1)
    budget.settle(cast, capture_cents=500)
    assert remaining(account) == -500


def test_a_bank_that_only_asks_takes_nothing_until_it_objects(stripe, account, paid):
    dispute = open_dispute(stripe, paid, inquiry=True)
    fold_events(stripe)
    assert (remaining(account), told(account, "dispute.")) == (2500, [])
    assert Dispute.objects.get().status == "warning_needs_response"
    disputes.fold_dispute(dispute | {"status": "needs_response"})
    disputes.fold_dispute(dispute)  # as it was, read before and folded after
    assert remaining(account) == 0
    assert len(told(account, "dispute.")) == 1
    assert Dispute.objects.get().status == "needs_response"


def test_a_dispute_that_is_heard_of_before_its_payment_books_both(stripe, account):
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    stripe.faults(api={"reset_after": 1, "times": 1, "paths": "/v1/payment_intents$", "methods": ["POST"]})
    topup_work.advance(topup)
    [intent] = stripe.objects("payment_intent")
    topup.intent_id = intent["id"]
    open_dispute(stripe, topup)
    fold_events(stripe, order=lambda events: [one for one in events if one["data"]["object"]["object"] == "dispute"])
    assert booked(account) == [("topup", 2500), ("dispute", -2500)]


def test_a_dispute_of_somebody_else_s_payment_is_nobody_s(stripe, account, paid):
    theirs = stripe.client().v1.payment_intents.create(
        {
            "amount": 900,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "return_url": "http://testserver/",
        }
    )
    open_dispute(stripe, TopUp(intent_id=theirs.id))
    fold_events(stripe)
    assert booked(account) == [("topup", 2500)]
    assert not Dispute.objects.exists()


@pytest.mark.parametrize(
    ("amount", "outcome", "left"), [(3000, "won", 10_000), (3000, "lost", 7000), (1000, "lost", 9000)]
)
def test_a_dispute_of_a_paid_invoice_takes_what_was_credited_of_it(stripe, sold, clock, account, amount, outcome, left):
    """Else a metered account could cast, pay and have its bank take the money back, month after month."""
    both = Both(sold, clock, with_card(stripe, account))
    subscriptions.set_mode(both.customer, "metered", 10_000, by="Ridcully")
    both.work()
    account.refresh_from_db()
    both.customer.refresh_from_db()
    captured(both.customer, 3000)
    both.rounds_of_hours(3)
    stripe.close_period(Subscription.objects.get().stripe_id)
    [payment] = stripe.objects("payment_intent")
    dispute = stripe.dispute(payment["id"], amount=amount)
    # It may be the first that is learnt of the payment.
    assert folding.fold("dispute", dispute["id"])
    assert remaining(account) == 10_000 - amount
    [event] = told(account, "dispute.opened")
    assert event["invoice_id"] == Invoice.objects.get().pk
    stripe.decide(dispute["id"], outcome)
    fold_events(stripe)
    fold_events(stripe, order=list)
    assert remaining(account) == left
