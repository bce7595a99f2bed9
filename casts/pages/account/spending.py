"""What the page about an account's usage says."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from functools import cached_property
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts import usage
from accounts.models import Account, ApiKey
from accounts.usage import Span
from casts.models import Spell
from core import charts
from core.money import money, rounded
from core.times import day_text

ROWS = 50  # spells and keys that are shown; the file has all
DEAREST = 10
DAYS_DRAWN = 62  # of more the chart has weeks, which a phone still has room for


def this_month() -> Span:
    today = timezone.now().date()
    return Span(today.replace(day=1), today)


def casts_url(account_id: int, **filters: Any) -> str:
    """Return the address of the list of an account's casts, with those filters that say something."""
    said = {name.rstrip("_"): value for name, value in filters.items() if value not in (None, "")}
    return f"{reverse('home')}?{urlencode({'account': account_id} | said)}"


class SpendingPage:
    """Reads what its template asks for. `spell`: for this one alone. `whole`: also who cast."""

    def __init__(self, account: Account, days: Span, *, spell: str = "", whole: bool) -> None:
        self.account, self.days, self.spell, self.whole = account, days, spell, whole
        self.only = [spell] if spell else None

    @cached_property
    def rows(self) -> list[usage.Spent]:
        return usage.by_day_and_spell(self.account, self.days, spell_keys=self.only)

    @cached_property
    def cents(self) -> int:
        return sum(row.cents for row in self.rows)

    @property
    def total(self) -> str:
        return money(self.cents)

    @property
    def casts(self) -> int:
        return sum(row.casts for row in self.rows)

    @property
    def each(self) -> str:
        return money(round(self.cents / self.casts)) if self.casts else ""

    @property
    def said(self) -> str:
        """Return the days in words."""
        first, last = self.days.first, self.days.last
        if first == last:
            return day_text(first)
        return f"{first.day} {first:%b}{f' {first.year}' if first.year != last.year else ''} to {day_text(last)}"

    @property
    def choices(self) -> list[dict[str, Any]]:
        """Return the usual periods, each with its address."""
        today = timezone.now().date()
        before = today.replace(day=1) - dt.timedelta(days=1)
        spans = {
            "This month": this_month(),
            "Last month": Span(before.replace(day=1), before),
            "30 days": Span(today - dt.timedelta(days=29), today),
        }
        return [{"text": text, "query": self.query(days), "current": days == self.days} for text, days in spans.items()]

    def query(self, days: Span, **more: str) -> str:
        facts = {"from": days.first.isoformat(), "to": days.last.isoformat(), "spell": self.spell} | more
        return urlencode({name: value for name, value in facts.items() if value})

    @property
    def from_day(self) -> str:
        return self.days.first.isoformat()

    @property
    def to_day(self) -> str:
        return self.days.last.isoformat()

    @property
    def own_query(self) -> str:
        return self.query(self.days)

    @property
    def all_spells_query(self) -> str:
        return self.query(self.days, spell="")

    @property
    def chart(self) -> SafeString:
        """Return what was spent by day, or by week where there are too many days."""
        by_day: dict[dt.date, int] = defaultdict(int)
        for row in self.rows:
            assert row.day is not None
            by_day[row.day] += row.cents
        every = 1 if (self.days.last - self.days.first).days < DAYS_DRAWN else 7
        begins = [
            dt.date.fromordinal(number)
            for number in range(self.days.first.toordinal(), self.days.last.toordinal() + 1, every)
        ]
        ends = [min(day + dt.timedelta(days=every - 1), self.days.last) for day in begins]
        days = [
            [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
            for first, last in zip(begins, ends, strict=True)
        ]
        return charts.bars(
            [f"{day.day} {day:%b}" for day in begins],
            [charts.Series("Spent", [sum(by_day[day] for day in some) for some in days], "money")],
            said=f"Spent by {'day' if every == 1 else 'week, from the day that is named'}",
            links=[
                casts_url(self.account.pk, spell=self.spell, from_=first, to=last)
                for first, last in zip(begins, ends, strict=True)
            ],
            write=lambda cents: money(int(cents)),
            tick=rounded,
            empty="Nothing was spent in these days.",
        )

    @property
    def spells(self) -> list[dict[str, Any]]:
        """Return what each spell cost, the dearest first."""
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for row in self.rows:
            sums[row.by][0] += row.casts
            sums[row.by][1] += row.cents
        found = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))[:ROWS]
        names = Spell.objects.names(key for key, _ in found)
        return [
            self.line(cents, casts, spell=key)
            | {"name": names.get(key, key), "query": self.query(self.days, spell=key)}
            for key, (casts, cents) in found
        ]

    @property
    def keys(self) -> list[dict[str, Any]]:
        """Return what was spent with each key, and by members in the browser."""
        found = usage.by_key(self.account, self.days, spell_keys=self.only)[:ROWS]
        ids = [int(row.by) for row in found if row.by.isdecimal()]
        names = {str(key.pk): key for key in ApiKey.objects.filter(account=self.account, pk__in=ids)}
        return [
            self.line(row.cents, row.casts, key=row.by or "none", spell=self.spell)
            | {"key": names.get(row.by), "id": row.by}
            for row in found
        ]

    def line(self, cents: int, casts: int, **filters: str) -> dict[str, Any]:
        url = casts_url(self.account.pk, from_=self.days.first, to=self.days.last, **filters)
        share = round(100 * cents / self.cents, 1) if self.cents else 0
        return {"cost": money(cents), "casts": casts, "share": share, "url": url}

    @property
    def dearest(self) -> list[dict[str, Any]]:
        found = usage.dearest(self.account, self.days, DEAREST, spell_keys=self.only)
        names = Spell.objects.names({row.spell_key for row in found})
        return [
            {"row": row, "name": names.get(row.spell_key, row.spell_key), "cost": money(row.cents)} for row in found
        ]
