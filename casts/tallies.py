"""Counting casts by hour, day and spell, so that the dashboard need not read a week of them.

What an hour or a day came to is counted from its casts and stored; as long as some of them are open it is counted again
and again, and a day is counted from its casts, not from its hours. So a tally can be lost, repeated or late, and the
next round puts it right. What is not stored yet of the last two days is counted when somebody asks.

How long casts waited and ran is kept as a count for each step of a scale whose steps are five percent apart, so that
hours add up to days, and spells to all: a percentile is exact to within half a step. A cast belongs to the hour in
which it was accepted.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Min, QuerySet
from django.utils import timezone

from casts.models import OPEN, Cast, CastStatus, CastTally, Round
from core.brief import Brief
from core.db.times import HourNumber, SecondsBetween
from core.ids import first_id
from core.queue.due import DueQuerySet

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
NEAR = dt.timedelta(seconds=10)  # between the time in a cast's id and when it was accepted, at most
SETTLED = dt.timedelta(
    minutes=5
)  # after its end a span is counted: casts are committed some time after they are accepted
DAYS_COUNTED = 35  # what the rounds look at; older tallies are left as they are, and kept for DAYS_KEPT
DAYS_KEPT = 400
AGAIN = dt.timedelta(seconds=60)  # between rounds
STEP_SECONDS = 3.0  # of work in one step; what is left is done in the next
LEAST, SCALE = 0.1, 1.05  # seconds of the scale's first step, and how much longer each is
Span = CastTally.Span


def place(seconds: float) -> int:
    """Return the step of the scale that a time falls on."""
    return 0 if seconds <= LEAST else math.ceil(math.log(seconds / LEAST) / math.log(SCALE) - 1e-9)


def middle(step: int) -> float:
    """Return the seconds that a step stands for."""
    return LEAST * SCALE ** (step - 0.5) if step else LEAST


def percentile(times: Mapping[int, int], percent: int) -> float | None:
    """Return the seconds below which so many percent of the times are (nearest rank), None if there are none."""
    rank = math.ceil(sum(times.values()) * percent / 100)
    for step in sorted(times):
        rank -= times[step]
        if rank <= 0:
            return middle(step)
    return None


@dataclass
class Failures:
    """How often casts failed for one reason, and when the first and the last of them did."""

    count: int
    first: dt.datetime
    last: dt.datetime

    def add(self, other: Failures) -> None:
        self.count += other.count
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)


@dataclass
class Tally:
    """What became of some casts. Times are counted by the steps of the scale."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Failures] = field(default_factory=dict)  # by reason
    waits: Counter[int] = field(default_factory=Counter)  # from acceptance to the run's start
    runs: Counter[int] = field(default_factory=Counter)  # from the run's start to the cast's end

    def add(self, other: Tally) -> None:
        self.statuses.update(other.statuses)
        self.waits.update(other.waits)
        self.runs.update(other.runs)
        for reason, failures in other.failures.items():
            self.failed(reason, failures)

    def failed(self, reason: str, failures: Failures) -> None:
        if reason in self.failures:
            self.failures[reason].add(failures)
        else:
            self.failures[reason] = Failures(failures.count, failures.first, failures.last)

    @property
    def casts(self) -> int:
        return self.statuses.total()

    @property
    def open(self) -> int:
        return sum(self.statuses[status] for status in OPEN)

    def stored(self) -> dict[str, Any]:
        return {
            "statuses": dict(self.statuses),
            "failures": {
                reason: [one.count, one.first.isoformat(), one.last.isoformat()]
                for reason, one in self.failures.items()
            },
            "waits": self.waits,
            "runs": self.runs,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Tally:
        read = dt.datetime.fromisoformat
        return cls(
            Counter(stored["statuses"]),
            {
                reason: Failures(count, read(first), read(last))
                for reason, (count, first, last) in stored["failures"].items()
            },
            Counter({int(step): count for step, count in stored["waits"].items()}),
            Counter({int(step): count for step, count in stored["runs"].items()}),
        )


BySpell = dict[int, Tally]


def together(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for one in tallies:
        total.add(one)
    return total


def by_spell(several: Iterable[BySpell]) -> BySpell:
    found: BySpell = defaultdict(Tally)
    for one in several:
        for spell, tally in one.items():
            found[spell].add(tally)
    return dict(found)


# --- Counting ----------------------------------------------------------------------------------------------------


def hour_of(at: dt.datetime) -> dt.datetime:
    return at.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: dt.datetime) -> dt.datetime:
    return hour_of(at).replace(hour=0)


def accepted(casts: QuerySet[Any], first: dt.datetime, last: dt.datetime) -> QuerySet[Any]:
    """Return the casts that were accepted from `first` on and before `last`.

    They are found by their ids, which begin with the time; of accepting one there is no index.
    """
    near = casts.filter(pk__gte=first_id(first - NEAR), pk__lt=first_id(last + NEAR))
    found: QuerySet[Any] = near.filter(created_at__gte=first, created_at__lt=last)
    return found


def count(first: dt.datetime, last: dt.datetime, spell: int | None = None) -> dict[dt.datetime, BySpell]:
    """Count the casts that were accepted from `first` on and before `last`, by the hour; read from them all.

    Hours without casts are left out. `spell`: of this one alone.
    """
    casts = accepted(Cast.objects.order_by(), first, last).annotate(hour=HourNumber("created_at"))
    if spell is not None:
        casts = casts.filter(spell=spell)
    found: dict[int, BySpell] = defaultdict(lambda: defaultdict(Tally))
    ended = {"number": Count("pk"), "first": Min("finished_at"), "last": Max("finished_at")}
    for hour, whose, status, reason, number, began, end in casts.values_list(
        "hour", "spell_id", "status", "status_reason"
    ).annotate(**ended):
        tally = found[hour][whose]
        tally.statuses[status] += number
        if status == CastStatus.FAILED:
            tally.failed(reason, Failures(number, began, end))
    wait, run = SecondsBetween("created_at", "started_at"), SecondsBetween("started_at", "finished_at")
    started = casts.filter(started_at__isnull=False).annotate(wait=wait, run=run)
    for hour, whose, waited, ran in started.values_list("hour", "spell_id", "wait", "run").iterator(chunk_size=5000):
        tally = found[hour][whose]
        tally.waits[place(waited)] += 1
        if ran is not None:
            tally.runs[place(ran)] += 1
    return {EPOCH + hour * HOUR: dict(spells) for hour, spells in sorted(found.items())}


def store(span: Span, start: dt.datetime, spells: BySpell) -> None:
    """Keep what a span came to, in place of what was stored of it."""
    rows = [
        CastTally(span=span, start=start, spell_id=spell, open=tally.open, counted=tally.stored())
        for spell, tally in spells.items()
    ]
    rows.append(CastTally(span=span, start=start, open=sum(row.open for row in rows), counted={}))
    try:
        with transaction.atomic():
            CastTally.objects.filter(span=span, start=start).delete()
            CastTally.objects.bulk_create(rows)
    except IntegrityError:
        pass  # somebody else stored it at the same moment, or a spell was deleted: the next round counts again


def uncounted(now: dt.datetime) -> list[tuple[Span, dt.datetime]]:
    """Return the spans that are to be counted, or counted again, the newest first."""
    since = day_of(now) - DAYS_COUNTED * DAY
    marks = CastTally.objects.filter(spell=None, start__gte=since)
    final = set(marks.filter(open=0).values_list("span", "start"))
    hours = [hour_of(now) - number * HOUR for number in range(1, 48)]
    days = [day_of(now) - number * DAY for number in range(1, DAYS_COUNTED + 1)]
    spans = [(Span.HOUR, start, start + HOUR) for start in hours] + [(Span.DAY, start, start + DAY) for start in days]
    oldest = Cast.objects.order_by("pk").values_list("created_at", flat=True).first() or now
    return [
        (span, start)
        for span, start, end in spans
        if (span.value, start) not in final and end + SETTLED <= now and end > oldest
    ]


class TallyWork:
    """Counts what is to be counted, one worker at a time."""

    def rows(self) -> DueQuerySet:
        found: DueQuerySet = Round.due_rows().filter(name=Round.Name.TALLIES)
        return found

    def step(self, row: Round) -> dt.datetime | None:
        ends_at = time.monotonic() + STEP_SECONDS
        now = timezone.now()
        for span, start in uncounted(now):
            if time.monotonic() > ends_at:
                return timezone.now()
            length = HOUR if span == Span.HOUR else DAY
            store(span, start, by_spell(count(start, start + length).values()))
        CastTally.objects.filter(span=Span.HOUR, start__lt=now - 3 * DAY).delete()
        CastTally.objects.filter(start__lt=now - DAYS_KEPT * DAY).delete()
        return timezone.now() + AGAIN

    def give_up(self, row: Round) -> dt.datetime | None:
        return timezone.now() + AGAIN


def ensure() -> None:
    """Create the row of the rounds unless it exists. Any worker may call this."""
    Round.objects.get_or_create(name=Round.Name.TALLIES, defaults={"due_at": timezone.now()})


# --- Reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """What became of casts by hour, from yesterday's midnight on, and by day; days not counted yet are absent."""

    now: dt.datetime
    hours: dict[dt.datetime, BySpell]
    days: dict[dt.datetime, BySpell]

    def last_hours(self, number: int = 24) -> list[tuple[dt.datetime, BySpell]]:
        """Return the hours up to the one that is under way."""
        starts = [hour_of(self.now) - back * HOUR for back in reversed(range(number))]
        return [(start, self.hours.get(start, {})) for start in starts]

    def last_days(self, number: int) -> list[tuple[dt.datetime, BySpell]]:
        """Return the days up to the one that is under way."""
        starts = [day_of(self.now) - back * DAY for back in reversed(range(number))]
        return [(start, self.of_day(start)) for start in starts]

    def of_day(self, start: dt.datetime) -> BySpell:
        if start not in self.days:
            self.days[start] = by_spell(spells for hour, spells in self.hours.items() if day_of(hour) == start)
        return self.days[start]

    def last_day(self) -> BySpell:
        """Return what became of the casts of the last 24 hours."""
        return by_spell(spells for _, spells in self.last_hours())

    def week_before(self, number: int = 1) -> BySpell:
        """Return what became of the casts of the seven whole days before those 24 hours; 2: of the seven before."""
        last = day_of(self.now) - (7 * number - 5) * DAY
        return by_spell(self.of_day(last - back * DAY) for back in range(7))


def load(days: int = 16, *, spell: int | None = None, now: dt.datetime | None = None) -> Counted:
    """Return what was counted, and count the hours that are not stored yet. `spell`: of this one alone."""
    now = now or timezone.now()
    midnight = day_of(now) - DAY
    stored = CastTally.objects.filter(span=Span.HOUR, start__gte=midnight)
    stored |= CastTally.objects.filter(span=Span.DAY, start__gte=day_of(now) - days * DAY, start__lt=midnight)
    if spell is not None:
        stored = stored.filter(spell=spell) | stored.filter(spell=None)
    hours: dict[dt.datetime, BySpell] = {}
    found: dict[dt.datetime, BySpell] = {}
    for span, start, whose, counted in stored.order_by().values_list("span", "start", "spell_id", "counted"):
        spells = (hours if span == Span.HOUR else found).setdefault(start, {})
        if whose is not None:
            spells[whose] = Tally.of(counted)
    for first, last in gaps(hours, midnight, hour_of(now) + HOUR):
        hours |= count(first, last, spell)
    return Counted(now, hours, found)


def gaps(
    stored: Mapping[dt.datetime, Any], first: dt.datetime, last: dt.datetime
) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return the stretches of hours that are not stored."""
    found: list[tuple[dt.datetime, dt.datetime]] = []
    for number in range((last - first) // HOUR):
        start = first + number * HOUR
        if start in stored:
            continue
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + HOUR)
        else:
            found.append((start, start + HOUR))
    return found


LOADED: Brief[int, Counted] = Brief(seconds=5)


def lately() -> Counted:
    """Return what `load` does, some seconds old at most: the panels of one page share it."""
    return LOADED.get(0, load)
