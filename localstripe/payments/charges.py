"""Attempts to take money from a card. Source: https://docs.stripe.com/api/charges"""

from typing import Any

from localstripe.clock import job
from localstripe.lists import EXPANDERS, listed, paged
from localstripe.params import CREATED, LISTED, Metadata, Text, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from . import balance
from .cards import ADVICE, TestCard, decline_message, error_code
from .payment_methods import behaviour, billing_details

SETTLES_AFTER = 1.0  # seconds until a charge captured asynchronously has its balance transaction


def refusal(world: World, method: Obj) -> str:
    """Return the decline code with which a card's bank answers a charge; blank if it pays."""
    card = behaviour(method)
    return str(world.faults["cards"]["decline"] or card.declines or card.declines_charges)


def make(world: World, intent: Obj, method: Obj, *, decline_code: str = "", authenticated: bool = False) -> Obj:
    """Charge a card for an intent, or note that it was declined."""
    paid = not decline_code
    charge = world.new(
        "charge",
        "ch",
        amount=intent["amount"],
        amount_captured=intent["amount"] if paid else 0,
        amount_refunded=0,
        application=None,
        application_fee=None,
        application_fee_amount=None,
        balance_transaction=None,
        billing_details=billing_details(method["billing_details"]),
        calculated_statement_descriptor="LOCAL STRIPE" if paid else None,
        captured=paid,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_balance_transaction=None,
        failure_code=None if paid else error_code(decline_code),
        failure_message=None if paid else decline_message(decline_code),
        fraud_details={},
        metadata=dict(intent["metadata"]),
        on_behalf_of=None,
        outcome=_outcome(decline_code),
        paid=paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_details(method, behaviour(method), intent["amount"], authenticated),
        presentment_details=None,
        radar_options={},
        receipt_email=intent["receipt_email"],
        receipt_number=None,
        receipt_url=None,
        refunded=False,
        review=None,
        shipping=None,
        source=None,
        source_transfer=None,
        statement_descriptor=None,
        statement_descriptor_suffix=None,
        status="succeeded" if paid else "failed",
        transfer_data=None,
        transfer_group=None,
    )
    if paid:
        charge["receipt_url"] = f"{world.config.base_url}/receipts/{charge['id']}"
        if intent["capture_method"] == "automatic":
            _settle(world, charge)
        else:
            world.after(SETTLES_AFTER, _settle_later, charge["id"])
    world.emit("charge.succeeded" if paid else "charge.failed", charge)
    return charge


def settled(world: World, charge: Obj) -> Obj:
    """Return a charge whose money has reached the balance, if need be now."""
    if charge["balance_transaction"] is None:
        _settle(world, charge)
    return charge


def _settle(world: World, charge: Obj) -> None:
    amount, currency = charge["amount"], charge["currency"]
    fee = balance.fee_of(amount, currency)
    moved = balance.book(
        world, "charge", amount, currency, charge, category="charge", fee=fee, text=charge["description"] or ""
    )
    charge["balance_transaction"] = moved["id"]


@job
def _settle_later(world: World, charge_id: str) -> None:
    charge = world.store.get("charge", charge_id)
    if charge["balance_transaction"] is None:
        with world.updating(charge, "charge.updated"):
            _settle(world, charge)


def _outcome(decline_code: str) -> Obj:
    usual: Obj = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if not decline_code:
        return usual
    return usual | {
        "advice_code": ADVICE.get(decline_code),
        "network_decline_code": "51" if decline_code == "insufficient_funds" else "05",
        "network_status": "declined_by_network",
        "reason": decline_code,
        "seller_message": "The bank did not return any further details with this decline."
        if decline_code == "generic_decline"
        else f"The bank returned the decline code `{decline_code}`.",
        "type": "issuer_declined",
    }


def _details(method: Obj, card: TestCard, amount: int, authenticated: bool) -> Obj:
    known = method["card"]
    secure: Obj | None = None
    if authenticated:
        secure = {
            "authentication_flow": "challenge",
            "electronic_commerce_indicator": "05",
            "exemption_indicator": None,
            "result": "authenticated",
            "result_reason": None,
            "transaction_id": None,
            "version": "2.2.0",
        }
    return {
        "card": {
            "amount_authorized": amount,
            "authorization_code": None,
            "brand": card.brand,
            "checks": dict(known["checks"]),
            "country": card.country,
            "exp_month": known["exp_month"],
            "exp_year": known["exp_year"],
            "extended_authorization": {"status": "disabled"},
            "fingerprint": known["fingerprint"],
            "funding": card.funding,
            "incremental_authorization": {"status": "unavailable"},
            "installments": None,
            "last4": known["last4"],
            "mandate": None,
            "multicapture": {"status": "unavailable"},
            "network": card.brand,
            "network_token": {"used": False},
            "network_transaction_id": None,
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "regulated_status": "unregulated",
            "three_d_secure": secure,
            "wallet": None,
        },
        "type": "card",
    }


@api("GET", "/v1/charges", {**LISTED, **CREATED, "customer": Text(), "payment_intent": Text()})
def list_charges(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("customer", "payment_intent")}
    return paged(call, call.world.store.all("charge", **equal))


@api("GET", "/v1/charges/<id>")
def retrieve_charge(call: Call, id: str) -> Obj:
    return call.world.store.get("charge", id)


@api("POST", "/v1/charges/<id>", {"description": Text(clear=True), "metadata": Metadata()})
def update_charge(call: Call, id: str) -> Obj:
    charge = call.world.store.get("charge", id)
    with call.world.updating(charge, "charge.updated"):
        if "description" in call.params:
            charge["description"] = call["description"]
        if "metadata" in call.params:
            charge["metadata"] = merged_metadata(charge["metadata"], call["metadata"])
    return charge


def _refunds(world: World, charge: Obj) -> Any:
    return listed(world.store.all("refund", charge=charge["id"]), f"/v1/charges/{charge['id']}/refunds")


EXPANDERS["charge", "refunds"] = _refunds
