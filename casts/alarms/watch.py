"""Looking for trouble again and again, and noting what is to be told: each once, when it begins and when it is over.

One worker at a time looks (`Round`). What it finds is compared with the alarms that are on, and what has changed is
written in one transaction with the messages about it, so it is told once however often somebody dies or looks twice.

A trouble is over when it has been away for ALARM_CLEAR_SECONDS. One that comes back within a day is the same alarm
again, and has to be away twice as long next time: what comes and goes all day is told a few times, not a hundred.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string

from casts.alarms import messages
from casts.models import Alarm, Round
from core.admin.attention import Everything, Trouble
from core.queue.due import DueQuerySet

logger = logging.getLogger(__name__)

BACK_WITHIN = dt.timedelta(days=1)
LONGEST_CLEAR = dt.timedelta(hours=4)
RESTS = dt.timedelta(minutes=10)  # while nobody is to be told
UNREAD = "could not be looked at"


@dataclass(frozen=True)
class Seen:
    """A trouble, and where it was seen."""

    source: str
    section: str
    trouble: Trouble

    @property
    def key(self) -> str:
        return f"{self.source} {self.trouble.identity}"[:500]

    def columns(self) -> dict[str, Any]:
        it = self.trouble
        return {
            "source": self.source,
            "section": self.section,
            "what": f"{it.counted} {it.what}".strip()[:500],
            "count": it.count,
            "advice": it.advice,
            "path": it.path[:2000],
        }


def sources() -> list[str]:
    return [*settings.ATTENTION, *settings.ALARMS]


def look() -> tuple[dict[str, Seen], set[str]]:
    """Return the troubles by key, without hints, and the sources that failed, which are troubles themselves."""
    found: dict[str, Seen] = {}
    failed = set()
    for source in sources():
        try:
            section = import_string(source)(Everything())
        except Exception:  # a mistake in one must not hide the others
            logger.exception("alarm source failed", extra={"source": source})
            failed.add(source)
            said = Trouble(
                f"A part of “Needs attention” {UNREAD}: {source}",
                advice="A bug of ours. The workers' log says more.",
                key=UNREAD,
            )
            found[Seen(source, "Alarms", said).key] = Seen(source, "Alarms", said)
            continue
        for trouble in section.troubles if section is not None else ():
            if not trouble.mild:
                seen = Seen(source, section.title, trouble)
                found.setdefault(seen.key, seen)
    return found, failed


@dataclass
class News:
    """What has changed."""

    new: list[Alarm] = field(default_factory=list)
    back: list[Alarm] = field(default_factory=list)
    still: list[Alarm] = field(default_factory=list)
    over: list[Alarm] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.new, self.back, self.still, self.over))


def compare(seen: Mapping[str, Seen], failed: set[str], now: dt.datetime) -> News:
    """Bring the alarms up to what was seen; for a transaction that nobody else does this in."""
    on, news = {alarm.key: alarm for alarm in Alarm.objects.filter(over_at=None)}, News()
    earlier = Alarm.objects.filter(key__in=seen.keys() - on.keys(), over_at__gt=now - BACK_WITHIN)
    before = {alarm.key: alarm for alarm in earlier.order_by("pk")}
    for key, one in seen.items():
        columns = one.columns()
        if (alarm := on.pop(key, None)) is not None:
            since = min(filter(None, (alarm.since, one.trouble.since)), default=None)
            keep(alarm, columns | {"seen_at": now, "since": since})
            if lasts_long(alarm, now):
                news.still.append(alarm)
        elif (alarm := before.get(key)) is not None:
            changes = {"seen_at": now, "over_at": None, "returns": alarm.returns + 1, "since": one.trouble.since}
            keep(alarm, columns | changes)
            news.back.append(alarm)
        else:
            times = {"began_at": now, "seen_at": now, "told_at": now, "since": one.trouble.since}
            news.new.append(Alarm.objects.create(key=key, **columns, **times))
    for alarm in on.values():
        if alarm.source in failed and not alarm.key.endswith(UNREAD):
            keep(alarm, {"seen_at": now})  # nobody knows
        elif now - alarm.seen_at >= clear_after(alarm):
            keep(alarm, {"over_at": now})
            news.over.append(alarm)
    for told in (*news.back, *news.still, *news.over):
        keep(told, {"told_at": now})
    return news


def keep(alarm: Alarm, columns: Mapping[str, Any]) -> None:
    for name, value in columns.items():
        setattr(alarm, name, value)
    alarm.save(update_fields=list(columns))


def clear_after(alarm: Alarm) -> dt.timedelta:
    first = dt.timedelta(seconds=settings.ALARM_CLEAR_SECONDS)
    times: int = 2 ** min(alarm.returns, 10)
    return min(first * times, max(LONGEST_CLEAR, first))


def lasts_long(alarm: Alarm, now: dt.datetime) -> bool:
    hours = settings.ALARM_REMIND_HOURS
    return hours > 0 and now - alarm.told_at >= dt.timedelta(hours=hours)


class AlarmWork:
    """Looks for trouble, one worker at a time."""

    def rows(self) -> DueQuerySet:
        found: DueQuerySet = Round.due_rows().filter(name=Round.Name.ALARMS)
        return found

    def step(self, row: Round) -> dt.datetime | None:
        if not messages.channels():
            return timezone.now() + RESTS
        seen, failed = look()
        with transaction.atomic():
            # The row is locked until the end: a worker that was held to be dead writes nothing beside its successor.
            if row.mine().update(attempts=F("attempts")):
                tell(compare(seen, failed, timezone.now()))
        return timezone.now() + dt.timedelta(seconds=settings.ALARM_SECONDS)

    def give_up(self, row: Round) -> dt.datetime | None:
        return timezone.now() + RESTS


def tell(news: News) -> None:
    if not news:
        return
    told = {name: [item(alarm) for alarm in ordered(alarms)] for name, alarms in vars(news).items()}
    messages.enqueue("alarms.news", told | {"on": Alarm.objects.filter(over_at=None).count()})
    logger.warning("alarms told", extra={name: len(alarms) for name, alarms in vars(news).items()})


def ordered(alarms: Iterable[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda alarm: (alarm.since or alarm.began_at, alarm.pk))


def item(alarm: Alarm) -> dict[str, Any]:
    """Return what is told of an alarm. Not why: what others said may quote what nobody else should read."""
    return {
        "alarm_id": alarm.pk,
        "section": alarm.section,
        "what": alarm.what,
        "count": alarm.count,
        "since": (alarm.since or alarm.began_at).isoformat(),
        "over_at": alarm.over_at.isoformat() if alarm.over_at else None,
        "advice": alarm.advice,
        "path": alarm.path,
    }


def ensure() -> None:
    """Create the row of the rounds unless it exists. Any worker may call this."""
    Round.objects.get_or_create(name=Round.Name.ALARMS, defaults={"due_at": timezone.now()})
