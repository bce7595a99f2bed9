"""What an account spent, as its ledger says: by day and spell, by key, and for which casts most.

A cast counts on the day (UTC) on which it was accepted, with what was captured for it. All amounts are in cents.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from accounts.models import Account, BudgetPeriod, BudgetScope, LedgerEntry
from core.errors import BadQuery

MOST_DAYS = 366
DEAR = ("cast_id", "spell_key", "api_key_id", "booked_on", "cents")  # of an entry, what a `Dear` has


@dataclass(frozen=True)
class Span:
    """Days, both ends included."""

    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Spent:
    """What casts cost that have something in common: `by` is the day, the spell's key, or the API key's id."""

    day: dt.date | None
    by: str
    casts: int
    cents: int


@dataclass(frozen=True)
class Dear:
    """One cast that cost something."""

    cast_id: uuid.UUID
    spell_key: str
    api_key_id: str
    day: dt.date
    cents: int


def span(first: str | None, last: str | None) -> Span:
    """Return the days that a query names: up to today, from 30 days before, unless it says others. Raise BadQuery."""
    until = parse_day("to", last, timezone.now().date())
    before = dt.date.fromordinal(max(until.toordinal() - 30, 1))  # the calendar has a first day
    since = parse_day("from", first, before)
    if not dt.timedelta(0) <= until - since <= dt.timedelta(days=MOST_DAYS):
        raise BadQuery(f"`from` is a day before `to`, by {MOST_DAYS} days at most.")
    return Span(since, until)


def parse_day(name: str, value: str | None, default: dt.date) -> dt.date:
    if not value:
        return default
    try:
        return dt.date.fromisoformat(value)
    except ValueError as exc:
        raise BadQuery(f"{name} is a day such as 2026-11-23; not {value[:40]!r}.") from exc


def captures(account: Account, days: Span, *, spell_keys: Iterable[str] | None = None) -> QuerySet[LedgerEntry]:
    """Return the entries that add up to what was spent. `spell_keys`: for these spells alone."""
    # By its months' own numbers: so the index is read for them alone, however many accounts there are.
    months = BudgetPeriod.objects.filter(
        account=account, scope=BudgetScope.ACCOUNT, month__gte=days.first.replace(day=1), month__lte=days.last
    )
    entries = LedgerEntry.objects.filter(
        period__in=list(months.values_list("pk", flat=True)),
        kind=LedgerEntry.Kind.CAPTURE,
        booked_on__gte=days.first,
        booked_on__lte=days.last,
    )
    return (entries if spell_keys is None else entries.filter(spell_key__in=list(spell_keys))).order_by()


def by_day_and_spell(account: Account, days: Span, *, spell_keys: Iterable[str] | None = None) -> list[Spent]:
    """Return what was spent, in the order of days and then of spells."""
    rows = captures(account, days, spell_keys=spell_keys).values("booked_on", "spell_key")
    sums = rows.annotate(casts=Count("id"), total=Sum("cents"))
    found = [Spent(row["booked_on"], row["spell_key"], row["casts"], row["total"]) for row in sums]
    # By code points: databases differ in how they order text.
    return sorted(found, key=lambda one: (one.day or dt.date.min, one.by))


def by_key(account: Account, days: Span, *, spell_keys: Iterable[str] | None = None) -> list[Spent]:
    """Return what was spent by each API key, by its id, the most first; blank: by members in the browser."""
    rows = captures(account, days, spell_keys=spell_keys).values("api_key_id")
    sums = rows.annotate(casts=Count("id"), total=Sum("cents"))
    found = [Spent(None, row["api_key_id"], row["casts"], row["total"]) for row in sums]
    return sorted(found, key=lambda one: (-one.cents, one.by))


def dearest(account: Account, days: Span, most: int, *, spell_keys: Iterable[str] | None = None) -> list[Dear]:
    rows = captures(account, days, spell_keys=spell_keys).order_by("-cents", "id")[:most]
    return [Dear(*row) for row in rows.values_list(*DEAR)]


def each(account: Account, days: Span, most: int, *, spell_keys: Iterable[str] | None = None) -> Iterator[list[Dear]]:
    """Yield every cast that cost something, day by day, `most` at a time."""
    entries = captures(account, days, spell_keys=spell_keys).order_by("booked_on", "id")
    day, after = days.first, 0
    while True:
        # From where the part before ended: the first ones of a sorted index, however many there are.
        rest = entries.filter(Q(booked_on=day, id__gt=after) | Q(booked_on__gt=day), booked_on__gte=day)
        rows = list(rest.values_list("id", *DEAR)[:most])
        if not rows:
            return
        some = [Dear(*row[1:]) for row in rows]
        yield some
        day, after = some[-1].day, rows[-1][0]
