"""Comparing the counters of money with the ledger, a few at a time, without a lock.

`verifyledger` proves all of it, and holds up each account meanwhile. This compares what may still move: this month and
the last, what is held, and credit. Counter and entries change in one transaction and are read in one statement, so they
are of one moment.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

from django.db.models import BigIntegerField, Case, F, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import BudgetPeriod, BudgetScope, Credit, LedgerEntry, month_of
from accounts.proof.models import LedgerCheck
from core.queue.due import DueQuerySet

EVERY = dt.timedelta(hours=1)
STEP_SECONDS = 5.0
REST = dt.timedelta(seconds=1)  # between two steps of a round
AT_ONCE = 20  # counters in one statement
LINES = 50  # kept of what differs

Kind = LedgerEntry.Kind


class LedgerCheckWork:
    """Compares, one worker at a time."""

    def rows(self) -> DueQuerySet:
        return LedgerCheck.due_rows()

    def step(self, row: LedgerCheck) -> dt.datetime | None:
        ends_at = time.monotonic() + STEP_SECONDS
        cursor, lines, cents = row.cursor, row.found.splitlines(), row.found_cents
        while time.monotonic() < ends_at:
            keys = list(moving().filter(pk__gt=cursor).order_by("pk").values_list("pk", flat=True)[:AT_ONCE])
            if not keys:
                ended = {"ended_at": timezone.now(), "differences": "\n".join(lines), "difference_cents": cents}
                row.mine().update(cursor=0, found="", found_cents=0, **ended)
                return timezone.now() + EVERY
            cursor = keys[-1]
            for line, by in differing(keys):
                lines, cents = [*lines, line][:LINES], cents + by
        row.mine().update(cursor=cursor, found="\n".join(lines), found_cents=cents)
        return timezone.now() + REST

    def give_up(self, row: LedgerCheck) -> dt.datetime | None:
        return timezone.now() + EVERY


def moving() -> QuerySet[BudgetPeriod]:
    """Return the counters that casts and payments may still change."""
    last_month = month_of(timezone.now() - dt.timedelta(days=31))
    return BudgetPeriod.objects.filter(Q(month__gte=last_month) | Q(held_cents__gt=0) | Q(scope=BudgetScope.CREDIT))


def differing(keys: list[int]) -> Iterator[tuple[str, int]]:
    """Yield a line, and by how many cents, for each of these counters that is not what the ledger says."""
    for scope in BudgetScope.values:
        for one in with_sums(BudgetPeriod.objects.filter(pk__in=keys, scope=scope), scope).select_related("account"):
            by = abs(one.held_cents - one.ledger_held) + abs(one.captured_cents - one.ledger_captured)
            text = (
                f"{one}: held {one.held_cents}, by the ledger {one.ledger_held}; "
                f"captured {one.captured_cents}, by the ledger {one.ledger_captured}"
            )
            if scope == BudgetScope.CREDIT and one.cap_cents != one.ledger_booked:
                by += abs(one.cap_cents - one.ledger_booked)
                text += f"; booked {one.cap_cents}, by its entries {one.ledger_booked}"
            if by:
                yield text, by


def with_sums(periods: QuerySet[BudgetPeriod], scope: str) -> QuerySet[Any]:
    entries = LedgerEntry.objects.filter(period__account=OuterRef("account"))
    of_month = entries.filter(period__month=OuterRef("month"), period__scope=BudgetScope.ACCOUNT)
    mine = {
        BudgetScope.ACCOUNT: LedgerEntry.objects.filter(period=OuterRef("pk")),
        BudgetScope.KEY: of_month.filter(api_key_id=OuterRef("ref")),
        BudgetScope.SPELL: of_month.filter(spell_key=OuterRef("ref")),
        BudgetScope.CREDIT: entries.filter(on_credit=True),
    }[BudgetScope(scope)]
    held = Case(When(kind=Kind.HOLD, then=F("cents")), default=-F("cents"), output_field=BigIntegerField())
    captured = Case(When(kind=Kind.CAPTURE, then=F("cents")), default=Value(0), output_field=BigIntegerField())
    found: QuerySet[Any] = periods.annotate(
        ledger_held=total(mine, held),
        ledger_captured=total(mine, captured),
        ledger_booked=total(Credit.objects.filter(account=OuterRef("account")), F("cents")),
    )
    return found


def total(rows: QuerySet[Any], what: Any) -> Coalesce:
    summed = rows.order_by().annotate(all=Value(1)).values("all").annotate(sum=Sum(what)).values("sum")
    return Coalesce(Subquery(summed, output_field=BigIntegerField()), Value(0), output_field=BigIntegerField())


def ensure() -> None:
    """Create the row unless it exists. Any worker may call this."""
    LedgerCheck.objects.get_or_create(pk=LedgerCheck.SINGLETON_PK, defaults={"due_at": timezone.now()})
