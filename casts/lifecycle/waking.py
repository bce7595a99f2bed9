"""When casts are looked at next: now, sooner, or because a slot has become free."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from casts.lifecycle import operators, slots
from casts.models import OPEN, Cast
from core.queue import wakeups
from core.queue.due import batches

WATCH_LASTS = dt.timedelta(minutes=3)


def wake(cast_id: uuid.UUID) -> None:
    Cast.due_rows().filter(status__in=OPEN).wake(pk=cast_id)
    transaction.on_commit(wakeups.work_is_due)


def wake_all(cast_ids: Sequence[uuid.UUID], *, kind: str = "looked_now", by: str = "") -> list[uuid.UUID]:
    """Have workers look at these casts now; return those that are open. Their turns to start stay as they are.

    `by`: the operator who asks for it; their histories get an event of this `kind`.
    """
    woken: list[uuid.UUID] = []
    for some in batches(cast_ids):
        with transaction.atomic():
            still_open = Cast.due_rows().filter(status__in=OPEN).locked(some)
            found = list(still_open.values_list("pk", flat=True))
            still_open.wake()
            if by:
                still_open.forgive()
                operators.note_operator(found, kind, by=by)
            transaction.on_commit(wakeups.work_is_due)
        woken += found
    return woken


def watch(cast_ids: list[uuid.UUID], *, arrived: bool) -> set[uuid.UUID]:
    """Note that somebody follows these casts live, so that they are looked at more often.

    To be called when they `arrived`, which brings the next look nearer, and again before WATCH_LASTS is over. Return
    those to be noted again, because others are writing their rows at this moment.
    """
    now = timezone.now()
    soon = now + dt.timedelta(seconds=settings.CAST_LOOK_WATCHED_SECONDS)
    with transaction.atomic():
        # In order, and skipping locked rows: two processes that note many casts must not block each other.
        running = Cast.objects.filter(pk__in=cast_ids, status__in=OPEN, run_finished_at=None).order_by("pk")
        mine = running
        if connection.features.has_select_for_update_skip_locked:
            mine = mine.select_for_update(skip_locked=True, no_key=True)
        found = list(mine.values_list("pk", flat=True))
        # Hurried are also a cast whose run is still looked for, and one that a worker holds, which then comes back by
        # this time at the latest. One that was not sent waits for what no follower hurries: a limit, a slot, its turn.
        sent = Q(dispatch_started_at__isnull=False, due_at__gt=soon)
        hurry = Case(When(sent | Q(due_at=None, lease_until__isnull=False), then=Value(soon)), default=F("due_at"))
        # One UPDATE for both: a second one of the same row makes Postgres check its foreign keys again.
        Cast.objects.filter(pk__in=found).update(
            watched_until=now + WATCH_LASTS, **({"due_at": hurry} if arrived else {})
        )
    if len(found) == len(cast_ids):
        return set()
    return set(running.values_list("pk", flat=True)) - set(found)


def offer_slot(cast: Cast) -> None:
    # It runs after the commit, which stands if this fails: those who wait look by themselves, only later.
    # A limit may have been raised since the step began that has ended the cast; without one there is nothing to raise.
    for limited in (cast.spell, cast.account):
        if limited.max_running is not None:
            limited.refresh_from_db(fields=["max_running"])
    for waiting in slots.next_in_line(cast):
        wake(waiting.pk)
