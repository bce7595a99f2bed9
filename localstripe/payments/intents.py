"""How a payment goes: the states of a PaymentIntent. Source: https://docs.stripe.com/payments/paymentintents/lifecycle"""

from collections.abc import Callable
from typing import Any

from localstripe import ids
from localstripe.errors import ApiError
from localstripe.store import Obj
from localstripe.world import World

from . import charges, disputing
from .payment_methods import attach_to, behaviour, client_secret, declined, usable

AUTHENTICATION = "authentication_required"
CAN_CANCEL = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")
# Called when a payment has succeeded, or when an attempt has failed: an invoice or a Checkout session may wait for it.
AFTERWARDS: list[Callable[[World, Obj], None]] = []


def make(
    world: World,
    *,
    amount: int,
    currency: str,
    customer: str | None = None,
    metadata: dict[str, str] | None = None,
    **fields: Any,
) -> Obj:
    """Make an intent and tell of it; nothing is charged yet."""
    id = ids.new("pi")
    usual: Obj = {
        "allowed_payment_method_types": None,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": client_secret(id),
        "confirmation_method": "automatic",
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "transfer_data": None,
        "transfer_group": None,
    }
    intent = world.new(
        "payment_intent",
        "pi",
        **{
            **usual,
            "id": id,
            "amount": amount,
            "currency": currency,
            "customer": customer,
            "metadata": metadata or {},
            "status": "requires_confirmation" if fields.get("payment_method") else "requires_payment_method",
            **fields,
        },
    )
    world.emit("payment_intent.created", intent)
    return world.indexed(intent)


def unexpected(intent: Obj, message: str) -> ApiError:
    error = ApiError(400, message, code=f"{intent['object']}_unexpected_state")
    error.error[intent["object"]] = intent
    return error


def check_confirmable(intent: Obj) -> None:
    if intent["status"] == "succeeded":
        text = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
        raise unexpected(intent, text)
    if intent["status"] == "canceled":
        raise unexpected(intent, _only(intent, "confirm", ("requires_confirmation", "requires_action")))


def _only(intent: Obj, verb: str, statuses: tuple[str, ...]) -> str:
    past = {"confirm": "confirmed", "cancel": "canceled", "capture": "captured", "update": "updated"}[verb]
    return (
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
        f"with one of the following statuses may be {past}: {', '.join(statuses)}."
    )


def confirm(
    world: World,
    intent: Obj,
    method_id: str,
    *,
    off_session: bool = False,
    return_url: str | None = None,
    error_on_action: bool = False,
) -> None:
    """Try to take the money. Raise Stripe's card error if it is declined; the intent then says so."""
    check_confirmable(intent)
    method = usable(world, method_id, intent["customer"])
    intent["payment_method"] = method["id"]
    if needs_authentication(method, off_session=off_session):
        if off_session or error_on_action:
            raise fail(world, intent, method, AUTHENTICATION)
        ask_for_action(world, intent, return_url)
        return
    charge(world, intent, method)


def needs_authentication(method: Obj, *, off_session: bool) -> bool:
    kind = behaviour(method).authenticates
    return kind == "always" or (kind == "unless_set_up" and not (off_session and method["_set_up"]))


def ask_for_action(world: World, intent: Obj, return_url: str | None) -> None:
    """Have whoever pays go to the bank's page, which lets them come back to `return_url`."""
    key = ids.random_part(24)
    url = f"{world.config.base_url}/3ds/{intent['id']}?key={key}"
    intent["_action_key"], intent["_return_url"] = key, return_url
    if return_url:
        intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    else:
        intent["next_action"] = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
        }
    intent["status"] = "requires_action"
    world.emit(f"{intent['object']}.requires_action", intent)
    world.indexed(intent)


def charge(world: World, intent: Obj, method: Obj, *, authenticated: bool = False) -> None:
    """Charge the card. Raise Stripe's card error if it is declined."""
    if decline_code := charges.refusal(world, method):
        raise fail(world, intent, method, decline_code, authenticated=authenticated)
    if intent["setup_future_usage"] and intent["customer"]:
        attach_to(world, method, intent["customer"])
        method["_set_up"] = method["_set_up"] or authenticated
    elif method["customer"] is None:
        method["_used_up"] = True
    made = charges.make(world, intent, method, authenticated=authenticated)
    intent["latest_charge"] = made["id"]
    intent["amount_received"] = intent["amount"]
    intent["next_action"] = intent["last_payment_error"] = None
    intent["status"] = "succeeded"
    world.emit("payment_intent.succeeded", intent)
    world.indexed(intent)
    disputing.may_follow(world, made, behaviour(method))
    afterwards(world, intent)


def fail(world: World, intent: Obj, method: Obj, decline_code: str, *, authenticated: bool = False) -> ApiError:
    """Note a declined attempt, and return the error to raise."""
    made = charges.make(world, intent, method, decline_code=decline_code, authenticated=authenticated)
    intent["latest_charge"] = made["id"]
    error = declined(method, decline_code, charge=made["id"])
    error.error["advice_code"] = made["outcome"]["advice_code"]
    error.error["network_decline_code"] = made["outcome"]["network_decline_code"]
    _failed(world, intent, error)
    return error


def fail_authentication(world: World, intent: Obj) -> None:
    """Note that whoever pays did not pass the bank's page."""
    text = "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    method = world.store.get("payment_method", intent["payment_method"])
    code = "payment_intent_authentication_failure"
    _failed(world, intent, ApiError(402, text, type="card_error", code=code, payment_method=dict(method)))


def _failed(world: World, intent: Obj, error: ApiError) -> None:
    error.error = {name: value for name, value in error.error.items() if value is not None}
    intent["last_payment_error"] = dict(error.error)
    intent["payment_method"] = intent["next_action"] = None
    intent["status"] = "requires_payment_method"
    world.emit("payment_intent.payment_failed", intent)
    world.indexed(intent)
    error.error["payment_intent"] = intent
    afterwards(world, intent)


def afterwards(world: World, intent: Obj) -> None:
    for act in AFTERWARDS:
        act(world, intent)


def authenticated(world: World, intent: Obj) -> None:
    """Go on after the bank's page was passed."""
    method = world.store.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    try:
        charge(world, intent, method, authenticated=True)
    except ApiError:
        return  # declined: the intent says so


def cancel(world: World, intent: Obj, reason: str | None) -> None:
    if intent["status"] not in CAN_CANCEL:
        raise unexpected(intent, _only(intent, "cancel", CAN_CANCEL))
    intent["status"], intent["canceled_at"] = "canceled", world.clock.now()
    intent["cancellation_reason"], intent["next_action"] = reason, None
    world.emit("payment_intent.canceled", intent)
    world.indexed(intent)
