"""How a cast moves: one guarded UPDATE in a transaction that also appends the event, and moves the money if it ends.

The row count answers "did I do it, or did someone else?". No network call happens in such a transaction. What has casts
move is beside this, each in its file: accepting, dispatching, binding (which run is whose), observing, ending.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from casts.lifecycle import events
from casts.models import OPEN, Cast, CastStatus
from core.db.compiled import Param, Select, Update
from core.telemetry import tracing

# Deliveries can arrive out of order: a queued cast may finish, a finished one never goes back.
ALLOWED_FROM = {
    CastStatus.QUEUED: (CastStatus.QUEUED,),
    CastStatus.RUNNING: (CastStatus.QUEUED, CastStatus.RUNNING),
    CastStatus.SUCCEEDED: OPEN,
    CastStatus.FAILED: OPEN,
    CastStatus.CANCELLED: OPEN,
}
MESSAGE_CHARS = 500


def columns_but(*left_out: str) -> list[str]:
    return [field.attname for field in Cast._meta.concrete_fields if field.attname not in left_out]


def locked() -> QuerySet[Cast]:
    folded = Cast.objects.select_related("spell").only(
        *columns_but(), "spell__key", "spell__runtime", "spell__tags_runs", "spell__version"
    )
    return folded.select_for_update(of=("self",)).order_by()


LOCKED = Select(lambda: locked().filter(pk=Param(Cast, "id")))
# A cast that has just moved, as its event shows it.
MOVED = Select(
    lambda: (
        Cast.objects.select_related("spell")
        .only(*columns_but("input", "metadata", "observation"), "spell__key")
        .filter(pk=Param(Cast, "id"))
        .order_by()
    )
)
# Every write of a status but the end's goes through one of these: only to casts that may take it.
GUARDED = {
    to: Update(lambda to=to: Cast.objects.filter(pk=Param(Cast, "id"), status__in=ALLOWED_FROM[to]))  # type: ignore[misc]
    for to in CastStatus
}


def facts_of(cast: Cast) -> tracing.Facts:
    """Return what spans say of a cast."""
    return {"spell.cast.id": str(cast.pk), "spell.key": cast.spell.key, "spell.runtime": cast.spell.runtime}


def move(which: QuerySet[Cast], kind: str, to: CastStatus | None, *, by: str = "", **changes: Any) -> None:
    """Put the cast that `which` finds into `to` (None: it stays), and append the event, in its caller's transaction.

    Nothing happens if `which` finds none, or one that may not go there. `by`: the operator who caused it.
    """
    found = which.select_for_update(of=("self",), no_key=True).values_list("pk", "status", "last_seq").first()
    if found is None:
        return
    pk, status, last_seq = found  # which can't change while the row is locked
    to = to or CastStatus(status)
    if not GUARDED[to].run({"status": to, "last_seq": last_seq + 1, **changes}, id=pk):
        return
    moved = MOVED.first(id=pk)
    assert moved is not None
    events.append(moved, kind, at=timezone.now(), by=by)
