"""Invoices of metered customers: Stripe makes, sends and collects them. What is paid of our usage is credited, once."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import credit
from accounts.models import Credit
from payments import catalog, client
from payments.models import Customer, Invoice

logger = logging.getLogger(__name__)

PAID = "paid"
# An invoice never goes back to what comes before in this list: who was slower has seen an older state.
ORDER = ("draft", "open", "uncollectible", "void", PAID)


def fold_invoice(found: Any) -> bool:
    """Take over what Stripe says of an invoice, and credit what is paid; return whether it is one of our customers'.

    Raise what `client.errors` raises. What is void or uncollectible credits nothing: what was cast stays unpaid until
    an operator grants it. What is too little to be charged counts as paid, and Stripe adds it to the next invoice.
    """
    customer = Customer.objects.filter(stripe_id=_id(found.customer) or "-").first()
    if customer is None or not found.id or not client.of_our_mode(client.plain(found)):
        return False
    usage = usage_cents(found)
    paid_at = found.status_transitions.paid_at if found.status_transitions else None
    facts: dict[str, Any] = {
        "customer": customer,
        "number": found.number or "",
        "status": found.status or "draft",
        "usage_cents": usage,
        "total_cents": found.total,
        "period_start": moment(found.period_start),
        "period_end": moment(found.period_end),
        "due_at": moment(found.due_date),
        "paid_at": moment(paid_at),
        "page_url": found.hosted_invoice_url or "",
        "pdf_url": found.invoice_pdf or "",
        "created_at": moment(found.created),
    }
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        known = Invoice.objects.filter(pk=found.id).first()
        if known is not None and _rank(known.status) > _rank(facts["status"]):
            return True
        Invoice.objects.update_or_create(pk=found.id, defaults=facts)
        if found.status == PAID and credit.book(
            customer.pk, Credit.Kind.PAID, usage, found.id, note=f"invoice {found.number or found.id}"
        ):
            logger.info("invoice paid", extra={"invoice": found.id, "account": customer.pk, "cents": usage})
    return True


def paid_by(intent: str) -> Invoice | None:
    """Return the invoice of ours that a payment paid, None if it paid none. Raise what `client.errors` raises."""
    if not intent:
        return None
    with client.errors():
        stripe = client.client().v1
        found = stripe.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": intent}})
        named = _id(found.data[0].invoice) if found.data else ""
        if named and not Invoice.objects.filter(pk=named, status=PAID).exists():
            fold_invoice(stripe.invoices.retrieve(named))
    return Invoice.objects.filter(pk=named, status=PAID).first()


def usage_cents(found: Any) -> int:
    """Return what an invoice says for our usage, before discounts and without taxes. Raise what `client.errors` raises.

    A discount makes it cheaper, but what was cast is all paid for.
    """
    if found.currency != settings.BILLING_CURRENCY:
        return 0
    lines = found.lines.data
    if found.lines.has_more:
        with client.errors():
            listed = client.client().v1.invoices.line_items.list(found.id, {"limit": 100})
            lines = list(listed.auto_paging_iter())
    return max(0, sum(usage_of(line) for line in lines if is_usage(line)))


def is_usage(line: Any) -> bool:
    details = line.pricing.price_details if line.pricing else None
    return details is not None and details.product == catalog.PRODUCT_ID


def usage_of(line: Any) -> int:
    """Return a line's amount before discounts and without taxes."""
    within = sum(tax.amount for tax in line.taxes or [] if tax.tax_behavior == "inclusive")
    return int(line.amount - within)


def _rank(status: str) -> int:
    return ORDER.index(status) if status in ORDER else 0


def _id(found: Any) -> str:
    return str(getattr(found, "id", found) or "")


def moment(seconds: int | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
