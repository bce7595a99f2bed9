"""Checkout's hosted pages, filled in over HTTP as a browser without JavaScript does."""

from typing import Any

import pytest
import requests
import stripe

from tests.stripes import (
    ALWAYS_AUTHENTICATES,
    AUTHENTICATES_UNLESS_SET_UP,
    DECLINED,
    FAILS_WHEN_CHARGED,
    VISA,
    Page,
    Stripe,
)

BACK = "https://example.com/money?session={CHECKOUT_SESSION_ID}"
SAVED = ["payment_method.attached", "setup_intent.succeeded", "checkout.session.completed"]


@pytest.fixture
def open_session(client: stripe.StripeClient, customer: str) -> Any:
    def make(mode: str, amount: int = 2500, **more: Any) -> Any:
        wanted: Any = {"mode": mode, "customer": customer, "success_url": BACK, "cancel_url": "https://example.com/"}
        if mode == "setup":
            wanted["allowed_payment_method_types"] = ["card"]
        else:
            data = {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Credit"}}
            wanted["line_items"] = [{"quantity": 1, "price_data": data}]
        wanted |= more
        return client.v1.checkout.sessions.create(wanted)

    return make


def charge(client: stripe.StripeClient, customer: str, method: str) -> stripe.PaymentIntent:
    return client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "allowed_payment_method_types": ["card"],
            "confirm": True,
            "off_session": True,
        }
    )


@pytest.mark.parametrize(
    ("number", "off_session"),
    [
        (VISA, "succeeded"),
        (FAILS_WHEN_CHARGED, "generic_decline"),
        (AUTHENTICATES_UNLESS_SET_UP, "succeeded"),
        (ALWAYS_AUTHENTICATES, "authentication_required"),
    ],
)
def test_a_card_is_saved_and_charged_later(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, open_session: Any, number: str, off_session: str
) -> None:
    session = open_session("setup", setup_intent_data={"metadata": {"a": "b"}}, metadata={"c": "d"})
    assert (session.payment_status, session.amount_total) == ("no_payment_required", None)
    visit = stripe_server.checkout(session.url, number)
    assert visit.url == BACK.replace("{CHECKOUT_SESSION_ID}", session.id)
    done: Any = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent.payment_method"]})
    method = done.setup_intent.payment_method
    assert (done.status, done.url, done.setup_intent.metadata.to_dict()) == ("complete", None, {"a": "b"})
    assert (method.card.last4, method.card.exp_year, method.customer) == (number[-4:], 2034, customer)
    assert stripe_server.events("")[-3:] == SAVED
    if off_session == "succeeded":
        assert charge(client, customer, method.id).status == off_session
    else:
        with pytest.raises(stripe.CardError) as caught:
            charge(client, customer, method.id)
        assert caught.value.error
        assert caught.value.error.decline_code == off_session
    assert "saved already" in Page.get(session.url).text


@pytest.mark.parametrize("mode", ["setup", "payment"])
@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"number": DECLINED}, "Your card was declined."),
        ({"number": "4242424242424241"}, "Your card number is invalid."),
        ({"number": "4012888888881881"}, "used a non test card"),
        ({"expiry": "12/20"}, "expiration date is in the past"),
        ({"expiry": "soon"}, "write it as 12/34"),
        ({"cvc": ""}, "security code is invalid"),
        ({"number": ALWAYS_AUTHENTICATES, "authenticate": False}, "unable to authenticate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_card_that_is_refused_may_be_followed_by_a_better_one(
    stripe_server: Stripe, client: stripe.StripeClient, open_session: Any, mode: str, typed: Any, problem: str
) -> None:
    session = open_session(mode)
    visit = stripe_server.checkout(session.url, **typed)
    assert problem in visit.text
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert stripe_server.checkout(session.url).url == BACK.replace("{CHECKOUT_SESSION_ID}", session.id)
    assert client.v1.checkout.sessions.retrieve(session.id).status == "complete"
    assert len([one for one in stripe_server.objects("charge") if one["paid"]]) == (mode == "payment")
    assert len(stripe_server.objects("payment_intent")) <= 1


def test_a_payment_with_the_member_present(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, open_session: Any
) -> None:
    data = {"metadata": {"topup": "7"}, "setup_future_usage": "off_session", "description": "Credit"}
    session = open_session("payment", payment_intent_data=data)
    assert (session.payment_intent, session.amount_total, session.payment_status) == (None, 2500, "unpaid")
    assert "$25.00" in Page.get(session.url).text
    assert stripe_server.checkout(session.url, ALWAYS_AUTHENTICATES).url.startswith("https://example.com/money")
    done: Any = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "line_items"]})
    assert (done.status, done.payment_status) == ("complete", "paid")
    assert (done.payment_intent.metadata.to_dict(), done.payment_intent.amount_received) == ({"topup": "7"}, 2500)
    assert done.line_items.data[0].description == "Credit"
    assert [one.id for one in client.v1.payment_methods.list({"customer": customer}).data] == [
        done.payment_intent.payment_method
    ]
    events = stripe_server.events("")
    begun = events.index("payment_intent.created")
    assert events[begun:] == [
        "payment_intent.created",
        "payment_intent.requires_action",
        "payment_method.attached",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    receipt: Any = client.v1.charges.retrieve(done.payment_intent.latest_charge).receipt_url
    assert "$25.00 paid with Visa ending in 3184" in Page.get(receipt).text
    with pytest.raises(stripe.InvalidRequestError, match="already succeeded"):
        client.v1.payment_intents.confirm(done.payment_intent.id)


def test_a_card_is_saved_if_the_member_ticks_it_and_offered_the_next_time(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, open_session: Any
) -> None:
    saving = {"payment_method_save": "enabled"}
    first = open_session("payment", saved_payment_method_options=saving)
    stripe_server.checkout(first.url, save="1")
    (method,) = client.v1.payment_methods.list({"customer": customer}).data
    assert method.allow_redisplay == "always"
    second = open_session("payment", saved_payment_method_options=saving)
    assert "Visa ending in 4242, 12/34" in Page.get(second.url).text
    stripe_server.checkout(second.url, "", expiry="", cvc="")  # the saved card is chosen already
    assert client.v1.checkout.sessions.retrieve(second.id).payment_status == "paid"
    third = open_session("payment", saved_payment_method_options=saving)
    stripe_server.checkout(third.url, card="new")
    assert len(client.v1.payment_methods.list({"customer": customer}).data) == 1
    fourth = open_session("payment", saved_payment_method_options=saving)
    typed = stripe_server.checkout(fourth.url, "4000000000000002")  # with the saved card still chosen
    assert "declined" in typed.text


@pytest.mark.parametrize("by_clock", [True, False])
def test_a_session_expires(
    stripe_server: Stripe, client: stripe.StripeClient, open_session: Any, by_clock: bool
) -> None:
    session = open_session("payment")
    stripe_server.checkout(session.url, DECLINED)  # there is an intent now
    if by_clock:
        stripe_server.advance(24 * 3600 + 1)
    else:
        client.v1.checkout.sessions.expire(session.id)
    found: Any = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (found.status, found.url, found.payment_intent.status) == ("expired", None, "canceled")
    assert stripe_server.events("")[-2:] == ["payment_intent.canceled", "checkout.session.expired"]
    assert "expired" in Page.get(session.url).text
    with pytest.raises(stripe.InvalidRequestError, match="has a status of expired"):
        client.v1.checkout.sessions.expire(session.id)


@pytest.mark.parametrize(
    ("mode", "change", "message", "param"),
    [
        ("setup", {"allowed_payment_method_types": None}, "Missing required param: currency", "currency"),
        ("setup", {"success_url": None}, "Missing required param: success_url", "success_url"),
        ("setup", {"success_url": "/money"}, "Not a valid URL", "success_url"),
        ("payment", {"line_items": None}, "Missing required param: line_items", "line_items"),
        ("payment", {"setup_intent_data": {"description": "x"}}, "can not pass `setup_intent_data`", None),
        ("payment", {"amount": 49}, "Amount must be at least", None),
        ("payment", {"expires_at": 1}, "between 30 minutes and 24 hours", "expires_at"),
        ("subscription", {}, "use /v1/subscriptions", "mode"),
    ],
)
def test_a_session_that_stripe_would_refuse_is_refused(
    stripe_server: Stripe, open_session: Any, mode: str, change: dict[str, Any], message: str, param: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=message) as caught:
        open_session(mode, **change)
    assert param in (None, caught.value.param)
    assert stripe_server.objects("checkout.session") == []


def test_a_form_of_another_sites_page_is_refused(stripe_server: Stripe, open_session: Any) -> None:
    session = open_session("setup")
    form = {"number": VISA, "expiry": "12/34", "cvc": "123"}
    answer = requests.post(session.url, form, headers={"Origin": "https://evil.example"}, timeout=10)
    assert answer.status_code == 403
    assert stripe_server.objects("payment_method") == []


def test_what_a_page_shows_is_escaped(stripe_server: Stripe, open_session: Any) -> None:
    nasty = '<script>alert("1")</script>'
    data = {"currency": "usd", "unit_amount": 500, "product_data": {"name": nasty}}
    session = open_session("payment", line_items=[{"quantity": 1, "price_data": data}])
    answer = requests.post(session.url, {"number": "1", "name": nasty}, timeout=10)
    assert answer.status_code == 402
    assert nasty not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
