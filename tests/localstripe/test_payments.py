"""Cards, PaymentIntents, charges and the balance, driven by the official SDK."""

import threading
from typing import Any

import pytest
import stripe

from tests.stripes import VISA, Stripe

PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
FAILED = ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]


@pytest.fixture
def saved(client: stripe.StripeClient, customer: str) -> Any:
    """Save a test card with the customer, as though it had been set up."""

    def save(token: str = "pm_card_visa") -> str:
        return client.v1.payment_methods.attach(token, {"customer": customer}).id

    return save


@pytest.fixture
def pay(client: stripe.StripeClient, customer: str) -> Any:
    """Charge a saved card off-session."""

    def take(method: str, amount: int = 1000, key: str | None = None, **more: Any) -> stripe.PaymentIntent:
        usual: Any = {
            "amount": amount,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "allowed_payment_method_types": ["card"],
            "confirm": True,
            "off_session": True,
        }
        wanted: Any = {**usual, **more}
        return client.v1.payment_intents.create(wanted, {"idempotency_key": key} if key else {})

    return take


def declined(act: Any) -> Any:
    with pytest.raises(stripe.CardError) as caught:
        act()
    assert caught.value.http_status == 402
    assert caught.value.error
    return caught.value.error


def test_a_saved_card_is_charged_and_the_balance_has_it(
    stripe_server: Stripe, client: stripe.StripeClient, saved: Any, pay: Any
) -> None:
    intent = pay(saved(), 1000, metadata={"topup": "1"})
    assert (intent.status, intent.amount_received, intent.next_action) == ("succeeded", 1000, None)
    charge: Any = client.v1.charges.retrieve(intent.latest_charge, {"expand": ["payment_intent", "refunds"]})
    assert (charge.paid, charge.metadata.to_dict(), charge.payment_intent.id) == (True, {"topup": "1"}, intent.id)
    assert charge.payment_method_details.card.last4 == "4242"
    assert charge.balance_transaction is None  # it is captured asynchronously
    assert stripe_server.events("")[-3:] == PAID
    stripe_server.advance(2)
    charge = client.v1.charges.retrieve(intent.latest_charge, {"expand": ["balance_transaction"]})
    moved: Any = charge.balance_transaction
    assert (moved.amount, moved.fee, moved.net) == (1000, 59, 941)
    assert stripe_server.events("")[-1] == "charge.updated"
    assert client.v1.balance.retrieve().pending[0].amount == 941
    stripe_server.advance(3 * 24 * 3600)
    assert client.v1.balance.retrieve().available[0].amount == 941


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
        ("pm_card_authenticationRequiredOnSetup", "authentication_required", "authentication_required"),
    ],
)
def test_a_declined_charge_is_an_error_and_an_intent_that_says_so(
    stripe_server: Stripe, client: stripe.StripeClient, saved: Any, pay: Any, token: str, code: str, decline_code: str
) -> None:
    method = saved(token)
    error = declined(lambda: pay(method))
    assert (error.code, error.decline_code) == (code, decline_code)
    intent = client.v1.payment_intents.retrieve(error.payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error
    assert intent.last_payment_error.decline_code == decline_code
    assert intent.last_payment_error.payment_method
    assert intent.last_payment_error.payment_method.id == method
    assert client.v1.charges.retrieve(error.charge).failure_code == code
    assert stripe_server.events("")[-3:] == FAILED


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
def test_a_card_that_is_always_declined_is_not_saved(
    client: stripe.StripeClient, customer: str, token: str, code: str, decline_code: str | None
) -> None:
    error = declined(lambda: client.v1.payment_methods.attach(token, {"customer": customer}))
    assert (error.code, getattr(error, "decline_code", None)) == (code, decline_code)
    assert client.v1.payment_methods.list({"customer": customer}).data == []


def test_a_decline_is_replayed_with_its_key_and_charges_no_second_time(
    stripe_server: Stripe, client: stripe.StripeClient, saved: Any, pay: Any
) -> None:
    method = saved()
    stripe_server.faults(cards={"decline": "insufficient_funds"})
    first = declined(lambda: pay(method, key="k1"))
    stripe_server.faults(cards={"decline": ""})
    again = declined(lambda: pay(method, key="k1"))
    assert again.payment_intent.id == first.payment_intent.id
    assert len(stripe_server.objects("payment_intent")) == 1
    paid = client.v1.payment_intents.confirm(first.payment_intent.id, {"payment_method": method, "off_session": True})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    with pytest.raises(stripe.InvalidRequestError, match="already succeeded") as caught:
        client.v1.payment_intents.confirm(paid.id, {"payment_method": method})
    assert caught.value.code == "payment_intent_unexpected_state"


@pytest.mark.parametrize(("passes", "status"), [(True, "succeeded"), (False, "requires_payment_method")])
def test_a_member_passes_the_banks_page_after_an_off_session_decline(
    stripe_server: Stripe, client: stripe.StripeClient, saved: Any, pay: Any, passes: bool, status: str
) -> None:
    method = saved("pm_card_authenticationRequired")
    error = declined(lambda: pay(method))
    intent = client.v1.payment_intents.confirm(
        error.payment_intent.id, {"payment_method": method, "return_url": "https://example.com/money?a=b"}
    )
    assert intent.status == "requires_action"
    assert intent.next_action
    assert intent.next_action.redirect_to_url
    assert intent.next_action.redirect_to_url.url
    visit = stripe_server.authenticate(intent.next_action.redirect_to_url.url, passes=passes)
    assert visit.url.startswith(f"https://example.com/money?a=b&payment_intent={intent.id}&")
    assert visit.url.endswith(f"redirect_status={'succeeded' if passes else 'failed'}")
    found = client.v1.payment_intents.retrieve(intent.id)
    assert found.status == status
    tail = ["charge.succeeded", "payment_intent.succeeded"] if passes else ["payment_intent.payment_failed"]
    assert stripe_server.events("")[-1 - len(tail) :] == ["payment_intent.requires_action", *tail]
    if passes:  # the link works once
        assert "does not wait" in stripe_server.authenticate(intent.next_action.redirect_to_url.url).text
    else:
        assert found.last_payment_error
        assert found.last_payment_error.code == "payment_intent_authentication_failure"


def test_a_link_to_the_banks_page_needs_its_key(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, saved: Any, pay: Any
) -> None:
    intent = pay(saved("pm_card_threeDSecure2Required"), off_session=False, return_url="https://example.com/")
    assert "does not wait" in stripe_server.authenticate(f"{stripe_server.url}/3ds/{intent.id}?key=guessed").text
    assert client.v1.payment_intents.retrieve(intent.id).status == "requires_action"


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (50, "usd", None),
        (49, "jpy", "amount_too_small"),
        (50, "jpy", None),
        (1005, "kwd", "invalid_charge_amount"),
        (1010, "kwd", None),
        (150, "kwd", "amount_too_small"),
        (100_000_000, "usd", "amount_too_large"),
    ],
)
def test_amounts_are_checked_by_currency(
    client: stripe.StripeClient, amount: int, currency: str, code: str | None
) -> None:
    if code is None:
        made = client.v1.payment_intents.create({"amount": amount, "currency": currency})
        assert (made.amount, made.currency, made.status) == (amount, currency, "requires_payment_method")
        return
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.payment_intents.create({"amount": amount, "currency": currency})
    assert (caught.value.code, caught.value.param) == (code, "amount")


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        ({"off_session": True, "confirm": False}, "You cannot set `off_session`", "off_session"),
        ({"allowed_payment_method_types": None}, "you must provide a `return_url`", None),
        ({"currency": "xyz"}, "Invalid currency: xyz", "currency"),
        ({"customer": "cus_none"}, "No such customer: 'cus_none'", "customer"),
        ({"payment_method": "pm_none"}, "No such PaymentMethod: 'pm_none'", "payment_method"),
        ({"customer": None}, "must be attached to the customer", "payment_method"),
        ({"amount": 0}, "greater than or equal to 1", "amount"),
    ],
)
def test_an_intent_that_stripe_would_refuse_is_refused(
    stripe_server: Stripe, saved: Any, pay: Any, change: dict[str, Any], message: str, param: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=message) as caught:
        pay(saved(), **change)
    assert (caught.value.http_status, caught.value.param) == (400, param)
    assert stripe_server.objects("payment_intent") == []


def test_a_search_finds_an_intent_only_some_time_later(
    stripe_server: Stripe, client: stripe.StripeClient, saved: Any, pay: Any
) -> None:
    intent = pay(saved(), metadata={"topup": "it's 1"})
    pay(saved(), metadata={"topup": "2"})

    def search(query: str) -> list[str]:
        return [one.id for one in client.v1.payment_intents.search({"query": query}).data]

    wanted = "metadata['topup']:'it\\'s 1' AND status:'succeeded'"
    assert search(wanted) == []
    stripe_server.advance(60)
    assert search(wanted) == [intent.id]
    assert len(search("amount>=1000 -currency:'eur'")) == 2
    assert len(search("metadata['topup']:'2' OR metadata['topup']:'it\\'s 1'")) == 2
    assert search("metadata['topup']:null") == []
    client.v1.payment_intents.update(intent.id, {"metadata": {"topup": "3"}})
    assert search(wanted) == [intent.id]
    stripe_server.advance(60)
    assert search(wanted) == []
    for wrong in ("status", "colour:'blue'", "status:'a' AND amount>1 OR amount<1"):
        with pytest.raises(stripe.InvalidRequestError):
            search(wrong)


def test_an_open_intent_can_be_cancelled_and_a_paid_one_not(client: stripe.StripeClient, saved: Any, pay: Any) -> None:
    made = client.v1.payment_intents.create({"amount": 1000, "currency": "usd"})
    gone = client.v1.payment_intents.cancel(made.id, {"cancellation_reason": "abandoned"})
    assert (gone.status, gone.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError, match="has a status of succeeded") as caught:
        client.v1.payment_intents.cancel(pay(saved()).id)
    assert caught.value.code == "payment_intent_unexpected_state"


def test_a_detached_card_is_no_default_any_more_and_charged_no_more(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, saved: Any, pay: Any
) -> None:
    method = saved()
    client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    client.v1.payment_methods.detach(method)
    settings = client.v1.customers.retrieve(customer).invoice_settings
    assert settings
    assert settings.default_payment_method is None
    assert stripe_server.events("")[-2:] == ["payment_method.detached", "customer.updated"]
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        pay(method)
    with pytest.raises(stripe.InvalidRequestError, match="must be attached"):
        client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})


def test_a_card_that_was_charged_without_being_saved_is_charged_once(pay: Any) -> None:
    used = pay("pm_card_visa", customer=None).payment_method
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        pay(used, customer=None)


def test_no_card_number_is_taken_or_kept(stripe_server: Stripe, caplog: Any) -> None:
    typed = {
        "type": "card",
        "card[number]": VISA,
        "card[exp_month]": "12",
        "card[exp_year]": "2034",
        "card[cvc]": "123",
    }
    with caplog.at_level("DEBUG", "localstripe"):
        answer = stripe_server.session.post(f"{stripe_server.url}/v1/payment_methods", typed, timeout=10)
    assert "generally unsafe" in answer.json()["error"]["message"]
    everything = str(stripe_server.local("GET", "record")) + str(stripe_server.local("GET", "state"))
    assert "exp_month" in everything
    assert VISA not in everything + caplog.text
    assert stripe_server.objects("payment_method") == []


def test_of_many_parallel_requests_with_one_key_one_charges(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, saved: Any, pay: Any
) -> None:
    method = saved()
    ids: set[str] = set()
    busy: list[int] = []

    def ask(number: int) -> None:
        try:
            ids.add(pay(method, key=f"k{number % 2}").id)
        except stripe.StripeError as error:
            busy.append(error.http_status or 0)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(busy) <= {409}
    assert {one["id"] for one in stripe_server.objects("payment_intent")} == ids
    assert len(stripe_server.objects("charge")) == 2
