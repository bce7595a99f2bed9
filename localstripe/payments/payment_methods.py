"""Cards that can be charged. Source: https://docs.stripe.com/api/payment_methods"""

from datetime import UTC, datetime
from typing import Any

from localstripe.errors import ApiError, missing, no_such
from localstripe.ids import random_part
from localstripe.lists import paged
from localstripe.params import ADDRESS, LISTED, Enum, Hash, Int, Kind, Metadata, Text, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from .cards import BY_TOKEN, TestCard, decline_message, error_code, fingerprint

BILLING = Hash(
    {
        "address": Hash({name: Text(clear=True) for name in ADDRESS}, clear=True),
        **{name: Text(clear=True) for name in ("email", "name", "phone")},
    }
)
REDISPLAY = Enum("always", "limited", "unspecified")
USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a "
    "connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use "
    "a PaymentMethod multiple times, you must attach it to a Customer first."
)


def billing_details(given: dict[str, Any] | None = None) -> Obj:
    given = given or {}
    address = given.get("address") or {}
    return {
        "address": {name: address.get(name) for name in ADDRESS},
        "email": given.get("email"),
        "name": given.get("name"),
        "phone": given.get("phone"),
        "tax_id": None,
    }


def make(world: World, card: TestCard, *, month: int = 12, year: int | None = None, **fields: Any) -> Obj:
    return world.new(
        "payment_method",
        "pm",
        allow_redisplay=fields.pop("allow_redisplay", "unspecified"),
        billing_details=billing_details(fields.pop("billing_details", None)),
        card={
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": card.country,
            "display_brand": "american_express" if card.brand == "amex" else card.brand,
            "exp_month": month,
            "exp_year": year or datetime.now(UTC).year + 1,
            "fingerprint": fingerprint(card.number),
            "funding": card.funding,
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        customer=None,
        customer_account=None,
        metadata=fields.pop("metadata", {}),
        type="card",
        _behaves=card.token,
        _set_up=card.set_up,
        _used_up=False,
        **fields,
    )


def behaviour(method: Obj) -> TestCard:
    return BY_TOKEN[method["_behaves"]]


def find(world: World, id: str, param: str = "id") -> Obj:
    """Return a payment method; Stripe's names of test cards, such as pm_card_visa, give a new one each time."""
    token = id.removeprefix("pm_card_")
    if token != id and token in BY_TOKEN:
        return make(world, BY_TOKEN[token])
    return world.store.get("payment_method", id, param)


def usable(world: World, id: str, customer: str | None) -> Obj:
    """Return a payment method for a customer's payment. Raise Stripe's error if it is not theirs."""
    method = find(world, id, "payment_method")
    if method["_used_up"]:
        raise ApiError(400, USED_UP, code="payment_method_unexpected_state", param="payment_method")
    if method["customer"] is not None and method["customer"] != customer:
        text = f"The customer does not have a payment method with the ID {id}. The payment method must be attached to "
        raise ApiError(400, text + "the customer.", code="missing", param="payment_method")
    return method


def declined(method: Obj, decline_code: str, **more: Any) -> ApiError:
    """Return Stripe's answer for a declined card."""
    return ApiError(
        402,
        decline_message(decline_code),
        type="card_error",
        code=error_code(decline_code),
        decline_code=decline_code if error_code(decline_code) in ("card_declined", "authentication_required") else None,
        param="exp_month" if decline_code == "expired_card" else "cvc" if decline_code == "incorrect_cvc" else None,
        payment_method=dict(method),
        **more,
    )


def attach_to(world: World, method: Obj, customer_id: str) -> None:
    """Save a card with a customer. Raise Stripe's error if its bank says no."""
    if method["customer"] == customer_id:
        return
    check_attachable(method)
    method["customer"] = customer_id
    world.emit("payment_method.attached", method)


def check_attachable(method: Obj) -> None:
    if method["customer"] is not None:
        text = "The payment method you provided has already been attached to a customer."
        raise ApiError(400, text, code="payment_method_unexpected_state")
    if method["_used_up"]:
        raise ApiError(400, USED_UP, code="payment_method_unexpected_state")
    if refusal := behaviour(method).declines:
        raise declined(method, refusal)


@api(
    "POST",
    "/v1/payment_methods",
    {
        "type": Enum("card", required=True),
        "card": Hash({"token": Text(), "number": Text(), "exp_month": Int(), "exp_year": Int(), "cvc": Text()}),
        "billing_details": BILLING,
        "metadata": Metadata(),
        "allow_redisplay": REDISPLAY,
    },
)
def create_payment_method(call: Call) -> Obj:
    card = call.get("card")
    if card is None:
        raise missing("card")
    if "number" in card:
        raise ApiError(
            402,
            "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test "
            "tokens that map to the test card you are using, see https://stripe.com/docs/testing.",
        )
    token = str(card.get("token", "")).removeprefix("tok_")
    if token not in BY_TOKEN:
        raise no_such("token", card.get("token", ""), "card[token]")
    return make(
        call.world,
        BY_TOKEN[token],
        billing_details=call.get("billing_details"),
        allow_redisplay=call.get("allow_redisplay", "unspecified"),
        metadata=merged_metadata({}, call.get("metadata", {})),
    )


@api("GET", "/v1/payment_methods/<id>")
def retrieve_payment_method(call: Call, id: str) -> Obj:
    return find(call.world, id)


UPDATES: dict[str, Kind] = {
    "allow_redisplay": REDISPLAY,
    "billing_details": BILLING,
    "card": Hash({"exp_month": Int(least=1, most=12), "exp_year": Int()}),
    "metadata": Metadata(),
}


@api("POST", "/v1/payment_methods/<id>", UPDATES)
def update_payment_method(call: Call, id: str) -> Obj:
    method = call.world.store.get("payment_method", id)
    if method["customer"] is None:
        text = "You must save this PaymentMethod to a customer before you can update it."
        raise ApiError(400, text, code="payment_method_unexpected_state")
    with call.world.updating(method, "payment_method.updated"):
        for name, value in call.params.items():
            if name == "metadata":
                method["metadata"] = merged_metadata(method["metadata"], value)
            elif name == "card":
                method["card"] = {**method["card"], **value}
            elif name == "billing_details":
                method["billing_details"] = billing_details({**method["billing_details"], **value})
            else:
                method[name] = value
    return method


@api("POST", "/v1/payment_methods/<id>/attach", {"customer": Text(required=True)})
def attach(call: Call, id: str) -> Obj:
    customer = call.world.store.customer(call["customer"], "customer")
    method = find(call.world, id)
    attach_to(call.world, method, customer["id"])
    return method


@api("POST", "/v1/payment_methods/<id>/detach")
def detach(call: Call, id: str) -> Obj:
    method = call.world.store.get("payment_method", id)
    if method["customer"] is None:
        text = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise ApiError(400, text, code="payment_method_unexpected_state")
    detach_from(call.world, method)
    return method


def detach_from(world: World, method: Obj) -> None:
    """Take a card from its customer; it can't be used again."""
    customer = world.store.get("customer", method["customer"])
    with world.updating(method, "payment_method.detached"):
        method["customer"], method["_used_up"] = None, True
    if not customer.get("deleted") and customer["invoice_settings"]["default_payment_method"] == method["id"]:
        with world.updating(customer, "customer.updated"):
            customer["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": None}


def _of(call: Call, customer_id: str) -> Obj:
    found = call.world.store.all("payment_method", customer=customer_id, type=call.get("type"))
    wanted = call.get("allow_redisplay")
    return paged(call, (one for one in found if wanted in (None, one["allow_redisplay"])))


OF_CUSTOMER: dict[str, Kind] = {**LISTED, "type": Text(), "allow_redisplay": REDISPLAY}


@api("GET", "/v1/payment_methods", {**OF_CUSTOMER, "customer": Text()})
def list_payment_methods(call: Call) -> Obj:
    if "customer" not in call.params:
        return paged(call, ())  # Stripe lists none that has no customer
    return _of(call, call.world.store.customer(call["customer"], "customer")["id"])


@api("GET", "/v1/customers/<customer>/payment_methods", OF_CUSTOMER)
def list_of_customer(call: Call, customer: str) -> Obj:
    return _of(call, call.world.store.customer(customer)["id"])


@api("GET", "/v1/customers/<customer>/payment_methods/<id>")
def retrieve_of_customer(call: Call, customer: str, id: str) -> Obj:
    method = call.world.store.get("payment_method", id)
    if method["customer"] != call.world.store.customer(customer)["id"]:
        raise no_such("PaymentMethod", id)
    return method


def client_secret(id: str) -> str:
    return f"{id}_secret_{random_part(25)}"
