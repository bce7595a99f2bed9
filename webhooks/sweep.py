"""The delivery sweep: GitHub sends no webhook twice by itself, but keeps a log, where we find what never reached us.

A round reads the log from its newest line back to where the last round began, notes what we do not have, and then
receives that, oldest first, by the same function as other deliveries. It is done in steps of bounded work; its progress
is stored in the one row that is claimed for each step, so one worker sweeps at a time and another can go on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import DataError
from django.db.models import F
from django.utils import timezone

from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from core.redaction import error_text
from github_integration import errors
from github_integration.api import github
from github_integration.wire import LoggedDelivery, SentDelivery
from webhooks.handlers import HANDLERS, LISTED_ANYWAY
from webhooks.inbox import Altered, receive_delivery
from webhooks.models import Delivery, DeliverySweep
from webhooks.reading import GUID, Malformed

logger = logging.getLogger(__name__)

OVERLAP = dt.timedelta(minutes=15)  # with the round before: lines get into the log late, and clocks differ
LOG_REACH = dt.timedelta(hours=70)  # GitHub keeps three days; what is about to go may be gone when we ask for it
PAGES_PER_STEP, FETCHES_PER_STEP = 20, 200
STEP_SECONDS = 10.0  # a step ends then, so that a worker that is told to stop need not wait long
MISSING_MAX = 5_000  # noted in one round, the oldest of them; the next round finds the others
SWEPT = HANDLERS.keys() - set(LISTED_ANYWAY)
RETRY_SOON = dt.timedelta(seconds=1)
WAITS = (15, 30, 60, 120, 300)  # seconds, after GitHub's trouble


@dataclass
class Round:
    """The progress of a round. `missing` is newest first while the log is read, as the log is."""

    upto: dt.datetime  # what is older than this will be swept when the round is done
    since: dt.datetime
    cursor: str = ""
    listed: bool = False  # the log has been read
    missing: list[LoggedDelivery] = field(default_factory=list)
    put_off: list[LoggedDelivery] = field(default_factory=list)  # GitHub failed to show these; for the next round
    unreadable: list[LoggedDelivery] = field(default_factory=list)  # need not be asked for again
    settled: list[int] = field(default_factory=list)  # installations of which we hold something newer

    def note(self, lines: Iterable[LoggedDelivery], *, held: set[str]) -> None:
        """Note what we do not have of one page of the log."""
        known = held | {line.guid for line in self.unreadable}
        for line in lines:
            of_installation = line.event == "installation" and line.installation is not None
            if line.guid in known:
                if of_installation and line.guid in held:
                    self.settled.append(line.installation or 0)
            elif of_installation and line.installation in self.settled:
                pass  # it tells a whole state, which a newer one has replaced
            else:
                self.missing.append(line)
        # The newest are left for the next round, which then has to begin before them.
        for dropped in self.missing[:-MISSING_MAX]:
            self.upto = min(self.upto, dropped.delivered_at)
        self.missing = self.missing[-MISSING_MAX:]

    def all_listed(self) -> None:
        """Begin to receive: what is missing, and what the round before put off. Of redeliveries only the first."""
        together = {line.guid: line for line in [*self.put_off, *self.missing]}
        self.missing = sorted(together.values(), key=lambda line: (line.delivered_at, line.id), reverse=True)
        self.put_off, self.listed, self.cursor = [], True, ""

    def list_anew(self) -> None:
        self.cursor, self.missing, self.settled = "", [], []

    def recovered(self, line: LoggedDelivery) -> None:
        """Drop deliveries that were put off and that the one just received has made obsolete."""
        if line.event == "installation":
            self.put_off = [o for o in self.put_off if (o.event, o.installation) != (line.event, line.installation)]

    def stored(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=dt.datetime.isoformat))
        return told


def round_of(row: DeliverySweep) -> Round:
    was, oldest = row.progress, timezone.now() - LOG_REACH
    lists = {name: [line_of(line) for line in was.get(name, [])] for name in ("missing", "put_off", "unreadable")}
    if "upto" in was:
        upto, since = dt.datetime.fromisoformat(was["upto"]), dt.datetime.fromisoformat(was["since"])
        return Round(upto, since, was["cursor"], was["listed"], settled=was["settled"], **lists)
    since = oldest if row.swept_to is None else max(row.swept_to - OVERLAP, oldest)
    return Round(
        upto=timezone.now(),
        since=since,
        put_off=[line for line in lists["put_off"] if line.delivered_at >= oldest],
        unreadable=[line for line in lists["unreadable"] if line.delivered_at >= since],
    )


def line_of(stored: dict[str, Any]) -> LoggedDelivery:
    return LoggedDelivery(**{**stored, "delivered_at": dt.datetime.fromisoformat(stored["delivered_at"])})


class SweepWork:
    """The sweep, a step at a time."""

    def rows(self) -> DueQuerySet:
        return DeliverySweep.due_rows()

    def step(self, row: DeliverySweep) -> dt.datetime | None:
        if not possible():
            return None
        under_way = round_of(row)
        batch = SweepBatch(under_way, ends_at=time.monotonic() + STEP_SECONDS)
        if row.failed_steps:  # so that what ends the worker can be told from what came before it
            batch.note = lambda: row.mine().update(progress=under_way.stored())
        changes: dict[str, Any] = {}
        try:
            batch.go_on()
        except errors.GitHubError as exc:
            again = self.troubled(row, under_way, exc)
            changes = {"error": str(exc), "failures": F("failures") + 1, "progress": under_way.stored()}
        else:
            again = timezone.now() + RETRY_SOON
            changes = {"error": row.error if under_way.put_off else "", "failures": 0, "progress": under_way.stored()}
            if under_way.listed and not under_way.missing:
                left = {name: changes["progress"][name] for name in ("put_off", "unreadable")}
                changes |= {"progress": left, "swept_to": under_way.upto, "finished_at": timezone.now()}
                again = max(again, under_way.upto + dt.timedelta(seconds=settings.DELIVERY_SWEEP_SECONDS))
        if batch.recovered:
            logger.info("deliveries recovered", extra={"count": batch.recovered})
        changes |= {"recovered": F("recovered") + batch.recovered, "unreadable": F("unreadable") + batch.unreadable}
        row.mine().update(**changes)
        return again

    def give_up(self, row: DeliverySweep) -> dt.datetime | None:
        """Leave out the one delivery that was being received, and go on; a log that can't be read is left alone."""
        under_way = round_of(row)
        if not under_way.missing or not under_way.listed:
            row.mine().update(error=how_often(row, "Reading GitHub's log"))
            row.park()
            return None
        line = under_way.missing.pop()
        under_way.unreadable.append(line)
        logger.error("delivery not recovered", extra={"guid": line.guid, "why": row.failure})
        row.mine().update(progress=under_way.stored(), unreadable=F("unreadable") + 1)
        return timezone.now()

    def troubled(self, row: DeliverySweep, under_way: Round, exc: errors.GitHubError) -> dt.datetime:
        """Return when to go on after a failure of GitHub's. Only the first in a row is logged as a warning."""
        logger.log(logging.INFO if row.failures else logging.WARNING, "delivery sweep waits", extra={"why": str(exc)})
        if isinstance(exc, errors.Refused) and under_way.cursor:
            under_way.list_anew()  # the cursor is not known any more
        wait = dt.timedelta(seconds=WAITS[min(row.failures, len(WAITS) - 1)])
        retry_at = exc.retry_at if isinstance(exc, errors.RateLimited) else None
        return retry_at or timezone.now() + wait


@dataclass
class SweepBatch:
    """As much of a round as one step does."""

    round: Round
    ends_at: float  # time.monotonic()
    recovered: int = 0
    unreadable: int = 0
    note: Callable[[], object] = lambda: None  # called before the first delivery, and after each

    def go_on(self) -> None:
        """Read more of the log; when that is done, receive what is missing. Raise GitHubError."""
        pages = 0
        while not self.round.listed and pages < PAGES_PER_STEP and self.in_time():
            self.read_page()
            pages += 1
        if self.round.listed:
            self.note()
            self.receive_missing()

    def in_time(self) -> bool:
        return time.monotonic() < self.ends_at

    def read_page(self) -> None:
        under_way = self.round
        lines, following = github().app.deliveries(under_way.cursor)
        wanted = [
            line
            for line in lines
            if line.event in SWEPT and line.delivered_at >= under_way.since and GUID.fullmatch(line.guid)
        ]
        under_way.note(wanted, held=held(wanted))
        at_the_end = bool(lines) and lines[-1].delivered_at < under_way.since
        if at_the_end or following in ("", under_way.cursor):
            under_way.all_listed()
        else:
            under_way.cursor = following

    def receive_missing(self) -> None:
        missing = self.round.missing
        # Some may have arrived since the log was read.
        came_meanwhile = held(missing[-FETCHES_PER_STEP:])
        for _ in range(min(FETCHES_PER_STEP, len(missing))):
            if not self.in_time():
                break
            if missing[-1].guid not in came_meanwhile:
                self.recover(missing[-1])
            missing.pop()
            self.note()

    def recover(self, line: LoggedDelivery) -> None:
        """Fetch one delivery and receive it. Raise GitHubError; put it off if the error may concern it alone."""
        try:
            self.recovered += receive_delivery(
                guid=line.guid, event=line.event, body=payload_of(github().app.delivery(line.id)), swept=True
            )
            self.round.recovered(line)
        except (Malformed, Altered, errors.NotFound, errors.Gone, RecursionError, DataError) as exc:
            logger.warning("delivery not recovered", extra={"guid": line.guid, "why": error_text(exc)})
            self.round.unreadable.append(line)
            self.unreadable += 1
        except (errors.RateLimited, errors.AuthFailed):
            raise
        except errors.GitHubError as exc:
            # GitHub answered, so the trouble may be this delivery's alone, and the others need not wait for it.
            if exc.status is not None:
                self.round.put_off.append(self.round.missing.pop())
            raise


def held(lines: Iterable[LoggedDelivery]) -> set[str]:
    return set(Delivery.objects.filter(guid__in=[line.guid for line in lines]).values_list("guid", flat=True))


def payload_of(delivery: SentDelivery) -> bytes:
    """Return the body that GitHub sent, or would have sent. Raise Malformed."""
    if delivery.payload is None:
        raise Malformed("GitHub shows no payload")
    return json.dumps(delivery.payload).encode()


def possible() -> bool:
    """Whether there is a log, and the settings want it read. A personal token has none."""
    return settings.DELIVERY_SWEEP_SECONDS > 0 and bool(github().app_id)


def sweep_again() -> bool:
    """Have a worker go on with the sweep, for an operator; False if it is under way, or there is none."""
    found = DeliverySweep.due_rows().filter(lease_until=None)
    found.forgive()
    woken = found.wake()
    wakeups.work_is_due()
    return bool(woken)


def ensure() -> None:
    """Create the row unless it exists, and wake it if it rests although there is work. Any worker may call this."""
    if not possible():
        return
    now = timezone.now()
    DeliverySweep.objects.get_or_create(defaults={"due_at": now}, pk=DeliverySweep.SINGLETON_PK)
    DeliverySweep.objects.filter(due_at=None, lease_until=None).update(due_at=now)
