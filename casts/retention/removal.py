"""Deleting what casts hold. Each function is told which casts have ended long enough ago, in the transaction of those.

Those that RETENTION names return the casts of which something is still under way, which are looked at again. Any may be
repeated.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Least
from django.utils import timezone

from casts.models import (
    Artifact,
    Callback,
    CallbackAttempt,
    Cast,
    CastEvent,
    CastStatus,
    IdempotencyRecord,
    Kept,
    MetadataMark,
)
from casts.retention.contents import blanked, blanked_error, note
from core.queue import wakeups

Waiting = set[uuid.UUID]
QUOTES = ("title", "jobs")  # of an observation: what a run says in its own words
# The record is inserted after the cast is made, in its transaction; which may have waited for others.
RECORD_BEFORE, RECORD_AFTER = dt.timedelta(seconds=1), dt.timedelta(minutes=2)


@dataclass(frozen=True)
class Due:
    """A cast that has ended, and what of it is to be deleted: kinds, each with after how many days."""

    cast: Cast
    kinds: dict[str, int]


def texts(due: Sequence[Due]) -> None:
    """Empty what callers sent, and what runs put out and said; also where events repeat it."""
    rewrite_events({one.cast.pk: one.kinds for one in due if said_by_events(one.kinds)})
    for one in due:
        Cast.objects.filter(pk=one.cast.pk).update(**changes(one.cast, one.kinds))
    inputs = [one.cast.pk for one in due if Kept.INPUT in one.kinds]
    MetadataMark.objects.filter(cast__in=inputs).delete()


def changes(cast: Cast, kinds: dict[str, int]) -> dict[str, Any]:
    """Return the columns of a cast that are emptied."""
    found: dict[str, Any] = {}
    if Kept.INPUT in kinds:
        found |= {"input": {}, "metadata": {}, "callback_url": ""}
    if Kept.OUTPUT in kinds:
        found |= {"output": None, "summary": ""}
    if Kept.LOG in kinds:
        found |= {"jobs": [], "step_name": "", "annotations": None}
        if cast.status != CastStatus.SUCCEEDED:
            found["message"] = note(kinds[Kept.LOG])
    if cast.observation and {Kept.INPUT, Kept.LOG} & kinds.keys():  # a run's title may hold inputs
        found["observation"] = {name: value for name, value in cast.observation.items() if name not in QUOTES}
    if said_by_events(kinds):
        found["error"] = blanked_error(cast.error, kinds, kinds.get(Kept.LOG, 0))
    return found


def said_by_events(kinds: dict[str, int]) -> bool:
    """Whether events, and the error, repeat what is to be deleted."""
    return bool({Kept.OUTPUT, Kept.LOG} & kinds.keys())


def rewrite_events(due: dict[uuid.UUID, dict[str, int]]) -> None:
    for event in CastEvent.objects.filter(cast__in=due).order_by("cast", "seq").only("cast", "seq", "data"):
        kinds = due[event.cast_id]
        if (left := blanked(event.data, kinds, kinds.get(Kept.LOG, 0))) != event.data:
            CastEvent.objects.filter(cast=event.cast_id, seq=event.seq).update(data=left)


def events(due: Sequence[Due]) -> Waiting:
    CastEvent.objects.filter(cast__in=[one.cast.pk for one in due]).delete()
    return set()


def artifacts(due: Sequence[Due]) -> Waiting:
    """Have copies expire now: a worker deletes each file, and tries until it is gone. See casts.execution.artifacts."""
    now, ids = timezone.now(), [one.cast.pk for one in due]
    old = Artifact.due_rows().filter(cast__in=ids, state=Artifact.State.STORED)
    keys = sorted(old.values_list("pk", flat=True))
    if keys:
        old.locked(keys).update(expires_at=Least(F("expires_at"), now), due_at=now)
        transaction.on_commit(wakeups.work_is_due)
    return set(Artifact.objects.filter(cast__in=ids, state=Artifact.State.PENDING).values_list("cast", flat=True))


def callbacks(due: Sequence[Due]) -> Waiting:
    ids = [one.cast.pk for one in due]
    under_way = Q(due_at__isnull=False) | Q(lease_until__isnull=False)
    waiting = set(Callback.objects.filter(under_way, cast__in=ids).values_list("cast", flat=True))
    delete_callbacks(list(Callback.objects.filter(cast__in=set(ids) - waiting).values_list("pk", flat=True)))
    return {cast_id for cast_id in waiting if cast_id is not None}


def delete_callbacks(keys: Sequence[str]) -> int:
    CallbackAttempt.objects.filter(callback__in=keys).delete()
    return Callback.objects.filter(pk__in=keys).delete()[1].get(Callback._meta.label, 0)


def idempotency(due: Sequence[Due]) -> Waiting:
    """Delete the answers that casts were accepted with. They are found by when that was, in which accounts."""
    wanted = {str(one.cast.pk) for one in due}
    accounts = {one.cast.account_id for one in due}
    found = []
    for first, last in spans([one.cast.created_at for one in due]):
        records = IdempotencyRecord.objects.filter(created_at__range=(first, last), account__in=accounts)
        found += [pk for pk, body in records.values_list("pk", "body") if body.get("cast_id") in wanted]
    IdempotencyRecord.objects.filter(pk__in=found).delete()
    return set()


def spans(moments: Sequence[dt.datetime]) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return when records for casts of these moments were made, as few spans of time as can be."""
    found: list[tuple[dt.datetime, dt.datetime]] = []
    for at in sorted(moments):
        first, last = at - RECORD_BEFORE, at + RECORD_AFTER
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found
