"""Receiving deliveries: store once, apply, and try again what did not apply. One function for all of them."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DataError, Error, IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from casts.models import Cast
from casts.runtime import Observation
from core.db import months
from core.db.away import Away
from core.db.commits import once_committed
from core.db.compiled import Insert
from core.db.locks import wait_for_locks
from core.db.purging import purge_some
from core.queue import wakeups
from core.queue.due import DueQuerySet, batches
from core.queue.poison import how_often
from core.redaction import error_text
from github_integration import wire
from webhooks import metrics
from webhooks.handlers import HANDLERS, OBSERVED, BadValue, fold_all
from webhooks.models import Delivery
from webhooks.reading import Arrived, Malformed, Read, parse, read_delivery

logger = logging.getLogger(__name__)

# Seconds until the next try after a failure: most pass by themselves, but a bug may need a release.
RETRY_SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 300, 1800, 7200)
GIVE_UP_AFTER = 20
MAY_BE_LATE = (Delivery.Outcome.PENDING, Delivery.Outcome.NOT_OURS)  # a later look may judge these differently
# What may be ours waits for `run_known`; this is for when that is never called, as when its cast ends without a run.
WAIT_SECONDS = 60.0

# How long to wait for a row that somebody else has locked: all deliveries wait behind this one, and a worker tries it
# again.
LOCK_MS = 500

LEAST_DAYS = 4  # GitHub's log has three: what goes earlier would be received again (webhooks.sweep)


ADD_DELIVERY = Insert(Delivery)


ERROR_CHARS = 1000
# Values that can't be read, or that no database takes: another try has the same ones.
HOPELESS = (BadValue, DataError, OverflowError)


class Altered(Exception):
    """A delivery with this GUID is stored, and its body is another one."""


def receive_delivery(*, guid: str, event: str, body: bytes, swept: bool = False) -> bool:
    """Store a verified delivery and apply it; False if it was stored before. Raise Malformed or Altered."""
    [verdict] = receive_deliveries([Arrived(guid, event, body, swept)])
    if isinstance(verdict, Exception):
        raise verdict
    return verdict


def receive_deliveries(some: Sequence[Arrived]) -> list[bool | Exception]:
    """Store verified deliveries and apply them, in the order in which they came.

    Return of each True, False if it was stored before, or what refuses it: Malformed or Altered. What concerns casts
    that have their runs is stored and applied in one transaction, everything else in one of its own; so
    nobody suffers from what else came at the same time.
    """
    verdicts: dict[int, bool | Exception] = {}
    read: dict[int, Read] = {}
    for place, one in enumerate(some):
        try:
            if (is_read := read_delivery(one)) is None:
                verdicts[place] = True
            else:
                read[place] = is_read
        except Malformed as exc:
            verdicts[place] = exc
    done = store_together(read) if len(read) > 1 else ()
    away = Away()
    for place, one_read in read.items():
        try:
            verdicts[place] = place in done or away.unless(store_alone, one_read)
        except Exception as exc:  # also what is no verdict: the others have theirs
            verdicts[place] = exc
    return [verdicts[place] for place in range(len(some))]


def store_together(read: Mapping[int, Read]) -> set[int]:
    """Store and apply those of deliveries that need no more than the casts that have their runs.

    In one transaction; return which. Whatever goes wrong goes wrong for none of them: those that are not done are for
    `store_alone`.
    """
    seen: dict[int, Observation] = {}
    guids: set[str] = set()
    for place, one in read.items():
        if one.row.event in OBSERVED and one.row.guid not in guids:  # of twins the second is a repetition
            guids.add(one.row.guid)
            with suppress(Exception):  # found again alone, where it is told
                seen[place] = OBSERVED[one.row.event](one.payload)
    for _ in range(2):
        try:
            with transaction.atomic():
                return fold_and_store(read, seen)
        except IntegrityError:
            # GitHub sends some again. Without these the others can still go together.
            here = Delivery.objects.filter(guid__in=[read[place].row.guid for place in seen])
            repetitions = set(here.values_list("guid", flat=True))
            seen = {place: one for place, one in seen.items() if read[place].row.guid not in repetitions}
        except (Error, OverflowError):  # a row is locked for long, or a value is none that is stored
            logger.info("deliveries are applied one by one", exc_info=True)
            break
        except Exception:  # a bug, perhaps only of doing it together; the others must not suffer from it
            logger.exception("deliveries are applied one by one")
            break
    return set()


def fold_and_store(read: Mapping[int, Read], seen: Mapping[int, Observation]) -> set[int]:
    if not seen:
        return set()
    wait_for_locks(LOCK_MS)
    outcomes = dict(zip(seen, fold_all(list(seen.values())), strict=True))
    done = {place: outcome for place, outcome in outcomes.items() if outcome is not None}
    for place, outcome in done.items():
        settle(read[place].row, outcome, "")
        transaction.on_commit(partial(metrics.stored, read[place].row))
    # In one order: of two rounds with the same GUIDs, neither waits for what the other will store.
    ADD_DELIVERY.all(sorted((read[place].row for place in done), key=lambda row: row.guid))
    return set(done)


def store_alone(one: Read) -> bool:
    """Store a delivery and apply it; False if it was stored before. Raise Altered.

    Storing and applying are one transaction. If applying fails, the delivery is stored with its error and tried again;
    one that holds what can't be is stored as refused.
    """
    row, payload = one.row, one.payload
    try:
        with transaction.atomic():
            wait_for_locks(LOCK_MS)
            return store(row, HANDLERS[row.event](payload))
    except AlreadyHere:
        return repeated(row.guid, row.event, payload)
    except Exception as exc:  # all of that was rolled back: it is stored alone
        outcome, error = failed(row, exc)
    try:
        with transaction.atomic():
            return store(row, outcome, error)
    except AlreadyHere:
        return repeated(row.guid, row.event, payload)


def failed(row: Delivery, exc: Exception) -> tuple[Delivery.Outcome, str]:
    """Log why a delivery could not be applied; return what that makes of it, and its error."""
    error = wire.plain(str(exc) if isinstance(exc, BadValue) else error_text(exc))[:ERROR_CHARS]
    facts = {"guid": row.guid, "event_name": row.event}
    if isinstance(exc, HOPELESS):
        logger.warning("delivery refused", extra=facts | {"reason": " ".join(error.split())})
        return Delivery.Outcome.REFUSED, error
    logger.error("delivery not applied", exc_info=exc, extra=facts)
    return Delivery.Outcome.PENDING, error


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

    Those that were applied stay so, and one that is being tried at this moment is left alone; as is one whose body was
    deleted (webhooks.retention), which would fail for good.
    """
    tried: list[int] = []
    for some in batches(delivery_ids):
        with transaction.atomic():
            open_ = (Delivery.Outcome.PENDING, Delivery.Outcome.REFUSED)
            whole = Delivery.due_rows().exclude(body="")
            free = whole.filter(outcome__in=open_, lease_until=None).locked(some)
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
    """Delete deliveries settled DELIVERY_RETENTION_DAYS ago; return how many. What failed to apply stays.

    On Postgres a month of which nothing has to stay goes at once, and is not counted.
    """
    before = timezone.now() - dt.timedelta(days=max(settings.DELIVERY_RETENTION_DAYS, LEAST_DAYS))
    months.drop_months(Delivery, before, stays=lambda part: any_stays(part, before), reopened=any_open)
    singly = months.singly(Delivery, before)
    old = Delivery.objects.filter(applied_at__lt=singly, due_at=None, lease_until=None).order_by("applied_at")
    return purge_some(old)


def any_open(part: months.Part) -> bool:
    """Whether a month has deliveries that somebody is to look at: each is found by an index."""
    open_ = (Q(due_at__isnull=False), Q(lease_until__isnull=False), Q(outcome=Delivery.Outcome.PENDING))
    return any(part.of(Delivery.objects.filter(one)).exists() for one in open_)


def any_stays(part: months.Part, before: dt.datetime) -> bool:
    """Whether a month has deliveries that are not to be purged yet."""
    settled_lately = Delivery.objects.filter(applied_at__gte=before)
    return (
        any_open(part) or part.of(settled_lately).exists() or part.of(Delivery.objects.filter(applied_at=None)).exists()
    )
