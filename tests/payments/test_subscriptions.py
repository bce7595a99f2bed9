"""Metered customers: from the operator's decision to the paid invoice, and back to prepaid."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import transaction

from accounts import budget, credit
from accounts.errors import BudgetExceeded
from accounts.models import Account, Credit
from payments.client import client, errors
from payments.folding import fold
from payments.invoices import fold_invoice, usage_cents
from payments.models import Customer, Invoice, MeterReport, Subscription
from payments.subscriptions import ModeRefused, SubscriptionWork, set_mode
from tests.payments.metered import HOUR, Both, Clock, captured, work_off
from tests.stripes import Stripe

pytestmark = pytest.mark.django_db


@pytest.fixture
def prepaid(sold: Stripe, clock: Clock) -> Both:
    """Return a customer without a card, who has topped up 100."""
    account = Account.objects.create(name="Moist")
    credit.begin_billing(account)
    credit.book(account.pk, "topup", 100, "pi_1")
    with errors():
        made = client().v1.customers.create({"name": "Moist", "email": "moist@example.com"})
    return Both(sold, clock, Customer.objects.create(account=account, stripe_id=made.id, email="moist@example.com"))


@pytest.fixture
def both(prepaid: Both) -> Both:
    """Return the same customer, metered with a limit of 1,000."""
    set_mode(prepaid.customer, "metered", 1000, by="Ridcully")
    prepaid.work()
    return prepaid


def remaining(both: Both) -> int:
    state = credit.state(both.customer.account)
    assert state is not None
    return state.remaining_cents


def own() -> Subscription:
    return Subscription.objects.latest("id")


def listed(both: Both) -> list[Any]:
    return both.stripe.objects("subscription")


def fold_all(both: Both) -> None:
    """Take over what there is at Stripe by now, as webhooks would have us do."""
    for one in both.stripe.objects("invoice"):
        fold("invoice", one["id"])
    for one in listed(both):
        fold("subscription", one["id"])


def pay(invoice: Invoice) -> None:
    with errors():
        client().v1.invoices.pay(invoice.pk, {"paid_out_of_band": True})
    assert fold("invoice", invoice.pk)


def test_from_the_limit_to_the_paid_invoice(prepaid):
    captured(prepaid.customer, 40)
    set_mode(prepaid.customer, "metered", 1000, by="Ridcully")
    assert remaining(prepaid) == 60, "the limit is granted when Stripe has the subscription"
    prepaid.work()
    [at_stripe] = listed(prepaid)
    assert (own().state, own().stripe_id, own().status) == ("active", at_stripe["id"], "active")
    assert (at_stripe["collection_method"], at_stripe["metadata"]["account"]) == (
        "send_invoice",
        str(own().customer_id),
    )
    assert remaining(prepaid) == 1060
    captured(prepaid.customer, 300)
    captured(prepaid.customer, 5)
    prepaid.later(HOUR)
    prepaid.work()
    prepaid.later(HOUR)
    prepaid.work()
    assert set(MeterReport.objects.values_list("state", flat=True)) == {"counted"}
    assert prepaid.total() == 305, "what was captured before was paid for with the top-up"
    prepaid.until_next_month()
    fold_all(prepaid)
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.usage_cents, invoice.total_cents) == ("open", 305, 305)
    assert (invoice.period_end.day, invoice.period_end.hour) == (1, 0), "calendar months, as the ledger's"
    assert remaining(prepaid) == 755
    pay(invoice)
    fold("invoice", invoice.pk)
    assert remaining(prepaid) == 1060
    assert Credit.objects.get(kind="paid").source == invoice.pk


def test_what_is_not_paid_stays_used_up_and_refuses_casts(both):
    captured(both.customer, 1100)
    with pytest.raises(BudgetExceeded) as refused, transaction.atomic():
        budget.hold(both.customer.account, cast_id=uuid.uuid4(), cents=1)
    assert refused.value.extra["scope"] == "credit"
    both.rounds_of_hours(2)
    both.until_next_month(days=20)  # it is overdue by now
    fold_all(both)
    with errors():
        client().v1.invoices.mark_uncollectible(Invoice.objects.get().pk)
    fold_all(both)
    assert (Invoice.objects.get().status, remaining(both)) == ("uncollectible", 0)
    pay(Invoice.objects.get())
    captured(both.customer, 1100)


def test_a_void_invoice_credits_nothing_and_an_older_state_changes_nothing(both):
    captured(both.customer, 70)
    both.rounds_of_hours(2)
    both.until_next_month()
    with errors():
        before = client().v1.invoices.list({}).data[0]
    fold_all(both)
    pay(Invoice.objects.get())
    assert fold_invoice(before)
    assert (Invoice.objects.get().status, remaining(both)) == ("paid", 1100)
    captured(both.customer, 80)
    both.rounds_of_hours(2)
    both.until_next_month()
    fold_all(both)
    second = Invoice.objects.get(status="open")
    with errors():
        client().v1.invoices.void_invoice(second.pk)
    fold_all(both)
    assert remaining(both) == 1020


def test_what_is_too_little_to_be_charged_is_paid_with_the_next_invoice(both):
    for cents, remains in ((30, 1100), (70, 1030)):
        captured(both.customer, cents)
        both.rounds_of_hours(2)
        both.until_next_month()
        fold_all(both)
        assert remaining(both) == remains
    invoice = Invoice.objects.get(status="open")
    with errors():
        assert client().v1.invoices.retrieve(invoice.pk).amount_due == 100
    pay(invoice)
    assert remaining(both) == 1100


def line(amount: int, product: str = "spell_platform_usage", taxes: Any = None) -> dict[str, Any]:
    pricing = {"price_details": {"product": product, "price": "price_1"}, "type": "price_details"}
    return {"object": "line_item", "amount": amount, "pricing": pricing if product else None, "taxes": taxes}


@pytest.mark.parametrize(
    ("currency", "lines", "cents"),
    [
        ("usd", [line(305)], 305),
        ("usd", [line(305), line(99, "support"), line(5, ""), line(12)], 317),
        ("usd", [line(119, taxes=[{"amount": 19, "tax_behavior": "inclusive"}])], 100),
        ("usd", [line(100, taxes=[{"amount": 19, "tax_behavior": "exclusive"}])], 100),
        ("eur", [line(305)], 0),
        ("usd", [line(-30)], 0),
        ("usd", [], 0),
    ],
)
def test_what_an_invoice_says_for_our_usage(currency, lines, cents):
    from stripe import Invoice as AtStripe

    listed = {"object": "list", "data": lines, "has_more": False}
    found = AtStripe.construct_from({"id": "in_1", "object": "invoice", "currency": currency, "lines": listed}, "k")
    assert usage_cents(found) == cents


def test_the_limit_changes_by_differences(both):
    for limit in (2500, 2500, 400, 1000):
        set_mode(both.customer, "metered", limit, by="Ridcully")
        assert remaining(both) == 100 + limit
    grants = Credit.objects.filter(kind="grant").order_by("id")
    assert [one.cents for one in grants] == [1000, 1500, -2100, 600]
    assert [one.source for one in grants] == [f"limit:{both.customer.pk}:{number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("change", "limit", "why"),
    [
        ({}, None, "needs a credit limit"),
        ({}, 0, "needs a credit limit"),
        ({"email": ""}, 100, "Save a card, or an e-mail address"),
        ({"deleted_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, 100, "was deleted at Stripe"),
    ],
)
def test_who_can_not_be_invoiced_stays_prepaid(prepaid, change, limit, why):
    Customer.objects.update(**change)
    with pytest.raises(ModeRefused, match=why):
        set_mode(prepaid.customer, "metered", limit, by="Ridcully")
    prepaid.customer.refresh_from_db()
    assert (prepaid.customer.mode, Subscription.objects.count()) == ("prepaid", 0)


def test_back_to_prepaid_all_is_invoiced_and_then_it_has_ended(both):
    captured(both.customer, 250)
    set_mode(both.customer, "prepaid", by="Ridcully")
    assert (both.customer.mode, own().state, remaining(both)) == ("prepaid", "ending", -150)
    credit.book(both.customer.pk, "topup", 500, "pi_2")
    captured(both.customer, 33)  # of what was topped up
    with pytest.raises(ModeRefused, match="still being invoiced"):
        set_mode(both.customer, "metered", 1000, by="Ridcully")
    both.work()
    assert own().state == "ending", "what Stripe has not added up would not be invoiced"
    both.later(dt.timedelta(minutes=15))
    both.work()
    assert (own().state, listed(both)[0]["status"], both.total()) == ("ended", "canceled", 250)
    both.later(2 * HOUR)
    fold_all(both)
    invoice = Invoice.objects.get()
    assert invoice.usage_cents == 250
    pay(invoice)
    assert remaining(both) == 100 + 500 - 33
    set_mode(both.customer, "metered", 1000, by="Ridcully")
    both.work()
    captured(both.customer, 1)
    both.rounds_of_hours(2)
    assert both.total() == 251


def test_ended_before_stripe_knew_of_it(prepaid):
    set_mode(prepaid.customer, "metered", 1000, by="Ridcully")
    set_mode(prepaid.customer, "prepaid", by="Ridcully")
    prepaid.work()
    assert (own().state, listed(prepaid), remaining(prepaid)) == ("ended", [], 100)


@pytest.mark.parametrize("fault", ["reset_after", "reset_before", "error_500_kept_after", "error_5xx_after"])
@pytest.mark.parametrize("back", [False, True])
def test_an_answer_that_is_lost_leaves_one_subscription(prepaid, fault, back):
    prepaid.stripe.faults(api={fault: 1.0, "paths": "subscriptions", "methods": ["POST"]})
    set_mode(prepaid.customer, "metered", 1000, by="Ridcully")
    work_off(SubscriptionWork())
    assert (own().state, remaining(prepaid)) == ("new", 100)
    if back:
        set_mode(prepaid.customer, "prepaid", by="Ridcully")
    prepaid.stripe.faults(reset=True)
    for _ in range(4):
        prepaid.later(HOUR)
        prepaid.work()
    assert len(listed(prepaid)) == (0 if back and fault == "reset_before" else 1)
    assert own().state == ("ended" if back else "active")
    assert remaining(prepaid) == (100 if back else 1100)
    assert all(one["status"] == ("canceled" if back else "active") for one in listed(prepaid))


def test_without_a_price_it_waits_for_one(prepaid):
    with errors():
        price = client().v1.prices.list({}).data[0].id
        client().v1.prices.update(price, {"active": False})
    set_mode(prepaid.customer, "metered", 1000, by="Ridcully")
    prepaid.work()
    assert "manage.py stripesetup" in own().message
    with errors():
        client().v1.prices.update(price, {"active": True})
    prepaid.later(HOUR)
    prepaid.work()
    assert (own().state, own().message) == ("active", "")


def test_what_is_ended_at_stripe_is_prepaid_from_then_on(both):
    captured(both.customer, 60)
    with errors():
        client().v1.subscriptions.cancel(str(own().stripe_id))
    fold_all(both)
    both.customer.refresh_from_db()
    assert (both.customer.mode, remaining(both)) == ("prepaid", 40)
    assert "may not be invoiced" in own().message
    both.work()
    both.later(HOUR)
    both.work()
    assert (own().state, both.total()) == ("ended", 60)


def test_what_is_not_ours_is_left_alone(sold):
    with errors():
        made = client().v1.customers.create({"name": "somebody's"})
        price = client().v1.prices.list({}).data[0].id
        theirs = client().v1.subscriptions.create({"customer": made.id, "items": [{"price": price}]})
    assert not fold("subscription", theirs.id)
    assert not Subscription.objects.exists()
