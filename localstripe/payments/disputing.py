"""How a dispute goes. Source: https://docs.stripe.com/disputes/how-disputes-work, https://docs.stripe.com/api/disputes"""

from localstripe.clock import job
from localstripe.errors import ApiError
from localstripe.store import Obj
from localstripe.world import World

from . import balance, charges
from .cards import TestCard

FOLLOWS_AFTER = 1.0  # seconds after the charge of a card that disputes
EVIDENCE_DAYS = 9
OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
EVIDENCE = (
    *("access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure"),
    *("cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name"),
    *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation"),
    *("duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure"),
    *("refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier"),
    *("shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file"),
    "uncategorized_text",
)
NETWORK_CODES = {"fraudulent": "10.4", "product_not_received": "13.1", "duplicate": "12.6", "general": "11.2"}


def may_follow(world: World, charge: Obj, card: TestCard) -> None:
    """Have a charge disputed a little later if its card does that."""
    if not card.disputes:
        return
    world.after(FOLLOWS_AFTER, _dispute, charge["id"], card.disputes)


@job
def _dispute(world: World, charge_id: str, kind: str) -> None:
    charge, inquiry = world.store.get("charge", charge_id), kind == "inquiry"
    if not charge["disputed"]:
        open_one(world, charge, reason="fraudulent" if inquiry else kind, inquiry=inquiry)


def open_one(
    world: World, charge: Obj, *, reason: str = "fraudulent", amount: int | None = None, inquiry: bool = False
) -> Obj:
    """Dispute a charge: the money goes at once, unless it is but an inquiry."""
    if charge["disputed"] or not charge["paid"]:
        raise ApiError(400, f"Charge {charge['id']} can't be disputed: it is unpaid, or disputed already.")
    amount = charge["amount"] if amount is None else amount
    if not 0 < amount <= charge["amount"]:
        raise ApiError(400, f"A dispute of {charge['id']} is over 1 to {charge['amount']}.", param="amount")
    brand = charge["payment_method_details"]["card"]["brand"]
    dispute = world.new(
        "dispute",
        "du",
        amount=amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        evidence_details={
            "due_by": world.clock.now() + EVIDENCE_DAYS * balance.DAYS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=inquiry,
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "card": {
                "brand": brand,
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": brand,
                "network_reason_code": NETWORK_CODES.get(reason, "11.2"),
            },
            "type": "card",
        },
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    charges.settled(world, charge)
    charge["disputed"] = True
    if inquiry:
        world.emit("charge.dispute.created", dispute)
        return dispute
    _move(world, dispute, -amount, "dispute", fee=balance.DISPUTE_FEE)
    world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _move(world: World, dispute: Obj, amount: int, category: str, fee: int) -> None:
    text = "Chargeback withdrawal" if amount < 0 else "Chargeback reversal"
    moved = balance.book(
        world,
        "adjustment",
        amount,
        dispute["currency"],
        dispute,
        category=category,
        fee=fee,
        text=f"{text} for {dispute['charge']}",
    )
    dispute["balance_transactions"].append(dict(moved))


def close(world: World, dispute: Obj, *, won: bool) -> None:
    """End a dispute, for the merchant if `won`."""
    if dispute["status"] not in OPEN:
        raise ApiError(400, f"This dispute is already closed, with the status {dispute['status']}.")
    inquiry = dispute["status"].startswith("warning_")
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    if won and not inquiry:
        _move(world, dispute, dispute["amount"], "dispute_reversal", fee=-balance.DISPUTE_FEE)
        world.emit("charge.dispute.funds_reinstated", dispute)
    world.emit("charge.dispute.closed", dispute)
