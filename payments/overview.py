"""How an account pays and what it has, and what somebody should do about it: for the API and the page."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts import credit
from accounts.models import Account
from core.money import decimals, money
from payments import autotopup, currency
from payments.models import Customer, Dispute, Invoice, TopUp
from payments.returning import money_page

OPEN_DISPUTES = ("warning_needs_response", "warning_under_review", "needs_response", "under_review")


def of(account: Account, customer: Customer | None) -> dict[str, Any]:
    """Return what GET /billing answers."""
    state = credit.state(account) if customer else None
    return {
        "billed": state is not None,
        "mode": customer.mode if customer else None,
        "currency": settings.BILLING_CURRENCY,
        "decimals": decimals(),
        "credit": state,
        "credit_limit_cents": customer.credit_limit_cents if customer else None,
        "card": card_of(customer) if customer else None,
        "auto_topup": auto_of(customer) if customer else None,
        "topup": {"least_cents": currency.least(), "most_cents": currency.most(), "step_cents": currency.step()},
        "problems": [{"code": code, "detail": detail} for code, detail in problems(customer, state)],
        "page_url": money_page(account.pk),
    }


def card_of(customer: Customer) -> dict[str, Any] | None:
    if not customer.payment_method_id:
        return None
    return {name: getattr(customer, f"card_{name}") for name in ("brand", "last4", "exp_month", "exp_year")}


def auto_of(customer: Customer) -> dict[str, Any] | None:
    if not autotopup.is_on(customer):
        return None
    return {"below_cents": customer.auto_topup_below_cents, "cents": customer.auto_topup_cents}


def problems(customer: Customer | None, state: credit.CreditState | None) -> list[tuple[str, str]]:
    """Return what somebody should do something about: a code, and a sentence."""
    if customer is None or state is None:
        return []
    found = []
    if state.remaining_cents <= 0:
        owed = f", and {money(-state.remaining_cents)} is owed" if state.remaining_cents < 0 else ""
        found.append(("credit_spent", f"The credit is spent{owed}: casts are refused until it is topped up."))
    if customer.auto_topup_off_reason:
        found.append(
            ("auto_topup_off", f"The account does not top up by itself any more. {customer.auto_topup_off_reason}")
        )
    if (expired := _expired(customer)) is not None:
        found.append(("card_expired", expired))
    newest = TopUp.objects.filter(customer=customer).first()
    if newest is not None and newest.state == TopUp.State.REQUIRES_ACTION:
        found.append(("topup_requires_action", "A top-up waits for somebody to confirm it at the bank: see its link."))
    if newest is not None and newest.state == TopUp.State.FAILED:
        found.append(("topup_failed", f"The last top-up failed: {newest.message or newest.code}".rstrip(".") + "."))
    disputes = Dispute.objects.filter(topup__customer=customer, status__in=OPEN_DISPUTES)
    if disputes.exists():
        found.append(("disputed", "A cardholder disputes a payment. Its amount is taken from the credit meanwhile."))
    if Invoice.objects.filter(customer=customer, status="open", due_at__lt=timezone.now()).exists():
        found.append(("invoice_overdue", "An invoice is overdue: its credit comes back when it is paid."))
    return found


def _expired(customer: Customer) -> str | None:
    month, year = customer.card_exp_month, customer.card_exp_year
    today = timezone.now().date()
    if not customer.payment_method_id or not month or not year or (year, month) >= (today.year, today.month):
        return None
    return f"The saved card expired in {month:02}/{year}: save another one."
