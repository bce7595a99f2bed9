"""Saving a card for later. Source: https://docs.stripe.com/api/setup_intents"""

from typing import Any

from localstripe import ids
from localstripe.errors import ApiError, invalid
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, Bool, Enum, Int, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from . import intents
from .payment_intents import AUTOMATIC, NEED_RETURN
from .payment_methods import attach_to, behaviour, client_secret, declined, usable


def make(world: World, *, customer: str | None = None, metadata: dict[str, str] | None = None, **fields: Any) -> Obj:
    id = ids.new("seti")
    usual: Obj = {
        "allowed_payment_method_types": None,
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": client_secret(id),
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "mandate": None,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "usage": "off_session",
    }
    status = "requires_confirmation" if fields.get("payment_method") else "requires_payment_method"
    known = {"id": id, "customer": customer, "metadata": metadata or {}, "status": status}
    intent = world.new("setup_intent", "seti", 24, **{**usual, **known, **fields})
    world.emit("setup_intent.created", intent)
    return intent


def confirm(world: World, intent: Obj, method_id: str, *, return_url: str | None = None) -> None:
    """Try to save a card. Raise Stripe's card error if its bank says no; the intent then says so."""
    if intent["status"] in ("succeeded", "canceled"):
        text = f"You cannot confirm this SetupIntent because it has a status of {intent['status']}."
        raise intents.unexpected(intent, text)
    method = usable(world, method_id, intent["customer"])
    intent["payment_method"] = method["id"]
    if refusal := behaviour(method).declines:
        error = declined(method, refusal)
        _failed(world, intent, error)
        raise error
    kind = behaviour(method).authenticates
    if kind == "always" or (kind and not method["_set_up"]):
        intents.ask_for_action(world, intent, return_url)
        return
    succeed(world, intent)


def succeed(world: World, intent: Obj) -> None:
    method = world.store.get("payment_method", intent["payment_method"])
    method["_set_up"] = True
    if intent["customer"]:
        attach_to(world, method, intent["customer"])
    intent["status"], intent["next_action"], intent["last_setup_error"] = "succeeded", None, None
    world.emit("setup_intent.succeeded", intent)
    intents.afterwards(world, intent)


def authenticated(world: World, intent: Obj) -> None:
    """Go on after the bank's page was passed."""
    succeed(world, intent)


def fail_authentication(world: World, intent: Obj) -> None:
    text = "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    method = world.store.get("payment_method", intent["payment_method"])
    code = "setup_intent_authentication_failure"
    _failed(world, intent, ApiError(402, text, type="card_error", code=code, payment_method=dict(method)))


def _failed(world: World, intent: Obj, error: ApiError) -> None:
    intent["last_setup_error"] = dict(error.error)
    intent["payment_method"] = intent["next_action"] = None
    intent["status"] = "requires_payment_method"
    world.emit("setup_intent.setup_failed", intent)
    error.error["setup_intent"] = intent
    intents.afterwards(world, intent)


FIELDS: dict[str, Kind] = {
    "customer": Text(),
    "description": Text(clear=True),
    "metadata": Metadata(),
    "payment_method": Text(),
    "allowed_payment_method_types": List(Text()),
}


@api(
    "POST",
    "/v1/setup_intents",
    {
        **FIELDS,
        "automatic_payment_methods": AUTOMATIC,
        "confirm": Bool(),
        "return_url": Url(),
        "usage": Enum("off_session", "on_session"),
    },
)
def create_setup(call: Call) -> Obj:
    world, confirms = call.world, call.get("confirm", False)
    if "return_url" in call.params and not confirms:
        raise invalid("You cannot set `return_url` without also setting `confirm` to `true`.", "return_url")
    automatic = None
    if "allowed_payment_method_types" not in call.params:
        automatic = {"allow_redirects": "always", **call.get("automatic_payment_methods", {"enabled": True})}
    if confirms and automatic and automatic["allow_redirects"] == "always" and "return_url" not in call.params:
        raise ApiError(400, NEED_RETURN.replace("PaymentIntent", "SetupIntent"))
    customer = world.store.customer(call["customer"], "customer")["id"] if "customer" in call.params else None
    method = usable(world, call["payment_method"], customer)["id"] if "payment_method" in call.params else None
    intent = make(
        world,
        customer=customer,
        metadata=merged_metadata({}, call.get("metadata", {})),
        description=call.get("description"),
        payment_method=method,
        allowed_payment_method_types=call.get("allowed_payment_method_types"),
        payment_method_types=call.get("allowed_payment_method_types", ["card"]),
        automatic_payment_methods=automatic,
        usage=call.get("usage", "off_session"),
    )
    if confirms and method is not None:
        confirm(world, intent, method, return_url=call.get("return_url"))
    return intent


@api("GET", "/v1/setup_intents", {**LISTED, **CREATED, "customer": Text(), "payment_method": Text(), "limit": Int()})
def list_setups(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("customer", "payment_method")}
    return paged(call, call.world.store.all("setup_intent", **equal))


@api("GET", "/v1/setup_intents/<id>", {"client_secret": Text()})
def retrieve_setup(call: Call, id: str) -> Obj:
    return call.world.store.get("setup_intent", id)


@api("POST", "/v1/setup_intents/<id>/confirm", {"payment_method": Text(), "return_url": Url()})
def confirm_setup(call: Call, id: str) -> Obj:
    intent = call.world.store.get("setup_intent", id)
    method_id = call.get("payment_method") or intent["payment_method"]
    if method_id is None:
        text = "You cannot confirm this SetupIntent because it's missing a payment method."
        raise intents.unexpected(intent, text)
    confirm(call.world, intent, method_id, return_url=call.get("return_url"))
    return intent


@api(
    "POST",
    "/v1/setup_intents/<id>/cancel",
    {"cancellation_reason": Enum("abandoned", "duplicate", "requested_by_customer")},
)
def cancel_setup(call: Call, id: str) -> Obj:
    intent = call.world.store.get("setup_intent", id)
    if intent["status"] in ("succeeded", "canceled"):
        text = f"You cannot cancel this SetupIntent because it has a status of {intent['status']}."
        raise intents.unexpected(intent, text)
    intent["status"], intent["next_action"] = "canceled", None
    intent["cancellation_reason"] = call.get("cancellation_reason")
    call.world.emit("setup_intent.canceled", intent)
    return intent
