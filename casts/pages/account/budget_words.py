"""What the page about an account's budget says."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.urls import reverse
from django.utils.safestring import SafeString

from accounts import budget, credit, open_casts
from accounts.models import Account, ApiKey, BudgetPeriod, BudgetScope
from casts.models import Spell
from casts.pages.account.spending import casts_url
from core import charts
from core.money import money, name, plain, rounded

MONTHS = 12  # of history
OFFERED = 500  # keys and spells for which a cap can be set


class BudgetPage:
    """Reads what its template asks for."""

    def __init__(self, account: Account, *, may_change: bool) -> None:
        self.account, self.may_change = account, may_change
        self.currency = name()

    @cached_property
    def period(self) -> BudgetPeriod:
        return budget.current(self.account)

    @property
    def month(self) -> str:
        return f"{self.period.month:%B %Y}"

    @property
    def own(self) -> dict[str, Any]:
        return line(self.period)

    @cached_property
    def open(self) -> int:
        return open_casts.of(self.account)

    @property
    def open_url(self) -> str:
        return casts_url(self.account.pk, status="open")

    @property
    def credit(self) -> str:
        """Return what is left of a billed account's credit; blank for others."""
        state = credit.state(self.account)
        return "" if state is None else money(state.remaining_cents)

    @cached_property
    def caps(self) -> list[dict[str, Any]]:
        """Return the caps of keys and spells, with what they were used for this month."""
        rows = self.account.budget_periods.filter(month=self.period.month, scope__in=["key", "spell"])
        inner = sorted(rows, key=lambda one: (one.scope, one.ref))
        ids = [int(one.ref) for one in inner if one.scope == BudgetScope.KEY]
        keys = {str(key.pk): key for key in ApiKey.objects.filter(account=self.account, pk__in=ids)}
        named = [one.ref for one in inner if one.scope == BudgetScope.SPELL]
        spells = Spell.objects.names(named)
        return [
            line(one)
            | {
                "of": f"{one.scope}:{one.ref}",
                "kind": one.scope,
                "key": keys.get(one.ref) if one.scope == BudgetScope.KEY else None,
                "name": keys[one.ref].name if one.ref in keys and one.scope == "key" else spells.get(one.ref, one.ref),
                "url": casts_url(self.account.pk, **{one.scope: one.ref}, from_=self.period.month),
            }
            for one in inner
        ]

    @property
    def offered(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return for what a cap can be set that has none: keys and spells."""
        has = {one["of"] for one in self.caps}
        usable = [key for key in ApiKey.objects.filter(account=self.account, revoked_at=None)[:OFFERED] if key.usable]
        spells = Spell.objects.seen_by(self.account.pk).filter(active=True).order_by("name").values_list("key", "name")
        groups = {
            "Keys": [(f"key:{key.pk}", f"{key.name} ({key.prefix}…)") for key in usable],
            "Spells": [(f"spell:{key}", spell) for key, spell in spells[:OFFERED]],
        }
        return [(title, [one for one in some if one[0] not in has]) for title, some in groups.items()]

    @cached_property
    def past(self) -> list[dict[str, Any]]:
        """Return the months before, newest first."""
        rows = self.account.budget_periods.filter(scope=BudgetScope.ACCOUNT, month__lt=self.period.month)
        return [{"month": f"{one.month:%B %Y}", "row": one} | line(one) for one in rows.order_by("-month")[:MONTHS]]

    @property
    def history(self) -> SafeString:
        """Return a chart of what was spent in each month."""
        months = [one["row"] for one in reversed(self.past)] + [self.period]
        return charts.bars(
            [f"{one.month:%b %Y}" for one in months],
            [charts.Series("Spent", [one.captured_cents for one in months], "money")],
            said="Spent by month",
            links=[self.usage_url(one) for one in months],
            write=lambda cents: money(int(cents)),
            tick=rounded,
            empty="Nothing was spent so far.",
        )

    def usage_url(self, period: BudgetPeriod) -> str:
        days = (period.resets_at.date() - period.month).days
        query = f"from={period.month}&to={period.month.replace(day=days)}"
        return f"{reverse('account-usage', kwargs={'account_id': self.account.pk})}?{query}"


def line(period: BudgetPeriod) -> dict[str, Any]:
    """Return one cap's money in words, and how much of its bar is taken: in percent, of the cap or of what is used."""
    whole = max(period.cap_cents or 0, period.used_cents) or 1
    captured = 100 * period.captured_cents / whole
    return {
        "cap": None if period.cap_cents is None else money(period.cap_cents),
        "typed": "" if period.cap_cents is None else plain(period.cap_cents),
        "held": money(period.held_cents),
        "captured": money(period.captured_cents),
        "remaining": None if period.remaining_cents is None else money(period.remaining_cents),
        "over": period.cap_cents is not None and period.used_cents > period.cap_cents,
        "resets": period.resets_at,
        "captured_share": round(captured, 1),
        "held_share": round(100 * period.held_cents / whole, 1),
    }
