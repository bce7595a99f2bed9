"""Subscriptions to metered prices, their invoices and the billing portal, driven by the official SDK."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import requests
import stripe

from localstripe.billing import periods
from tests.stripes import Stripe

HOUR, DAY = 3600, 24 * 3600
MONTH = 32 * DAY  # after which every month is over


@pytest.fixture
def client(stripe_server: Stripe) -> stripe.StripeClient:
    return stripe_server.client()


@dataclass
class Billing:
    """A customer with a card, whose usage is billed at a cent a unit."""

    server: Stripe
    client: stripe.StripeClient
    customer: str
    card: str
    price: stripe.Price
    meter: str

    def use(self, value: int, *, ago: int = 0) -> None:
        payload = {"stripe_customer_id": self.customer, "value": str(value)}
        at = self.server.advance(0) - ago
        self.client.v1.billing.meter_events.create({"event_name": "casts", "payload": payload, "timestamp": at})
        self.server.advance(2)

    def subscribe(self, **fields: Any) -> stripe.Subscription:
        asked: Any = {"customer": self.customer, "items": [{"price": self.price.id}], **fields}
        return self.client.v1.subscriptions.create(asked)

    def close(self, subscription: stripe.Subscription, **options: Any) -> stripe.Invoice:
        id = self.server.close_period(subscription.id, **options)["id"]
        return self.client.v1.invoices.retrieve(id)

    def invoices(self, **wanted: Any) -> list[stripe.Invoice]:
        asked: Any = {"customer": self.customer, **wanted}
        return self.client.v1.invoices.list(asked).data

    def replace_card(self, token: str) -> None:
        card = self.client.v1.payment_methods.attach(token, {"customer": self.customer}).id
        settings: Any = {"invoice_settings": {"default_payment_method": card}}
        self.client.v1.customers.update(self.customer, settings)


@pytest.fixture
def billing(stripe_server: Stripe, client: stripe.StripeClient) -> Billing:
    return make_billing(stripe_server, client)


def make_billing(server: Stripe, client: stripe.StripeClient, currency: str = "usd") -> Billing:
    meter = client.v1.billing.meters.create(
        {"display_name": "Casts", "event_name": "casts", "default_aggregation": {"formula": "sum"}}
    )
    price = client.v1.prices.create(
        {
            "currency": currency,
            "unit_amount": 1,
            "nickname": "Casts",
            "product_data": {"name": "Casts"},
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        }
    )
    customer = client.v1.customers.create({"name": "Rincewind", "email": "wizzard@example.com"}).id
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
    return Billing(server, client, customer, card, price, meter.id)


def test_a_period_is_invoiced_after_it_and_paid_after_the_grace(billing: Billing) -> None:
    billing.use(500)  # before the subscription: on no invoice
    billing.server.advance(HOUR)
    subscription = billing.subscribe(metadata={"account": "7"})
    assert (subscription.status, subscription.latest_invoice) == ("active", None)
    assert billing.invoices() == []
    billing.use(1200)
    item = subscription["items"].data[0]
    billing.server.advance(item.current_period_end - billing.server.advance(0) - HOUR)
    billing.use(34)
    billing.server.advance(HOUR + 10)
    (draft,) = billing.invoices(status="draft")
    assert (draft.total, draft.billing_reason, draft.hosted_invoice_url) == (1234, "subscription_cycle", None)
    assert (draft.period_start, draft.period_end) == (item.current_period_start, item.current_period_end)
    following = billing.client.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert following["items"].data[0].current_period_start == item.current_period_end
    assert following.to_dict()["latest_invoice"]["id"] == draft.id
    moved = billing.client.v1.subscription_items.retrieve(item.id)
    assert moved.current_period_start == item.current_period_end
    billing.use(66, ago=HOUR)  # told late, and still of the period that has ended
    billing.use(9)  # of the next one
    billing.server.advance(HOUR)
    paid = billing.client.v1.invoices.retrieve(draft.id, {"expand": ["payments.data.payment.payment_intent"]})
    assert (paid.status, paid.total, paid.amount_paid, paid.amount_remaining) == ("paid", 1300, 1300, 0)
    (line,) = paid.lines.data
    assert (line.quantity, line.amount, line.period.end) == (1300, 1300, item.current_period_end)
    assert line.pricing
    assert line.pricing.price_details
    assert line.pricing.price_details.price == billing.price.id
    assert paid.parent
    assert paid.parent.to_dict()["subscription_details"] == {
        "metadata": {"account": "7"},
        "subscription": subscription.id,
    }
    payments: Any = paid.payments
    intent = payments.data[0].payment.payment_intent
    assert (intent.amount, intent.status, payments.data[0].status) == (1300, "succeeded", "paid")
    events = billing.server.events("invoice")
    assert [one for one in events if one != "invoice.updated"] == [
        "invoice.created",
        "invoice.finalized",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    billing.use(1000, ago=2 * HOUR)  # of the period whose invoice is final
    assert billing.close(following).total == 9


def test_a_classic_subscription_begins_with_an_invoice_of_nothing(billing: Billing) -> None:
    billing.subscribe(billing_mode={"type": "classic"})
    (first,) = billing.invoices()
    assert (first.status, first.total, first.billing_reason) == ("paid", 0, "subscription_create")
    assert billing.server.objects("payment_intent") == []


def test_what_is_too_little_to_charge_is_owed_on_the_next_invoice(billing: Billing) -> None:
    subscription = billing.subscribe()
    billing.use(20)
    little = billing.close(subscription)
    assert (little.status, little.total, little.amount_due, little.amount_paid) == ("paid", 20, 0, 0)
    assert (little.starting_balance, little.ending_balance) == (0, 20)
    assert billing.client.v1.customers.retrieve(billing.customer).balance == 20
    billing.use(30)
    both = billing.close(subscription)
    assert (both.status, both.total, both.amount_due, both.amount_paid) == ("paid", 30, 50, 50)
    assert (both.starting_balance, both.ending_balance) == (20, 0)
    assert billing.client.v1.customers.retrieve(billing.customer).balance == 0


@pytest.mark.parametrize("currency", ["jpy", "kwd"])
def test_units_are_the_smallest_of_the_currency(
    stripe_server: Stripe, client: stripe.StripeClient, currency: str
) -> None:
    billing = make_billing(stripe_server, client, currency)
    subscription = billing.subscribe()
    billing.use(1230)
    invoice = billing.close(subscription)
    assert (invoice.currency, invoice.total, invoice.amount_paid) == (currency, 1230, 1230)


def test_a_declined_card_is_tried_again_and_pays_when_it_is_replaced(billing: Billing) -> None:
    billing.replace_card("pm_card_chargeCustomerFail")
    subscription = billing.subscribe()
    billing.use(1000)
    invoice = billing.close(subscription)
    assert (invoice.status, invoice.attempt_count, invoice.amount_remaining) == ("open", 1, 1000)
    assert billing.client.v1.subscriptions.retrieve(subscription.id).status == "past_due"
    with pytest.raises(stripe.CardError) as caught:
        billing.client.v1.invoices.pay(invoice.id)
    assert caught.value.code == "card_declined"
    tried = billing.client.v1.invoices.retrieve(invoice.id)
    assert tried.next_payment_attempt
    billing.server.advance(3 * DAY + 10)  # when it would have been tried without that
    assert billing.client.v1.invoices.retrieve(invoice.id).attempt_count == 2
    billing.replace_card("pm_card_visa")
    billing.server.advance(tried.next_payment_attempt - billing.server.advance(0) + 1)
    paid = billing.client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.attempt_count, paid.amount_paid) == ("paid", 3, 1000)
    assert billing.client.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert billing.server.events("invoice.pay").count("invoice.payment_failed") == 2


def test_a_subscription_may_be_paid_with_a_card_of_its_own(billing: Billing) -> None:
    own = billing.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": billing.customer}).id
    first = billing.subscribe(default_payment_method=own)
    billing.use(1000)
    billing.close(first)
    assert [one["payment_method"] for one in billing.server.objects("charge")] == [own]
    billing.client.v1.payment_methods.detach(own)
    billing.use(1000)
    assert billing.close(first).status == "open"  # the card is gone, which is a failed payment and nothing worse


def test_retries_end_and_an_operator_gives_up(billing: Billing) -> None:
    billing.replace_card("pm_card_chargeCustomerFail")
    subscription = billing.subscribe()
    billing.use(1000)
    invoice = billing.close(subscription)
    for _ in range(3):
        billing.server.advance(8 * DAY)
    tried = billing.client.v1.invoices.retrieve(invoice.id)
    assert (tried.status, tried.attempt_count, tried.next_payment_attempt) == ("open", 4, None)
    given_up = billing.client.v1.invoices.mark_uncollectible(invoice.id)
    assert given_up.status == "uncollectible"
    late = billing.client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (late.status, late.amount_paid) == ("paid", 1000)
    assert {"invoice.marked_uncollectible", "invoice.paid"} <= set(billing.server.events("invoice"))


def test_an_invoice_without_a_card_stays_open_until_it_is_void(billing: Billing) -> None:
    billing.client.v1.payment_methods.detach(billing.card)
    subscription = billing.subscribe()
    billing.use(1000)
    invoice = billing.close(subscription, finalize=False)
    with pytest.raises(stripe.InvalidRequestError, match="You can only void"):
        billing.client.v1.invoices.void_invoice(invoice.id)
    assert billing.client.v1.invoices.finalize_invoice(invoice.id).status == "open"
    with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
        billing.client.v1.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        billing.client.v1.invoices.pay(invoice.id)
    void = billing.client.v1.invoices.void_invoice(invoice.id)
    assert (void.status, void.amount_paid) == ("void", 0)
    assert {one["status"] for one in billing.server.objects("payment_intent")} == {"canceled"}
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        billing.client.v1.invoices.pay(invoice.id)


def test_an_invoice_is_sent_to_who_pays_by_it(billing: Billing) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        billing.subscribe(collection_method="send_invoice")
    subscription = billing.subscribe(collection_method="send_invoice", days_until_due=14)
    billing.use(1000)
    invoice = billing.close(subscription)
    assert invoice.due_date
    assert (invoice.status, invoice.due_date - invoice.created) == ("open", 14 * DAY)
    assert "invoice.sent" in billing.server.events("invoice")
    assert billing.client.v1.invoices.pay(invoice.id).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        billing.client.v1.invoices.pay(invoice.id)


def test_a_subscription_ends_at_once_or_with_its_period(billing: Billing) -> None:
    first, second, third = (billing.subscribe() for _ in range(3))
    billing.use(100)
    assert billing.client.v1.subscriptions.cancel(first.id).status == "canceled"
    assert billing.invoices() == []
    billing.client.v1.subscriptions.cancel(second.id, {"invoice_now": True})
    assert [one.total for one in billing.invoices(subscription=second.id)] == [100]
    ending = billing.client.v1.subscriptions.update(third.id, {"cancel_at_period_end": True})
    assert ending.cancel_at == third["items"].data[0].current_period_end
    billing.server.advance(MONTH)
    billing.server.advance(HOUR + 10)
    assert billing.client.v1.subscriptions.retrieve(third.id).status == "canceled"
    assert [(one.total, one.status) for one in billing.invoices(subscription=third.id)] == [(100, "paid")]
    assert billing.client.v1.subscriptions.list({"customer": billing.customer}).data == []
    everything = billing.client.v1.subscriptions.list({"customer": billing.customer, "status": "all"}).data
    assert {one.id for one in everything} == {first.id, second.id, third.id}
    assert billing.server.events("customer.subscription.").count("customer.subscription.deleted") == 3


def test_a_deleted_customer_is_billed_no_more(billing: Billing) -> None:
    subscription = billing.subscribe()
    billing.use(1000)
    billing.close(subscription, finalize=False)
    billing.use(1000)
    billing.client.v1.customers.delete(billing.customer)
    billing.use(1000)
    (report,) = billing.server.objects("v2.core.event")
    assert report["data"]["reason"]["error_types"][0]["code"] == "meter_event_customer_not_found"
    billing.server.advance(2 * MONTH)
    assert billing.client.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert [one["status"] for one in billing.server.objects("invoice")] == ["draft"]


def test_a_clock_that_jumps_over_periods_invoices_each(billing: Billing) -> None:
    subscription = billing.subscribe()
    end = subscription["items"].data[0].current_period_end
    billing.use(-5)
    assert billing.close(subscription).total == 0
    billing.use(100)
    billing.server.advance(end - billing.server.advance(0) + 5)
    billing.use(200)
    billing.server.advance(3 * MONTH)
    billing.server.advance(2 * HOUR)
    invoices = billing.invoices()
    assert [one.total for one in invoices][::-1][:4] == [0, 100, 200, 0]
    assert {one.status for one in invoices} == {"paid"}
    spans = sorted((one.period_start, one.period_end) for one in invoices)
    assert all(start < end for start, end in spans)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(spans))


def test_periods_follow_their_anchor(billing: Billing) -> None:
    midnight = {"day_of_month": 1, "hour": 0, "minute": 0, "second": 0}
    subscription = billing.subscribe(billing_cycle_anchor_config=midnight)
    ends = []
    for _ in range(3):
        item = billing.client.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
        ends.append(item.current_period_end)
        billing.server.advance(item.current_period_end - billing.server.advance(0) + 1)
    assert all(end % DAY == 0 for end in ends)
    assert {(later - earlier) // DAY for earlier, later in pairwise(ends)} <= {28, 29, 30, 31}
    january = 1_769_817_600  # 2026-01-31T00:00Z
    month = [(periods.after(january, "month", count) - january) // DAY for count in (1, 2, 12)]
    assert month == [28, 59, 365]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"customer": "cus_none"}, "No such customer: 'cus_none'"),
        ({"items": [{"price": "price_none"}]}, "No such price: 'price_none'"),
        ({"default_payment_method": "pm_none"}, "No such PaymentMethod"),
        ({"billing_cycle_anchor": 1}, "in the future"),
        ({"items": []}, "Missing required param: items|Invalid"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(billing: Billing, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=message):
        billing.subscribe(**wrong)
    assert billing.server.objects("subscription") == []


@pytest.fixture
def browser(stripe_server: Stripe) -> Callable[..., requests.Response]:
    """Open pages as somebody without the API's key; forms come from the pages themselves."""
    session = requests.Session()

    def go(url: str, **form: str) -> requests.Response:
        whole = url if url.startswith("http") else stripe_server.url + url
        options: Any = {"data": form, "headers": {"Origin": stripe_server.url}} if form else {}
        return session.request("POST" if form else "GET", whole, timeout=10, **options)

    return go


CARD = {"number": "4242 4242 4242 4242", "expiry": "12/44", "cvc": "123"}


def test_an_invoice_that_wants_authentication_is_paid_on_its_page(
    billing: Billing, browser: Callable[..., requests.Response]
) -> None:
    billing.replace_card("pm_card_threeDSecure2Required")
    subscription = billing.subscribe()
    billing.use(2500)
    invoice = billing.close(subscription)
    assert invoice.status == "open"
    assert {"invoice.payment_action_required", "invoice.payment_failed"} <= set(billing.server.events("invoice"))
    page = browser(str(invoice.hosted_invoice_url))
    assert "$25.00" in page.text
    customer = billing.client.v1.customers.retrieve(billing.customer)
    card = customer.to_dict()["invoice_settings"]["default_payment_method"]
    bank = browser(str(invoice.hosted_invoice_url), card=card)
    assert "3D Secure" in bank.text
    back = browser(bank.url, outcome="complete")
    assert back.url.startswith(str(invoice.hosted_invoice_url))
    assert billing.client.v1.invoices.retrieve(invoice.id).status == "paid"
    assert "is paid" in back.text
    pdf = browser(str(invoice.invoice_pdf))
    assert pdf.content.startswith(b"%PDF-1.4")
    assert b"$25.00" in pdf.content


def test_an_invoice_is_paid_with_a_card_that_is_typed_in(
    billing: Billing, browser: Callable[..., requests.Response]
) -> None:
    billing.replace_card("pm_card_chargeCustomerFail")
    subscription = billing.subscribe()
    billing.use(2500)
    url = str(billing.close(subscription).hosted_invoice_url)
    refused = browser(url, card="new", **{**CARD, "number": "4000 0000 0000 9995"})
    assert refused.status_code == 402
    assert "insufficient funds" in refused.text
    for _ in range(2):  # a form that is sent twice pays once
        paid = browser(url, card="new", **CARD)
        assert (paid.status_code, "is paid" in paid.text) == (200, True)
    assert [one["paid"] for one in billing.server.objects("charge")].count(True) == 1
    evil = {"Origin": "http://evil.example"}
    assert requests.post(url, data={"card": "new", **CARD}, headers=evil, timeout=10).status_code == 403


def test_the_portal_shows_and_changes_cards_and_invoices(
    billing: Billing, browser: Callable[..., requests.Response]
) -> None:
    subscription = billing.subscribe()
    billing.use(2500)
    invoice = billing.close(subscription)
    session = billing.client.v1.billing_portal.sessions.create(
        {"customer": billing.customer, "return_url": "https://spells.example/money"}
    )
    page = browser(session.url)
    for shown in ("Visa ending in 4242", "(default)", str(invoice.number), "$25.00", "https://spells.example/money"):
        assert shown in page.text
    page = browser(session.url, action="add", **{**CARD, "number": "5555 5555 5555 4444"})
    assert "Mastercard ending in 4444, 12/44 (default)" in page.text
    assert "5555 5555" not in page.text
    page = browser(session.url, action="default", card=billing.card)
    assert "Visa ending in 4242" in page.text.partition("(default)")[0]
    page = browser(session.url, action="remove", card=billing.card)
    assert "4242" not in page.text
    customer = billing.client.v1.customers.retrieve(billing.customer)
    assert customer.to_dict()["invoice_settings"]["default_payment_method"] is None
    declined = browser(session.url, action="add", **{**CARD, "number": "4000 0000 0000 0002"})
    assert declined.status_code == 402
    assert "declined" in declined.text
    other = billing.client.v1.customers.create({}).id
    foreign = billing.client.v1.payment_methods.attach("pm_card_visa", {"customer": other}).id
    for wrong in (foreign, "pm_card_visa", "pm_none"):
        for action in ("remove", "default"):
            assert browser(session.url, action=action, card=wrong).status_code == 402
    billing.server.advance(2 * HOUR)
    assert browser(session.url).status_code == 410


def test_the_portal_saves_a_card_that_wants_authentication(
    billing: Billing, browser: Callable[..., requests.Response]
) -> None:
    flow: Any = {
        "type": "payment_method_update",
        "after_completion": {"type": "redirect", "redirect": {"return_url": f"{billing.server.url}/done"}},
    }
    session = billing.client.v1.billing_portal.sessions.create({"customer": billing.customer, "flow_data": flow})
    bank = browser(session.url, action="add", **{**CARD, "number": "4000 0000 0000 3220"})
    page = browser(bank.url, outcome="complete")
    assert re.search(r"Visa ending in 3220, 12/44 \(default\)", page.text)
    assert browser(session.url, action="add", **CARD).url == f"{billing.server.url}/done"


def test_a_portal_configuration_says_what_is_shown(billing: Billing, browser: Callable[..., requests.Response]) -> None:
    made = billing.client.v1.billing_portal.configurations.create(
        {"features": {"invoice_history": {"enabled": True}}, "business_profile": {"headline": "Unseen University"}}
    )
    session = billing.client.v1.billing_portal.sessions.create({"customer": billing.customer, "configuration": made.id})
    page = browser(session.url).text
    assert "Unseen University" in page
    assert ("Add a card" in page, "Invoices" in page) == (False, True)
    changed = billing.client.v1.billing_portal.configurations.update(
        made.id, {"features": {"payment_method_update": {"enabled": True}}, "active": False}
    )
    assert "Add a card" in browser(session.url).text
    assert changed.features.invoice_history.enabled
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        billing.client.v1.billing_portal.sessions.create({"customer": billing.customer, "configuration": made.id})
    everything = billing.client.v1.billing_portal.configurations.list().data
    assert {(one.id == made.id, one.is_default) for one in everything} == {(True, False), (False, True)}
