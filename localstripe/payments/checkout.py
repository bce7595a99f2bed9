"""Checkout sessions: a hosted page that takes a card. Source: https://docs.stripe.com/api/checkout/sessions"""

from typing import Any

from localstripe import ids
from localstripe.clock import job
from localstripe.errors import ApiError, invalid, missing
from localstripe.lists import EXPANDERS, listed, paged
from localstripe.params import CREATED, LISTED, Bool, Enum, Hash, Int, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from . import currencies, intents, setup_intents
from .checkout_items import LINE_ITEM, line_items

HOURS = 3600
INTENT_DATA: dict[str, Kind] = {"description": Text(), "metadata": Metadata()}
REDISPLAY = Enum("always", "limited", "unspecified")
PARAMS: dict[str, Kind] = {
    "mode": Enum("payment", "setup", "subscription", required=True),
    "success_url": Text(),
    "cancel_url": Text(),
    "client_reference_id": Text(most=200),
    "currency": Text(),
    "customer": Text(),
    "customer_creation": Enum("always", "if_required"),
    "customer_email": Text(),
    "customer_update": Hash({name: Enum("auto", "never") for name in ("address", "name", "shipping")}),
    "expires_at": Int(),
    "line_items": List(LINE_ITEM),
    "locale": Text(),
    "metadata": Metadata(),
    "allowed_payment_method_types": List(Enum("card")),
    "payment_intent_data": Hash(
        {
            **INTENT_DATA,
            "capture_method": Enum("automatic", "automatic_async"),
            "receipt_email": Text(),
            "setup_future_usage": Enum("off_session", "on_session"),
            "statement_descriptor_suffix": Text(most=22),
        }
    ),
    "setup_intent_data": Hash(INTENT_DATA),
    "saved_payment_method_options": Hash(
        {
            "allow_redisplay_filters": List(REDISPLAY),
            "payment_method_remove": Enum("disabled", "enabled"),
            "payment_method_save": Enum("disabled", "enabled"),
        }
    ),
    "submit_type": Enum("auto", "book", "donate", "pay", "subscribe"),
    "ui_mode": Enum("hosted_page", "embedded_page", "elements", "form"),
    "billing_address_collection": Enum("auto", "required"),
    "automatic_tax": Hash({"enabled": Bool(required=True)}),
}


@api("POST", "/v1/checkout/sessions", PARAMS)
def create_session(call: Call) -> Obj:
    world, mode = call.world, call["mode"]
    _check(call)
    customer = world.store.customer(call["customer"], "customer")["id"] if "customer" in call.params else None
    items = line_items(call)
    total = sum(item["amount_total"] for item in items)
    currency = items[0]["currency"] if items else None
    if mode == "setup" and "currency" in call.params:
        currency = currencies.known(call["currency"])
    if mode == "payment":
        assert currency is not None
        currencies.check_amount(total, currency, "line_items[0][price_data][unit_amount]")
    now = world.clock.now()
    expires = call.get("expires_at", now + 24 * HOURS)
    if not now + HOURS // 2 - 60 <= expires <= now + 24 * HOURS + 60:
        text = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise invalid(text, "expires_at")
    session = _make(call, customer=customer, currency=currency, total=total, expires=expires)
    session["_line_items"] = items
    if mode == "setup":
        given = call.get("setup_intent_data", {})
        setup = setup_intents.make(
            world,
            customer=customer,
            metadata=merged_metadata({}, given.get("metadata", {})),
            description=given.get("description"),
            _session=session["id"],
        )
        session["setup_intent"] = setup["id"]
    world.at(expires, _expire_when_due, session["id"])
    return session


def _check(call: Call) -> None:
    mode = call["mode"]
    _check_supported(call)
    if "success_url" not in call.params:
        raise missing("success_url")
    for name in ("success_url", "cancel_url"):
        if name in call.params:
            Url().read(call[name], name)
    if mode == "payment" and not call.get("line_items"):
        raise missing("line_items")
    for name, needed in (("payment_intent_data", "payment"), ("setup_intent_data", "setup"), ("line_items", "payment")):
        if name in call.params and mode != needed:
            raise invalid(f"You can not pass `{name}` in `{mode}` mode.", name)
    if mode == "setup" and not {"currency", "allowed_payment_method_types"} & call.params.keys():
        raise missing("currency")
    if {"customer", "customer_email"} <= call.params.keys():
        text = "You may only specify one of these parameters: customer, customer_email."
        raise invalid(text, "customer")


def _check_supported(call: Call) -> None:
    """Raise an error of our own for what Stripe has and the local one has not."""
    if call.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("The local Stripe has hosted pages only: leave out ui_mode.", "ui_mode")
    if call["mode"] == "subscription":
        raise invalid("The local Stripe has no Checkout for subscriptions: use /v1/subscriptions.", "mode")
    if call.get("automatic_tax", {}).get("enabled"):
        raise invalid("The local Stripe computes no taxes.", "automatic_tax[enabled]")


def _make(call: Call, *, customer: str | None, currency: str | None, total: int, expires: int) -> Obj:
    world, payment = call.world, call["mode"] == "payment"
    id = "cs_test_a1" + ids.random_part(56)
    saving = call.get("saved_payment_method_options", {})
    fields: Obj = {
        "id": id,
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "allowed_payment_method_types": call.get("allowed_payment_method_types"),
        "amount_subtotal": total if payment else None,
        "amount_total": total if payment else None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": call.get("billing_address_collection"),
        "cancel_url": call.get("cancel_url"),
        "client_reference_id": call.get("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(["after_submit", "shipping_address", "submit", "terms_of_service_acceptance"]),
        "customer": customer,
        "customer_account": None,
        "customer_creation": None if customer or not payment else call.get("customer_creation", "if_required"),
        "customer_details": None,
        "customer_email": call.get("customer_email"),
        "discounts": [],
        "expires_at": expires,
        "invoice": None,
        "invoice_creation": None,
        "locale": call.get("locale"),
        "metadata": merged_metadata({}, call.get("metadata", {})),
        "mode": call["mode"],
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required" if payment else "always",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": call.get("allowed_payment_method_types", ["card"]),
        "payment_status": "unpaid" if payment else "no_payment_required",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": {
            "allow_redisplay_filters": saving.get("allow_redisplay_filters", ["always"]),
            "payment_method_remove": saving.get("payment_method_remove", "disabled"),
            "payment_method_save": saving.get("payment_method_save", "disabled"),
        }
        if customer and payment
        else None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": call.get("submit_type"),
        "subscription": None,
        "success_url": call["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0} if payment else None,
        "ui_mode": "hosted_page",
        "url": f"{world.config.base_url}/c/pay/{id}",
        "wallet_options": None,
        "_intent_data": call.get("payment_intent_data", {}),
    }
    return world.new("checkout.session", "cs", 24, **fields)


@api("GET", "/v1/checkout/sessions/<id>")
def retrieve_session(call: Call, id: str) -> Obj:
    return call.world.store.get("checkout.session", id)


@api(
    "GET",
    "/v1/checkout/sessions",
    {
        **LISTED,
        **CREATED,
        "customer": Text(),
        "payment_intent": Text(),
        "status": Enum("complete", "expired", "open"),
    },
)
def list_sessions(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("customer", "payment_intent", "status")}
    return paged(call, call.world.store.all("checkout.session", **equal))


@api("GET", "/v1/checkout/sessions/<id>/line_items", LISTED)
def list_line_items(call: Call, id: str) -> Obj:
    return paged(call, call.world.store.get("checkout.session", id)["_line_items"])


@api("POST", "/v1/checkout/sessions/<id>", {"metadata": Metadata()})
def update_session(call: Call, id: str) -> Obj:
    session = call.world.store.get("checkout.session", id)
    session["metadata"] = merged_metadata(session["metadata"], call.get("metadata", {}))
    return session


@api("POST", "/v1/checkout/sessions/<id>/expire")
def expire_session(call: Call, id: str) -> Obj:
    session = call.world.store.get("checkout.session", id)
    if session["status"] != "open":
        text = 'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
        raise ApiError(400, text + session["status"])
    expire(call.world, session)
    return session


def expire(world: World, session: Obj) -> None:
    session["status"], session["url"] = "expired", None
    for name in ("payment_intent", "setup_intent"):
        intent = world.store.find(session[name])
        if intent and intent["status"] not in ("succeeded", "canceled"):
            intent["status"], intent["next_action"] = "canceled", None
            if name == "payment_intent":
                intent["canceled_at"], intent["cancellation_reason"] = world.clock.now(), "expired"
                world.indexed(intent)
            world.emit(f"{name}.canceled", intent)
    world.emit("checkout.session.expired", session)


@job
def _expire_when_due(world: World, session_id: str) -> None:
    session = world.store.get("checkout.session", session_id)
    if session["status"] == "open":
        expire(world, session)


def complete_when_done(world: World, intent: Obj) -> None:
    """Complete the session whose payment or set-up has succeeded."""
    session = world.store.find(intent.get("_session"))
    if session is None or session["status"] != "open" or intent["status"] != "succeeded":
        return
    session["status"], session["url"] = "complete", None
    if session["mode"] == "payment":
        session["payment_status"] = "paid"
    world.emit("checkout.session.completed", session)


intents.AFTERWARDS.append(complete_when_done)


def _items_of(world: World, session: Obj) -> Any:
    return listed(session["_line_items"], f"/v1/checkout/sessions/{session['id']}/line_items")


EXPANDERS["checkout.session", "line_items"] = _items_of
