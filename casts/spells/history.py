"""How a spell's casts usually go: how long they take, and how many succeed.

What a page shows is one small row for each spell (`SpellHistory`), which a sweep keeps: to look at the casts themselves
would take an index of a million rows. It reads the ledger, in which each cast that ends leaves one settlement, from
where it stopped the last time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Max

from accounts.models import LedgerEntry
from casts.models import Cast, CastStatus, Spell, SpellHistory

KEPT = 100  # ends of each spell, the newest
LEAST = 3  # of fewer, nothing is said
FIRST = 20_000  # settlements that are looked at when there is no history yet
AT_ONCE = 500  # casts


@dataclass(frozen=True)
class History:
    """What the newest of a spell's casts came to. Those that were cancelled tell nothing, and don't count."""

    casts: int
    success_rate: float  # from 0 to 1
    # Of those that succeeded, from the beginning of the run to the end of the cast; None if too few did.
    usual_seconds: float | None  # half of them took no longer
    p95_seconds: float | None


def of_spells(spell_ids: Iterable[int]) -> dict[int, History]:
    """Return the histories of those spells that were cast often enough; in one query."""
    rows = SpellHistory.objects.filter(spell__in=list(spell_ids), casts__gte=LEAST).defer("ends")
    return {
        row.spell_id: History(row.casts, row.succeeded / row.casts, row.usual_seconds, row.p95_seconds) for row in rows
    }


def usual_of(cast: Cast) -> History | None:
    """Return what casts such as this one come to, None if there were too few."""
    return of_spells([cast.spell_id]).get(cast.spell_id)


def sweep() -> int:
    """Count what has ended since the last time, in any number of processes at once; return how many spells changed."""
    newest = LedgerEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    seen = SpellHistory.objects.aggregate(Max("entry"))["entry__max"]
    since = max(0, newest - FIRST) if seen is None else seen
    found: dict[Any, int] = dict(
        LedgerEntry.objects.filter(pk__gt=since, pk__lte=newest, settles=True).order_by().values_list("cast_id", "pk")
    )
    ends: dict[int, list[tuple[int, list[Any]]]] = defaultdict(list)
    ids = list(found)
    for first in range(0, len(ids), AT_ONCE):
        ended = Cast.objects.filter(pk__in=ids[first : first + AT_ONCE]).only(
            "spell_id", "status", "started_at", "finished_at"
        )
        for cast in ended.order_by():
            ends[cast.spell_id].append((found[cast.pk], end_of(cast)))
    return sum(add(spell_id, sorted(of_spell)) for spell_id, of_spell in ends.items())


def end_of(cast: Cast) -> list[Any]:
    took = cast.duration_ms
    return [None if cast.status == CastStatus.CANCELLED else cast.status == CastStatus.SUCCEEDED, took and took / 1000]


def add(spell_id: int, ends: list[tuple[int, list[Any]]]) -> bool:
    """Add ends to a spell's history, with the ledger's numbers of them; False if another process was faster."""
    with transaction.atomic():
        if not Spell.objects.filter(pk=spell_id).exists():
            return False
        row, _ = SpellHistory.objects.get_or_create(spell_id=spell_id)
        new = [end for number, end in ends if number > row.entry and end[0] is not None]
        kept = [*row.ends, *new][-KEPT:]
        took = sorted(seconds for succeeded, seconds in kept if succeeded and seconds is not None)
        enough = len(took) >= LEAST
        counted = SpellHistory.objects.filter(pk=spell_id, entry=row.entry).update(
            entry=max(row.entry, ends[-1][0]),
            ends=kept,
            casts=len(kept),
            succeeded=sum(succeeded for succeeded, _ in kept),
            usual_seconds=took[(len(took) - 1) // 2] if enough else None,
            p95_seconds=took[-(-len(took) * 95 // 100) - 1] if enough else None,
        )
    return bool(counted)
