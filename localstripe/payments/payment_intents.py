"""Routes of PaymentIntents. Source: https://docs.stripe.com/api/payment_intents"""

from typing import Any

from localstripe.errors import ApiError, invalid, missing
from localstripe.lists import paged
from localstripe.params import (
    CREATED,
    LISTED,
    Bool,
    Enum,
    Hash,
    Int,
    Kind,
    List,
    Metadata,
    OneOf,
    Text,
    Url,
    merged_metadata,
)
from localstripe.routing import Call, api
from localstripe.store import Obj

from . import currencies, intents
from .payment_methods import usable
from .searching import SEARCHED, search

METHOD_OPTIONS = Hash({"card": Hash({"request_three_d_secure": Enum("any", "automatic", "challenge")})})
AUTOMATIC = Hash({"enabled": Bool(required=True), "allow_redirects": Enum("always", "never")})
FIELDS: dict[str, Kind] = {
    "customer": Text(),
    "description": Text(clear=True, most=1000),
    "metadata": Metadata(),
    "payment_method": Text(),
    "allowed_payment_method_types": List(Text()),
    "payment_method_options": METHOD_OPTIONS,
    "receipt_email": Text(clear=True),
    "setup_future_usage": Enum("off_session", "on_session", clear=True),
    "statement_descriptor_suffix": Text(most=22, clear=True),
}
CONFIRMING: dict[str, Kind] = {
    "off_session": OneOf(Bool(), Enum("one_off", "recurring")),
    "return_url": Url(),
    "error_on_requires_action": Bool(),
    "use_stripe_sdk": Bool(),
    "mandate": Text(),
}
NEED_RETURN = (
    "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these "
    "payment methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want "
    "to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
    "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
)


@api(
    "POST",
    "/v1/payment_intents",
    {
        **FIELDS,
        **CONFIRMING,
        "amount": Int(least=1, required=True),
        "currency": Text(required=True),
        "automatic_payment_methods": AUTOMATIC,
        "capture_method": Enum("automatic", "automatic_async"),
        "confirm": Bool(),
        "confirmation_method": Enum("automatic", "manual"),
    },
)
def create_intent(call: Call) -> Obj:
    world, confirm = call.world, call.get("confirm", False)
    currency = currencies.known(call["currency"])
    currencies.check_amount(call["amount"], currency)
    if not confirm:
        for name in ("off_session", "error_on_requires_action", "return_url"):
            if name in call.params:
                text = f"You cannot set `{name}` without also setting `confirm` to `true` on this PaymentIntent."
                raise invalid(text, name)
    elif "payment_method" not in call.params:
        raise _without_method(None)
    automatic = _automatic(call)
    if confirm:
        _check_return(call, automatic)
    customer = world.store.customer(call["customer"], "customer")["id"] if "customer" in call.params else None
    method = usable(world, call["payment_method"], customer)["id"] if "payment_method" in call.params else None
    kept = ("description", "receipt_email", "setup_future_usage", "statement_descriptor_suffix", "capture_method")
    intent = intents.make(
        world,
        amount=call["amount"],
        currency=currency,
        customer=customer,
        metadata=merged_metadata({}, call.get("metadata", {})),
        payment_method=method,
        allowed_payment_method_types=call.get("allowed_payment_method_types"),
        payment_method_types=call.get("allowed_payment_method_types", ["card"]),
        automatic_payment_methods=automatic,
        confirmation_method=call.get("confirmation_method", "automatic"),
        **{name: call[name] for name in kept if name in call.params},
    )
    if confirm and method is not None:
        _confirm(call, intent, method)
    return intent


def _automatic(call: Call) -> dict[str, Any] | None:
    """Since API version 2023-08-16 an intent takes what the dashboard has on, unless it names types."""
    if "allowed_payment_method_types" in call.params:
        if "automatic_payment_methods" in call.params:
            names = "automatic_payment_methods, allowed_payment_method_types"
            raise invalid(f"You may only specify one of these parameters: {names}.", "automatic_payment_methods")
        return None
    given = call.get("automatic_payment_methods", {"enabled": True})
    return {"allow_redirects": "always", **given} if given["enabled"] else None


def _check_return(call: Call, automatic: dict[str, Any] | None) -> None:
    if automatic and automatic["allow_redirects"] == "always" and "return_url" not in call.params:
        raise ApiError(400, NEED_RETURN)


def _without_method(intent: Obj | None) -> ApiError:
    text = (
        "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
        "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
        "method or ConfirmationToken."
    )
    if intent is None:
        return missing("payment_method")
    return intents.unexpected(intent, text)


def _confirm(call: Call, intent: Obj, method_id: str) -> None:
    intents.confirm(
        call.world,
        intent,
        method_id,
        off_session=bool(call.get("off_session", False)),
        return_url=call.get("return_url"),
        error_on_action=call.get("error_on_requires_action", False),
    )


@api("GET", "/v1/payment_intents", {**LISTED, **CREATED, "customer": Text()})
def list_intents(call: Call) -> Obj:
    return paged(call, call.world.store.all("payment_intent", customer=call.get("customer")))


@api("GET", "/v1/payment_intents/search", SEARCHED)
def search_intents(call: Call) -> Obj:
    return search(call, "payment_intent", {"amount", "created", "currency", "customer", "status"})


@api("GET", "/v1/payment_intents/<id>", {"client_secret": Text()})
def retrieve_intent(call: Call, id: str) -> Obj:
    return call.world.store.get("payment_intent", id)


@api(
    "POST",
    "/v1/payment_intents/<id>",
    {**FIELDS, "amount": Int(least=1), "currency": Text()},
)
def update_intent(call: Call, id: str) -> Obj:
    world, intent = call.world, call.world.store.get("payment_intent", id)
    money = {"amount", "currency", "customer", "payment_method", "setup_future_usage"} & call.params.keys()
    if money and intent["status"] in ("succeeded", "canceled"):
        text = f"This PaymentIntent's {min(money)} could not be updated because it has a status of {intent['status']}."
        raise intents.unexpected(intent, text)
    with world.updating(intent, None):
        if "currency" in call.params:
            intent["currency"] = currencies.known(call["currency"])
        if "amount" in call.params:
            intent["amount"] = call["amount"]
        if money & {"amount", "currency"}:
            currencies.check_amount(intent["amount"], intent["currency"])
        if "customer" in call.params:
            intent["customer"] = world.store.customer(call["customer"], "customer")["id"]
        if "payment_method" in call.params:
            intent["payment_method"] = usable(world, call["payment_method"], intent["customer"])["id"]
            intent["status"] = "requires_confirmation"
        if "metadata" in call.params:
            intent["metadata"] = merged_metadata(intent["metadata"], call["metadata"])
        for name in ("description", "receipt_email", "setup_future_usage", "statement_descriptor_suffix"):
            if name in call.params:
                intent[name] = call[name]
    return world.indexed(intent)


@api(
    "POST",
    "/v1/payment_intents/<id>/confirm",
    {
        **CONFIRMING,
        "payment_method": Text(),
        "setup_future_usage": FIELDS["setup_future_usage"],
        "receipt_email": Text(clear=True),
        "payment_method_options": METHOD_OPTIONS,
    },
)
def confirm_intent(call: Call, id: str) -> Obj:
    intent = call.world.store.get("payment_intent", id)
    intents.check_confirmable(intent)
    _not_of_checkout(intent, "confirm")
    method_id = call.get("payment_method") or intent["payment_method"]
    if method_id is None:
        raise _without_method(intent)
    _check_return(call, intent["automatic_payment_methods"])
    for name in ("setup_future_usage", "receipt_email"):
        if name in call.params:
            intent[name] = call[name]
    _confirm(call, intent, method_id)
    return intent


@api(
    "POST",
    "/v1/payment_intents/<id>/cancel",
    {"cancellation_reason": Enum("abandoned", "duplicate", "fraudulent", "requested_by_customer")},
)
def cancel_intent(call: Call, id: str) -> Obj:
    intent = call.world.store.get("payment_intent", id)
    if intent["status"] in intents.CAN_CANCEL:
        _not_of_checkout(intent, "cancel")
    intents.cancel(call.world, intent, call.get("cancellation_reason"))
    return intent


def _not_of_checkout(intent: Obj, verb: str) -> None:
    if intent.get("_session"):
        text = f"You cannot {verb} this PaymentIntent because it was created by Checkout. Expire the Checkout Session"
        raise intents.unexpected(intent, text + f" {intent['_session']} instead.")
