"""The sweep over Stripe's list of events, for what no webhook brought: none was sent, it was lost, or we were away.

A round reads the list from its newest event back to where the round before began, and receives what is not held by the
same function as webhooks. It makes no difference in which order. A step does a bounded part of it; how far a round has
come is in the one row that is claimed for each step.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from payments.client import LANE, THREAD_SHARE, Refused, StripeTrouble, Unauthorized, client, errors
from payments.folding import THIN_TYPES
from payments.inbox import Malformed, Told, receive, told
from payments.models import MESSAGE_CHARS, EventSweep, StripeEvent

logger = logging.getLogger(__name__)

OVERLAP = dt.timedelta(minutes=15)  # with the round before: clocks differ, and the list may lag
REACH = dt.timedelta(days=30)  # Source: https://docs.stripe.com/api/events
PAGE = 100
PAGES_PER_STEP = 20
STEP_SECONDS = 10.0  # a step ends then, so that a worker that is told to stop need not wait long
THIN_MOST = 1_000  # read in one round: they tell of mistakes, and each tells of many
WAITS = (15, 30, 60, 120, 300)  # seconds, after Stripe's trouble


class SweepWork:
    """The sweep, a step at a time."""

    lane, thread_share = LANE, THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return EventSweep.due_rows()

    def step(self, row: EventSweep) -> dt.datetime | None:
        if settings.STRIPE_SWEEP_SECONDS <= 0:
            return None
        if row.began_at is None:
            row.began_at, row.cursor = timezone.now(), ""
            row.since = max((row.read_upto or row.began_at) - OVERLAP, row.began_at - REACH)
        found = 0
        try:
            done, found = go_on(row, ends_at=time.monotonic() + STEP_SECONDS)
        except StripeTrouble as exc:
            return self.troubled(row, exc)
        if found:
            logger.info("Stripe's events recovered", extra={"count": found})
        again = timezone.now()
        if done:
            again = max(again, row.began_at + dt.timedelta(seconds=settings.STRIPE_SWEEP_SECONDS))
            row.read_upto, row.began_at, row.cursor = row.began_at, None, ""
        self.keep(row, failures=0, error="", recovered=F("recovered") + found)
        return again

    def keep(self, row: EventSweep, **changes: Any) -> None:
        progress = {name: getattr(row, name) for name in ("read_upto", "began_at", "since", "cursor")}
        row.mine().update(**progress, **changes)

    def troubled(self, row: EventSweep, exc: StripeTrouble) -> dt.datetime:
        """Return when to go on after a failure of Stripe's. Only the first in a row is logged as a warning."""
        logger.log(logging.INFO if row.failures else logging.WARNING, "sweep of events waits", extra={"why": str(exc)})
        if isinstance(exc, Refused) and not isinstance(exc, Unauthorized):
            row.cursor = ""  # the event may be gone by now
        self.keep(row, failures=F("failures") + 1, error=str(exc)[:MESSAGE_CHARS])
        return timezone.now() + dt.timedelta(seconds=WAITS[min(row.failures, len(WAITS) - 1)])

    def give_up(self, row: EventSweep) -> None:
        row.mine().update(error=how_often(row, "Reading Stripe's list of events")[:MESSAGE_CHARS])
        row.park()


def go_on(row: EventSweep, *, ends_at: float) -> tuple[bool, int]:
    """Read more of the list; return whether its end is reached, and how many were new. Raise StripeTrouble."""
    assert row.since is not None
    found = 0
    for _ in range(PAGES_PER_STEP):
        with errors():
            page = client().v1.events.list(
                {
                    "created": {"gte": int(row.since.timestamp())},
                    "limit": PAGE,
                    **({"starting_after": row.cursor} if row.cursor else {}),
                }
            )
        found += take(page.data)
        if not page.has_more or not page.data:
            return True, found + take(thin(row.since))
        row.cursor = page.data[-1].id
        if time.monotonic() > ends_at:
            break
    return False, found


def thin(since: dt.datetime) -> Iterator[Any]:
    """Yield the events without a snapshot, which Stripe keeps in a list of their own. Raise StripeTrouble."""
    created: Any = {"gte": since.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    with errors():
        found = client().v2.core.events.list({"types": sorted(THIN_TYPES), "created": created, "limit": PAGE})
        yield from islice(found.auto_paging_iter(), THIN_MOST)


def take(events: Iterable[Any]) -> int:
    """Receive what is not held of these; return how many that were."""
    wanted = [event for event in map(readable, events) if event is not None and event.wanted]
    held = set(StripeEvent.objects.filter(pk__in=[event.id for event in wanted]).values_list("pk", flat=True))
    return sum(receive(event, swept=True) for event in wanted if event.id not in held)


def readable(event: Any) -> Told | None:
    try:
        return told(event.to_dict())
    except Malformed as exc:
        logger.warning("Stripe's event can't be read", extra={"event_id": str(event.get("id")), "why": str(exc)})
        return None


def sweep_again() -> bool:
    """Have a worker go on with the sweep, for an operator; False if it is under way, or there is none."""
    found = EventSweep.due_rows().filter(lease_until=None)
    found.forgive()
    woken = found.wake()
    wakeups.work_is_due()
    return bool(woken)


def ensure() -> None:
    """Create the row unless it exists, and wake it if it rests although there is work. Any worker may call this."""
    if settings.STRIPE_SWEEP_SECONDS <= 0:
        return
    now = timezone.now()
    # What happened before there was any billing here is nothing of ours.
    EventSweep.objects.get_or_create(defaults={"due_at": now, "read_upto": now}, pk=EventSweep.SINGLETON_PK)
    EventSweep.objects.filter(due_at=None, lease_until=None, failed_steps=0).update(due_at=now)
