"""Giving money back. Source: https://docs.stripe.com/api/refunds, https://docs.stripe.com/refunds#failed-refunds"""

from typing import Any

from localstripe.clock import job
from localstripe.errors import ApiError, missing
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, Enum, Int, Metadata, Text, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from . import balance, charges
from .currencies import check_multiple, written
from .payment_methods import behaviour

LATER = 5.0  # seconds until a pending refund succeeds or fails, and until a reference is known


@api(
    "POST",
    "/v1/refunds",
    {
        "charge": Text(),
        "payment_intent": Text(),
        "amount": Int(least=1),
        "reason": Enum("duplicate", "fraudulent", "requested_by_customer"),
        "metadata": Metadata(),
    },
)
def create_refund(call: Call) -> Obj:
    charge = _charge_of(call)
    amount = _amount(call, charge)
    kind = str(call.world.faults["cards"]["refunds"] or _behaviour_of(call.world, charge))
    return make(
        call.world,
        charge,
        amount,
        kind=kind,
        reason=call.get("reason"),
        metadata=merged_metadata({}, call.get("metadata", {})),
    )


def _charge_of(call: Call) -> Obj:
    store = call.world.store
    if "payment_intent" not in call.params:
        if "charge" not in call.params:
            raise missing("payment_intent")
        return store.get("charge", call["charge"], "charge")
    intent = store.get("payment_intent", call["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        text = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise ApiError(400, text, param="payment_intent")
    return store.get("charge", intent["latest_charge"], "payment_intent")


def _amount(call: Call, charge: Obj) -> int:
    left = charge["amount"] - charge["amount_refunded"]
    if not charge["paid"]:
        raise ApiError(400, f"Charge {charge['id']} has failed; it can't be refunded.", param="charge")
    disputes = list(call.world.store.all("dispute", charge=charge["id"]))
    if any(not dispute["is_charge_refundable"] and dispute["status"] != "won" for dispute in disputes):
        text = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise ApiError(400, text, code="charge_disputed")
    if left == 0:
        raise ApiError(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount: int = call.get("amount", left)
    currency = charge["currency"]
    if amount > left:
        more = f"({written(amount, currency)}) is greater than unrefunded amount on charge ({written(left, currency)})"
        raise ApiError(400, f"Refund amount {more}", param="amount")
    check_multiple(amount, currency)
    return amount


def _behaviour_of(world: World, charge: Obj) -> str:
    method = world.store.find(charge["payment_method"])
    return behaviour(method).refunds if method else ""


def make(world: World, charge: Obj, amount: int, *, kind: str = "", **fields: Any) -> Obj:
    """Refund a charge. `kind`: "" at once, "pending" some time later, "fails" or "failed" some time later not."""
    charges.settled(world, charge)
    refund = world.new(
        "refund",
        "re",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        customer=charge["customer"],
        customer_account=None,
        payment_method=charge["payment_method"],
        destination_details={"card": {"type": "refund", "reference_status": "pending"}, "type": "card"},
        payment_intent=charge["payment_intent"],
        receipt_number=None,
        source_transfer_reversal=None,
        status="pending" if kind in ("pending", "failed") else "succeeded",
        transfer_reversal=None,
        **{"balance_transaction": None, "reason": None, "metadata": {}, **fields},
    )
    del refund["livemode"]
    if refund["status"] == "pending":
        refund["pending_reason"] = "processing"
    refund["balance_transaction"] = _move(world, refund, -amount, "refund", "refund")
    world.emit("refund.created", refund)
    with world.updating(charge, None):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    world.emit("charge.refunded", charge)
    world.after(LATER, _later, refund["id"], kind in ("fails", "failed"))
    return refund


def _move(world: World, refund: Obj, amount: int, kind: str, category: str) -> str:
    text = "REFUND FOR CHARGE" if amount < 0 else "REFUND FAILURE FOR CHARGE"
    moved = balance.book(world, kind, amount, refund["currency"], refund, category=category, text=text)
    return str(moved["id"])


@job
def _later(world: World, refund_id: str, fails: bool) -> None:
    refund = world.store.get("refund", refund_id)
    if refund["status"] not in ("pending", "succeeded"):
        return
    if fails:
        fail(world, refund)
        return
    with world.updating(refund, "refund.updated"):
        refund["status"] = "succeeded"
        refund.pop("pending_reason", None)
        card = {"type": "refund", "reference": "7000000000000001", "reference_status": "available"}
        refund["destination_details"] = {
            "card": {**card, "reference_type": "acquirer_reference_number"},
            "type": "card",
        }
    world.emit("charge.refund.updated", refund)


def fail(world: World, refund: Obj, reason: str = "lost_or_stolen_card") -> None:
    """The money comes back to the balance, and the charge is unrefunded by as much."""
    charge = world.store.get("charge", refund["charge"])
    with world.updating(refund, "refund.updated"):
        refund["status"], refund["failure_reason"] = "failed", reason
        refund.pop("pending_reason", None)
        refund["failure_balance_transaction"] = _move(
            world, refund, refund["amount"], "refund_failure", "refund_failure"
        )
    with world.updating(charge, "charge.updated"):
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
    world.emit("charge.refund.updated", refund)
    world.emit("refund.failed", refund)


@api("GET", "/v1/refunds", {**LISTED, **CREATED, "charge": Text(), "payment_intent": Text()})
def list_refunds(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("charge", "payment_intent")}
    return paged(call, call.world.store.all("refund", **equal))


@api("GET", "/v1/refunds/<id>")
def retrieve_refund(call: Call, id: str) -> Obj:
    return call.world.store.get("refund", id)


@api("POST", "/v1/refunds/<id>", {"metadata": Metadata()})
def update_refund(call: Call, id: str) -> Obj:
    refund = call.world.store.get("refund", id)
    with call.world.updating(refund, "refund.updated"):
        refund["metadata"] = merged_metadata(refund["metadata"], call.get("metadata", {}))
    return refund


@api("POST", "/v1/refunds/<id>/cancel")
def cancel_refund(call: Call, id: str) -> Obj:
    refund = call.world.store.get("refund", id)
    text = f"A refund with a status of {refund['status']} can't be canceled, only one that requires action."
    raise ApiError(400, text)
