"""What Stripe tells: stored once by the event's id, then the object that it is about is looked up and folded.

Nothing of what an event says about its object counts: it was true at some time. So nothing of it is stored either.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from core.db.purging import purge_some
from core.queue import wakeups
from core.queue.due import DueQuerySet, batches
from core.queue.poison import how_often
from payments.client import LANE, THREAD_SHARE, Refused, Unauthorized, Unavailable, live
from payments.folding import FOLDS, TYPES, fold
from payments.models import MESSAGE_CHARS, STRIPE_ID_CHARS, StripeEvent

logger = logging.getLogger(__name__)

MOST_WAIT = 3600  # seconds, between tries while Stripe is away; the first is one second
GIVE_UP_AFTER = 84  # tries: three days
LEAST_DAYS = 31  # Stripe's list of events has thirty: what goes earlier would be received again


class Malformed(ValueError):
    """The body is no event of Stripe's."""


@dataclass(frozen=True)
class Told:
    """What counts of an event."""

    id: str
    type: str
    object_type: str
    object_id: str
    created: dt.datetime
    livemode: bool

    @property
    def wanted(self) -> bool:
        return self.type in TYPES and self.object_type in FOLDS and self.livemode == live()


def told(event: Mapping[str, Any]) -> Told:
    """Read an event as Stripe sends or lists it, with a snapshot of its object or without. Raise Malformed."""
    try:
        if event["object"] == "v2.core.event":
            about: Mapping[str, Any] = event
            created = parse_datetime(event["created"])
        else:
            about = event["data"]["object"]
            created = dt.datetime.fromtimestamp(event["created"], dt.UTC)
        # What is a part of another object, such as an upcoming invoice, has no id.
        found = Told(event["id"], event["type"], about["object"], about.get("id") or "", created, event["livemode"])  # type: ignore[arg-type]
        texts = (found.id, found.type, found.object_type, found.object_id)
        fits = all(isinstance(text, str) and len(text) <= STRIPE_ID_CHARS and text.isprintable() for text in texts)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as exc:
        raise Malformed(f"The body is no event of Stripe's: {type(exc).__name__}") from exc
    if not fits or not found.id.startswith("evt_") or created is None or not isinstance(found.livemode, bool):
        raise Malformed("The body is no event of Stripe's: its id, type, object, time or mode is none")
    return found


def receive(event: Told, *, swept: bool = False) -> bool:
    """Store an event, for a worker to apply; False if it was stored before, or is none that we want."""
    if not event.wanted or not event.object_id:
        return False
    now = timezone.now()
    row = StripeEvent(
        id=event.id,
        type=event.type,
        object_type=event.object_type,
        object_id=event.object_id,
        created=event.created,
        received_at=now,
        due_at=now,
        swept=swept,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:  # the id is its only constraint
        StripeEvent.objects.filter(pk=event.id).update(repeats=F("repeats") + 1)
        return False
    transaction.on_commit(wakeups.work_is_due)
    return True


class StripeEventWork:
    """Events whose object is to be looked up."""

    lane, thread_share = LANE, THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return StripeEvent.due_rows()

    def step(self, row: StripeEvent) -> dt.datetime | None:
        try:
            ours = fold(row.object_type, row.object_id)
        except (Unavailable, Unauthorized) as exc:  # the second may be corrected
            return self.failed(row, str(exc), hopeless=row.attempts >= GIVE_UP_AFTER)
        except Refused as exc:
            return self.failed(row, str(exc), hopeless=True)
        state = StripeEvent.State.APPLIED if ours else StripeEvent.State.NOT_OURS
        row.mine().update(state=state, applied_at=timezone.now(), error="")
        return None

    def failed(self, row: StripeEvent, error: str, *, hopeless: bool) -> dt.datetime | None:
        facts = {"event_id": row.pk, "event_type": row.type, "object_id": row.object_id, "why": error}
        row.mine().update(
            error=error[:MESSAGE_CHARS], state=StripeEvent.State.FAILED if hopeless else StripeEvent.State.PENDING
        )
        if hopeless:
            logger.error("Stripe's event not applied", extra=facts)
            return None
        logger.log(logging.WARNING if row.attempts == 1 else logging.INFO, "Stripe's event waits", extra=facts)
        return timezone.now() + dt.timedelta(seconds=min(2 ** min(row.attempts - 1, 20), MOST_WAIT))

    def give_up(self, row: StripeEvent) -> None:
        row.mine().update(state=StripeEvent.State.FAILED, error=how_often(row, "Applying it")[:MESSAGE_CHARS])


def apply_again(event_ids: Sequence[str]) -> list[str]:
    """Have a worker apply these events again, those that failed or were not ours too; return which."""
    tried: list[str] = []
    for some in batches(event_ids):
        with transaction.atomic():
            free = StripeEvent.due_rows().filter(lease_until=None).exclude(state=StripeEvent.State.APPLIED)
            found = list(free.locked(some).values_list("pk", flat=True))
            again = StripeEvent.due_rows().filter(pk__in=found)
            again.update(state=StripeEvent.State.PENDING, attempts=0, failed_steps=0, failure="", applied_at=None)
            again.wake()
            transaction.on_commit(wakeups.work_is_due)
        tried += found
    return tried


def purge() -> int:
    """Delete events applied DELIVERY_RETENTION_DAYS ago; return how many. What failed stays."""
    days = max(settings.DELIVERY_RETENTION_DAYS, LEAST_DAYS)
    old = StripeEvent.objects.filter(
        applied_at__lt=timezone.now() - dt.timedelta(days=days), due_at=None, lease_until=None
    ).order_by("applied_at")
    return purge_some(old)
