"""A cardholder objects to a payment: its bank takes the money back at once, and returns it if we win.

What is taken from credit follows the money: nothing while the bank only asks (Stripe's `warning_…`), the amount when it
objects, and back when the dispute is won. A dispute that is lost stays taken.
Source: https://docs.stripe.com/disputes/how-disputes-work
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import credit, events
from accounts.models import Credit
from payments import autotopup, client, invoices, topups
from payments.models import Customer, Dispute, TopUp

if TYPE_CHECKING:
    from stripe import StripeObject

logger = logging.getLogger(__name__)

OPENED = "dispute.opened"
TAKEN = ("needs_response", "under_review", "lost", "won")  # the bank has the money, or has had it
WON = "won"
# Later words of a dispute replace earlier ones, in whichever order they are read. An inquiry may become a dispute.
RANK = {
    **{"warning_needs_response": 0, "warning_under_review": 1, "warning_closed": 2},
    **{"needs_response": 3, "under_review": 4, "prevented": 5, "lost": 6, "won": 7},
}
CLOSED = ("warning_closed", "prevented", "lost", WON)


def fold_dispute(found: StripeObject) -> bool:
    """Fold a dispute into its row and into credit; False if its payment is none of ours. Raise StripeTrouble."""
    facts = client.plain(found)
    if not client.of_our_mode(facts):
        return False
    topup = topups.paid_by(client.id_of(facts.get("payment_intent")))
    if topup is None:
        return _fold_of_invoice(facts)
    if facts["currency"] != settings.BILLING_CURRENCY:
        logger.error("dispute in another currency", extra={"topup": str(topup.pk), "dispute": facts["id"]})
        return True
    with transaction.atomic():
        TopUp.objects.select_for_update(no_key=True).get(pk=topup.pk)
        dispute = _noted(topup, facts)
        if is_taken(facts):
            _take(topup, dispute)
        if facts["status"] == WON:
            # What was taken: the amount may have been another at first.
            credit.book(topup.customer_id, "won", dispute.cents, f"{dispute.pk}:won")
    return True


def is_taken(facts: dict[str, Any]) -> bool:
    """Return whether the bank has the money, or has had it.

    One that was prevented never was a dispute, but the cardholder may have the money: Stripe's "resolution", as opposed
    to a "block". Source: https://docs.stripe.com/changelog/basil/2025-08-27/add-preventions-to-dispute
    """
    withdrawn = any(one["amount"] < 0 for one in facts.get("balance_transactions") or [])
    return facts["status"] in TAKEN or (facts["status"] == "prevented" and withdrawn)


def _fold_of_invoice(facts: dict[str, Any]) -> bool:
    """Do the same for an invoice that a metered customer has paid, up to what was credited of it."""
    invoice = invoices.paid_by(client.id_of(facts.get("payment_intent")))
    if invoice is None:
        return False
    cents = invoice.usage_cents * facts["amount"] // max(invoice.total_cents, facts["amount"])  # without the taxes
    data = {
        "dispute_id": facts["id"],
        "invoice_id": invoice.pk,
        "cents": cents,
        "currency": settings.BILLING_CURRENCY,
        "reason": facts["reason"],
    }
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=invoice.customer_id)
        taken = Credit.objects.filter(source=facts["id"]).first()
        if is_taken(facts) and taken is None and cents:
            events.tell(invoice.customer_id, OPENED, f"{OPENED}:{facts['id']}", data)
            credit.book(invoice.customer_id, "dispute", -cents, facts["id"], note=f"{invoice}: {facts['reason']}")
            logger.error("invoice disputed", extra={"invoice": invoice.pk, "dispute": facts["id"]})
        if facts["status"] == WON:
            credit.book(invoice.customer_id, "won", cents if taken is None else -taken.cents, f"{facts['id']}:won")
    return True


def _noted(topup: TopUp, facts: dict[str, Any]) -> Dispute:
    status, due_by = facts["status"], (facts.get("evidence_details") or {}).get("due_by")
    told: dict[str, Any] = {
        "status": status,
        "reason": facts["reason"],
        "due_by": dt.datetime.fromtimestamp(due_by, dt.UTC) if due_by else None,
    }
    dispute, made = Dispute.objects.get_or_create(
        id=facts["id"],
        defaults=told
        | {
            "topup": topup,
            "cents": facts["amount"],
            "opened_at": dt.datetime.fromtimestamp(facts["created"], dt.UTC),
            "closed_at": timezone.now() if status in CLOSED else None,
        },
    )
    if made or RANK.get(status, 0) < RANK.get(dispute.status, 0):
        return dispute
    if dispute.status not in TAKEN:
        told["cents"] = facts["amount"]
    closes = {"closed_at": timezone.now()} if status in CLOSED and dispute.closed_at is None else {}
    Dispute.objects.filter(pk=dispute.pk).update(**told, **closes)
    dispute.refresh_from_db()
    return dispute


def _take(topup: TopUp, dispute: Dispute) -> None:
    why = "A payment is disputed."
    autotopup.switch_off(topup.customer, why=why)  # who objects to one charge wants no others
    data = {
        "dispute_id": dispute.pk,
        "topup_id": str(topup.pk),
        "cents": dispute.cents,
        "currency": settings.BILLING_CURRENCY,
        "reason": dispute.reason,
    }
    events.tell(topup.customer_id, OPENED, f"{OPENED}:{dispute.pk}", data)
    if credit.book(topup.customer_id, "dispute", -dispute.cents, dispute.pk, note=dispute.reason):
        logger.warning("payment disputed", extra={"topup": str(topup.pk), "dispute": dispute.pk})
