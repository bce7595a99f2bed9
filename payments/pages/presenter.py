"""What the page about money says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import Count, Sum
from django.utils import timezone

from accounts import credit
from accounts.models import Account, LedgerEntry, month_of
from core.money import decimals, money, plain
from payments import currency, overview
from payments.models import Customer, Invoice, Refund, TopUp

SHOWN = 20  # top-ups and invoices, the newest
SPELLS_SHOWN = 50
# What a state is called, and the tone in which it is shown.
STATES = {
    TopUp.State.NEW: ("sent to Stripe, no answer yet", "queued"),
    TopUp.State.PROCESSING: ("under way", "running"),
    TopUp.State.REQUIRES_ACTION: ("waits for you", "queued"),
    TopUp.State.SUCCEEDED: ("paid", "succeeded"),
    TopUp.State.FAILED: ("failed", "failed"),
    TopUp.State.CANCELLED: ("not paid", "cancelled"),
}
INVOICES = {"paid": "succeeded", "open": "queued", "uncollectible": "failed"}
ORIGINS = {TopUp.Origin.AUTO: "by itself", TopUp.Origin.OPERATOR: "by an operator"}


class MoneyPage:
    """Reads what its template asks for."""

    def __init__(self, account: Account, customer: Customer | None, *, amount: str = "") -> None:
        self.account, self.customer = account, customer
        # Before the credit: what is shown as paid must be in it.
        newest = TopUp.objects.filter(customer=customer).prefetch_related("disputes", "refunds")
        self._topups = list(newest[:SHOWN])
        self.state = credit.state(account) if customer is not None else None
        self.currency = settings.BILLING_CURRENCY.upper()
        self.amount = amount[:20] or self.presets[1]

    @property
    def problems(self) -> list[tuple[str, str]]:
        return overview.problems(self.customer, self.state)

    @property
    def remaining(self) -> str:
        return money(self.state.remaining_cents) if self.state else ""

    @property
    def held(self) -> str:
        return money(self.state.held_cents) if self.state and self.state.held_cents else ""

    @property
    def limit(self) -> str:
        limit = self.customer.credit_limit_cents if self.customer and self.customer.mode == "metered" else None
        return money(limit) if limit is not None else ""

    @property
    def card(self) -> dict[str, Any] | None:
        return overview.card_of(self.customer) if self.customer else None

    @property
    def presets(self) -> list[str]:
        """Return amounts that are offered, as they are typed."""
        one = 10 ** decimals()
        # The least that a card takes, in whole coins that are worth about a unit of its.
        unit = max(one, -(-currency.least() * 2 // one) * one)
        return [plain(unit * times) for times in (10, 25, 50, 100)]

    @property
    def least(self) -> str:
        return money(currency.least())

    @property
    def auto(self) -> dict[str, str] | None:
        found = overview.auto_of(self.customer) if self.customer else None
        return found and {"below": money(found["below_cents"]), "amount": money(found["cents"])}

    @property
    def auto_form(self) -> dict[str, str]:
        found = overview.auto_of(self.customer) if self.customer else None
        if found is None:
            return {"below": self.presets[0], "amount": self.presets[1]}
        return {"below": plain(found["below_cents"]), "amount": plain(found["cents"])}

    @property
    def topups(self) -> Iterator[dict[str, Any]]:
        for row in self._topups:
            word, tone = STATES[TopUp.State(row.state)]
            disputes = [one for one in row.disputes.all() if one.status in overview.OPEN_DISPUTES]
            pending = any(one.state in (Refund.State.NEW, Refund.State.PENDING) for one in row.refunds.all())
            yield {
                "row": row,
                "amount": money(row.cents),
                "word": word,
                "tone": tone,
                "origin": ORIGINS.get(TopUp.Origin(row.origin), row.by),
                "refunded": money(row.refunded_cents) if row.refunded_cents else "",
                "refund_pending": pending,
                "disputed": bool(disputes),
                "action": bool(row.action_url) and row.state in TopUp.OPEN,
                "why": row.message if row.state == TopUp.State.FAILED else "",
            }

    @property
    def invoices(self) -> Iterator[dict[str, Any]]:
        for row in Invoice.objects.filter(customer=self.customer)[:SHOWN]:
            yield {"row": row, "total": money(row.total_cents), "tone": INVOICES.get(row.status, "cancelled")}

    @property
    def usage(self) -> list[dict[str, Any]]:
        """Return what this month's casts cost, by spell, the dearest first."""
        first = month_of(timezone.now())
        entries = LedgerEntry.objects.filter(
            period__account=self.account, kind=LedgerEntry.Kind.CAPTURE, booked_on__gte=first
        )
        rows = entries.order_by().values("spell_key").annotate(casts=Count("cast_id"), cents=Sum("cents"))
        found = sorted(rows, key=lambda row: (-row["cents"], row["spell_key"]))[:SPELLS_SHOWN]
        return [row | {"cost": money(row["cents"])} for row in found]

    @property
    def month(self) -> str:
        return f"{timezone.now():%B %Y}"
