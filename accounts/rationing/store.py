"""Counting in the database: one guarded UPDATE, which is atomic on its own, on both databases."""

from __future__ import annotations

from typing import Any

from django.db.models import BigIntegerField, Case, F, Value, When
from django.db.models.functions import Greatest, Least

from accounts.rationing.models import NAME_CHARS, FailedTries, Ration
from core.db.compiled import Param, Select, Update
from core.rationing import Failed, Taken
from core.rationing.stores import BLOCK_PART, FIRST_DELAY

WHOLE = BigIntegerField()


def whole(value: int) -> Value:
    return Value(value, output_field=WHOLE)


# --- allowances: of an older minute nothing counts any more ---------------------------------------------------------

_MINUTE, _QUOTA = Param(Ration, "minute"), Param(Ration, "used", "quota")
_USED = Case(When(minute__gte=_MINUTE, then=F("used")), default=whole(0), output_field=WHOLE)
_LEFT = Greatest(_QUOTA - _USED, whole(0), output_field=WHOLE)
_GRANTED = Greatest(Least(_LEFT, whole(1)), _LEFT / whole(BLOCK_PART), output_field=WHOLE)
TAKE = Update(
    lambda: Ration.objects.filter(name=Param(Ration, "name")),
    minute=Greatest(F("minute"), _MINUTE),
    used=_USED + _GRANTED,
    granted=_GRANTED,
)

# --- failed tries: what was long ago is forgotten -------------------------------------------------------------------


def _of(field: str, name: str) -> Param:
    return Param(FailedTries, field, name)


_NOW = _of("last_ms", "now")
_FRESH: dict[str, Any] = {"last_ms__gte": _of("last_ms", "since")}
_COUNT = Case(When(**_FRESH, then=F("count")), default=whole(0), output_field=WHOLE) + whole(1)
_BEFORE = Case(When(**_FRESH, then=F("delay_ms")), default=whole(0), output_field=WHOLE)
_DOUBLED = Greatest(_BEFORE * whole(2), whole(int(FIRST_DELAY * 1000)), output_field=WHOLE)
_BEYOND = Greatest(Least(_COUNT - _of("count", "free") + whole(1), whole(1)), whole(0), output_field=WHOLE)  # 1 or 0
_DELAY = Least(Greatest(_BEYOND * _DOUBLED, _of("delay_ms", "least")), _of("delay_ms", "longest"), output_field=WHOLE)
FAIL = Update(
    lambda: FailedTries.objects.filter(
        name=Param(FailedTries, "name"), blocked_until_ms__lte=_of("blocked_until_ms", "free_since")
    ),
    count=_COUNT,
    delay_ms=_DELAY,
    last_ms=_NOW,
    blocked_until_ms=_NOW + _DELAY,
)
TRIES = Select(lambda: FailedTries.objects.filter(name=Param(FailedTries, "name")))
ALWAYS = 2**62  # later than any wait


class DatabaseStore:
    """See core.rationing.stores.Store."""

    def take(self, name: str, minute: int, quota: int) -> Taken:
        """See Store."""
        name = name[:NAME_CHARS]
        rows = TAKE.rows(name=name, minute=minute, quota=quota)
        if not rows:
            Ration.objects.bulk_create([Ration(name=name, minute=minute)], ignore_conflicts=True)
            rows = TAKE.rows(name=name, minute=minute, quota=quota)
        [row] = rows
        return Taken(row.minute, row.granted, row.used)

    def fail(
        self, name: str, now: float, *, free: int, longest: float, forgotten: float, least: float, blocks: bool
    ) -> Failed:
        """See Store."""
        name, at = name[:NAME_CHARS], int(now * 1000)
        values: dict[str, Any] = {
            "name": name,
            "now": at,
            "since": at - int(forgotten * 1000),
            "free": free,
            "least": int(least * 1000),
            "longest": int(longest * 1000),
            "free_since": at if blocks else ALWAYS,
        }
        if rows := FAIL.rows(**values):
            return failed_as(rows[0], counted=True)
        FailedTries.objects.bulk_create([FailedTries(name=name)], ignore_conflicts=True)
        if rows := FAIL.rows(**values):
            return failed_as(rows[0], counted=True)
        row = TRIES.first(name=name)
        return failed_as(row, counted=False) if row else Failed(False, 0, 0.0, now)

    def undo(self, name: str) -> None:
        """See Store."""
        FailedTries.objects.filter(name=name[:NAME_CHARS]).update(
            count=Greatest(F("count") - 1, 0), delay_ms=F("delay_ms") / 2, blocked_until_ms=0
        )

    def forget(self, name: str) -> None:
        """See Store."""
        FailedTries.objects.filter(name=name[:NAME_CHARS]).delete()


def failed_as(row: FailedTries, *, counted: bool) -> Failed:
    return Failed(counted, row.count, row.delay_ms / 1000, row.blocked_until_ms / 1000)
