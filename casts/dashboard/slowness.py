"""Which spells became slower, and since when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from casts.tallies import BySpell, Counted, Tally, percentile

ENOUGH = 5  # casts that ran, for a spell to be compared
SLOWER = 1.5  # times what it was: worth saying since when
SLOW_DAY = 1.25  # times what it was: a day that belongs to the slow ones


@dataclass(frozen=True)
class Slowness:
    """One spell in the last 24 hours, beside what it was before."""

    spell: int
    now: Tally
    before: Tally
    change: float  # of p50, as a factor
    since: dt.datetime | None  # the first of the days up to today on all of which it was slow, as far as it ran


def slowest(counted: Counted) -> list[Slowness]:
    """Return the spells that ran often enough, those first that have become slower the most.

    Before: the faster of the two weeks before, so that a spell that is slow for some days is not compared with itself.
    """
    weeks, found = [counted.week_before(1), counted.week_before(2)], []
    days = counted.last_days(14)
    for spell, tally in counted.last_day().items():
        ran = [week[spell] for week in weeks if spell in week and week[spell].runs.total() >= ENOUGH]
        if tally.runs.total() < ENOUGH or not ran:
            continue
        before = min(ran, key=half_of)
        usual = half_of(before)
        found.append(Slowness(spell, tally, before, half_of(tally) / usual, slow_since(days, spell, usual)))
    return sorted(found, key=lambda one: (-one.change, one.spell))


def half_of(tally: Tally) -> float:
    return percentile(tally.runs, 50) or 0.0


def slow_since(days: list[tuple[dt.datetime, BySpell]], spell: int, usual: float) -> dt.datetime | None:
    since = None
    for start, spells in reversed(days):
        if spell not in spells or not spells[spell].runs:
            continue
        if half_of(spells[spell]) < usual * SLOW_DAY:
            break
        since = start
    return since
