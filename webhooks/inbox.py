"""Receiving deliveries: store once, apply, and try again what did not apply. One function for all of them."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from casts.models import Cast
from core.db.commits import once_committed
from core.db.compiled import Insert
from core.db.purging import purge_some
from core.queue import wakeups
from core.queue.due import DueQuerySet, batches
from core.queue.poison import how_often
from core.redaction import error_text
from github_integration import wire
from webhooks import metrics
from webhooks.handlers import HANDLERS, BadValue, is_kept, misfit, repository_of, run_of
from webhooks.models import Delivery

logger = logging.getLogger(__name__)

# Seconds until the next try after a failure: most pass by themselves, but a bug may need a release.
RETRY_SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 300, 1800, 7200)
GIVE_UP_AFTER = 20
MAY_BE_LATE = (Delivery.Outcome.PENDING, Delivery.Outcome.NOT_OURS)  # a later look may judge these differently
# What may be ours waits for `run_known`; this is for when that is never called, as when its cast ends without a run.
WAIT_SECONDS = 60.0

LEAST_DAYS = 4  # GitHub's log has three: what goes earlier would be received again (webhooks.sweep)


ADD_DELIVERY = Insert(Delivery)


# By event and action: where a delivery has the time of what it tells of.
HAPPENED = {
    "workflow_run": dict.fromkeys(("requested", "in_progress", "completed"), ("updated_at",)),
    "workflow_job": {
        "queued": ("created_at",),
        "in_progress": ("started_at",),
        "completed": ("completed_at",),
    },
}
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ERROR_CHARS = 1000
# Values that can't be read, or that no database takes: another try has the same ones.
HOPELESS = (BadValue, DataError, OverflowError)


class Malformed(ValueError):
    """The body is not what GitHub sends for this event."""


class Altered(Exception):
    """A delivery with this GUID is stored, and its body is another one."""


def receive_delivery(*, guid: str, event: str, body: bytes, swept: bool = False) -> bool:
    """Store a verified delivery and apply it; False if it was stored before. Raise Malformed or Altered.

    Storing and applying are one transaction. If applying fails, the delivery is stored with its error and tried again;
    one that holds what can't be is stored as refused.
    """
    if event not in HANDLERS:
        return True
    text, payload = parse(body)
    if (why := misfit(event, payload)) is not None:
        raise Malformed(why)
    if not is_kept(event, payload):
        return True
    try:
        action, repository, run_id = wire.plain(payload.get("action")), repository_of(payload), run_of(event, payload)
    except (TypeError, KeyError, ValueError, AttributeError) as exc:
        raise Malformed(f"The body is not that of a {event} event: {exc!r}") from exc
    row = Delivery(
        guid=guid.lower(),
        event=event,
        action=action[:40],
        repository=repository[:140],
        run_id=run_id,
        body=text,
        received_at=timezone.now(),
        happened_at=happened(event, payload),
        swept=swept,
    )
    try:
        with transaction.atomic():
            return store(row, HANDLERS[event](payload))
    except AlreadyHere:
        return repeated(row.guid, event, payload)
    except Exception as exc:  # all of that was rolled back: it is stored alone
        outcome, error = failed(row, exc)
    try:
        with transaction.atomic():
            return store(row, outcome, error)
    except AlreadyHere:
        return repeated(row.guid, event, payload)


def failed(row: Delivery, exc: Exception) -> tuple[Delivery.Outcome, str]:
    """Log why a delivery could not be applied; return what that makes of it, and its error."""
    error = wire.plain(str(exc) if isinstance(exc, BadValue) else error_text(exc))[:ERROR_CHARS]
    facts = {"guid": row.guid, "event_name": row.event}
    if isinstance(exc, HOPELESS):
        logger.warning("delivery refused", extra=facts | {"reason": " ".join(error.split())})
        return Delivery.Outcome.REFUSED, error
    logger.error("delivery not applied", exc_info=exc, extra=facts)
    return Delivery.Outcome.PENDING, error


def happened(event: str, payload: dict[str, Any]) -> dt.datetime | None:
    """Return when that happened which a run's or a job's delivery tells of, None of others."""
    about = payload.get(event)
    names = HAPPENED.get(event, {}).get(str(payload.get("action")), ())
    if not isinstance(about, dict):
        return None
    return next((at for name in names if (at := time_of(about.get(name))) is not None), None)


def time_of(value: Any) -> dt.datetime | None:
    try:
        return wire.parse_time(value)
    except (ValueError, TypeError, OverflowError):
        return None


class AlreadyHere(Exception):
    """A delivery with this GUID is stored already."""


def store(row: Delivery, outcome: str, error: str = "") -> bool:
    """Store a delivery with its outcome. Raise AlreadyHere, which must end the transaction."""
    settle(row, outcome, error)
    try:
        ADD_DELIVERY.run(row)
    except IntegrityError as exc:  # the GUID is its only constraint
        raise AlreadyHere from exc
    transaction.on_commit(partial(metrics.stored, row))
    return True


def repeated(guid: str, event: str, payload: dict[str, Any]) -> bool:
    """Count a repetition. Raise Altered if it is none.

    What the sweep recovers is written anew, so what is compared is what the bodies say.
    """
    found = Delivery.objects.filter(guid=guid)
    before = found.values_list("body", flat=True).first()
    # A blank body was deleted (webhooks.retention).
    if before and json.loads(before) != payload:
        found.update(altered=F("altered") + 1)
        metrics.DELIVERIES.labels(event, "altered").inc()
        raise Altered(guid)
    metrics.DELIVERIES.labels(event, "repeated").inc()
    found.update(repeats=F("repeats") + 1)
    return False


def settle(delivery: Delivery, outcome: str, error: str) -> None:
    """Set a delivery's outcome, and when to try again (`due_at`; None: done, or given up). Does not save."""
    delivery.due_at = None
    if outcome == Delivery.Outcome.PENDING:
        if not error:
            delivery.due_at = timezone.now() + dt.timedelta(seconds=WAIT_SECONDS)
        elif delivery.attempts < GIVE_UP_AFTER:
            wait = RETRY_SECONDS[min(delivery.attempts, len(RETRY_SECONDS) - 1)]
            delivery.due_at = timezone.now() + dt.timedelta(seconds=wait)
            transaction.on_commit(wakeups.work_is_due)
    if outcome in MAY_BE_LATE and not error and delivery.run_id is not None:
        # Its run may have become known while we stored it, when this row could not be seen yet.
        once_committed(hurry, delivery)
    delivery.outcome, delivery.error = outcome, error
    settled = outcome == Delivery.Outcome.REFUSED or not (error or delivery.due_at)
    delivery.applied_at = timezone.now() if settled else None


def hurry(delivery: Delivery) -> None:
    """Have a delivery applied now if a cast is known to have its run by now."""
    assert delivery.run_id is not None
    if Cast.objects.filter(run_key=str(delivery.run_id), run_scope__iexact=delivery.repository).exists():
        run_known(delivery.repository, str(delivery.run_id))


def run_known(repository: str, run: str | None, tag: str = "") -> None:
    """Have the deliveries about a run applied, now that a cast has it, including those that were taken for not ours.

    Without a run: those in this repository that wait with this `tag` are judged again, as now their title may tell.
    """
    if run is None:
        of_title = Delivery.objects.filter(repository__iexact=repository, event="workflow_run", body__contains=tag)
        late = of_title.filter(outcome=Delivery.Outcome.PENDING, error="")
    else:
        late = Delivery.of_run(repository, int(run)).filter(outcome__in=MAY_BE_LATE, error="")
    keys = list(late.order_by().values_list("pk", flat=True))
    if not keys:
        return
    with transaction.atomic():
        # Locked in order: two runs' news may come for the same deliveries at once. What was judged meanwhile stays.
        still = Delivery.due_rows().locked(keys).filter(outcome__in=MAY_BE_LATE, error="")
        still.update(outcome=Delivery.Outcome.PENDING, applied_at=None)
        still.wake()
    wakeups.work_is_due()


def parse(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return a body as text and as JSON object. Raise Malformed."""
    try:
        text = body.decode()
        payload = json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"The body is not JSON: {exc}") from exc
    if not isinstance(payload, dict):
        raise Malformed("The body is not a JSON object")
    if "\x00" in text:
        raise Malformed("The body holds NUL characters")
    return text, payload


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def apply(delivery: Delivery, payload: dict[str, Any], row: QuerySet[Delivery]) -> dt.datetime | None:
    """Apply a stored delivery and write the outcome to `row`, which is empty for a worker that has lost its claim.

    Return when to try again (None: done, or given up).
    """
    try:
        with transaction.atomic():
            outcome, error = HANDLERS[delivery.event](payload), ""
    except Exception as exc:
        outcome, error = failed(delivery, exc)
    # Not `due_at`: it may have been woken meanwhile, because its run has become known.
    with transaction.atomic():
        settle(delivery, outcome, error)
        row.update(outcome=delivery.outcome, error=delivery.error, applied_at=delivery.applied_at)
    return delivery.due_at


def apply_again(delivery_ids: Sequence[int]) -> list[int]:
    """Have a worker try these deliveries again, including those that were given up or refused; return which.

    Those that were applied stay so, and one that is being tried at this moment is left alone.
    """
    tried: list[int] = []
    for some in batches(delivery_ids):
        with transaction.atomic():
            open_ = (Delivery.Outcome.PENDING, Delivery.Outcome.REFUSED)
            free = Delivery.due_rows().filter(outcome__in=open_, lease_until=None).locked(some)
            found = list(free.values_list("pk", flat=True))
            # With all of its tries again.
            again = Delivery.due_rows().filter(pk__in=found)
            anew = {"attempts": 0, "failed_steps": 0, "failure": "", "applied_at": None}
            again.update(outcome=Delivery.Outcome.PENDING, **anew)
            again.wake()
            transaction.on_commit(wakeups.work_is_due)
        tried += found
    return tried


class DeliveryWork:
    """Deliveries whose run has become known, or that failed to apply."""

    def rows(self) -> DueQuerySet:
        return Delivery.due_rows()

    def step(self, row: Delivery) -> dt.datetime | None:
        return apply(row, parse(row.body.encode())[1], row.mine())

    def give_up(self, row: Delivery) -> None:
        error = how_often(row, "Applying it")
        row.mine().update(outcome=Delivery.Outcome.PENDING, error=error, applied_at=None)


def purge() -> int:
    """Delete deliveries settled DELIVERY_RETENTION_DAYS ago; return how many. What failed to apply stays."""
    days = max(settings.DELIVERY_RETENTION_DAYS, LEAST_DAYS)
    old = Delivery.objects.filter(
        applied_at__lt=timezone.now() - dt.timedelta(days=days), due_at=None, lease_until=None
    ).order_by("applied_at")
    return purge_some(old)
