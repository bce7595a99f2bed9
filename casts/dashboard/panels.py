"""What the dashboard shows of casts: how many, how long they take, what fails, and which spells became slower."""

from __future__ import annotations

from django.utils.safestring import SafeString

from casts import tallies
from casts.dashboard.drawing import AT_HOUR, ON_DAY, bars, failure_table, failures_in, keys_of, lines, spell_link
from casts.dashboard.slowness import ENOUGH, SLOWER, Slowness, slowest
from casts.tallies import DAY, HOUR, by_spell, percentile, together
from core.admin.attention import User, listed, may
from core.admin.dashboard import Panel, duration, linked, listing

SHOWN = 10  # rows of a table


def may_see(user: User) -> bool:
    return may(user, "casts.view_cast") and may(user, "casts.view_spell")


def casts(user: User) -> Panel | None:
    if not may_see(user):
        return None
    counted = tallies.lately()
    hours = [(start, together(spells.values())) for start, spells in counted.last_hours()]
    days = [(start, together(spells.values())) for start, spells in counted.last_days(7)]
    return Panel(
        "Casts",
        (
            bars(hours, HOUR, AT_HOUR, "Casts accepted in the last 24 hours, by what became of them"),
            bars(days, DAY, ON_DAY, "Casts accepted in 7 days, by what became of them"),
        ),
    )


def times(user: User) -> Panel | None:
    if not may_see(user):
        return None
    hours = [(start, together(spells.values())) for start, spells in tallies.lately().last_hours()]
    return Panel(
        "How long they take",
        (
            lines(hours, HOUR, AT_HOUR, "From acceptance to the beginning of the run, in the last 24 hours", "waits"),
            lines(hours, HOUR, AT_HOUR, "From there to the end, in the last 24 hours", "runs"),
        ),
        note="By the hour of acceptance. Half took no longer than p50, nineteen of twenty no longer than p95.",
    )


def failures(user: User) -> Panel | None:
    if not may_see(user):
        return None
    counted = tallies.lately()
    days = counted.last_days(7)
    found = failures_in(by_spell(spells for _, spells in days))
    return Panel("Failures", (failure_table(found[:SHOWN], days[0][0], counted.now),))


def slower_spells(user: User) -> Panel | None:
    if not may_see(user):
        return None
    found = slowest(tallies.lately())[:SHOWN]
    keys = keys_of(one.spell for one in found)
    rows = [
        [
            spell_link(one.spell, keys),
            said_of(one),
            *(duration(percentile(one.now.runs, 50)), duration(percentile(one.before.runs, 50))),
            *(duration(percentile(one.now.runs, 95)), duration(percentile(one.before.runs, 95))),
            linked(listed("casts_cast", period="24h", spell__id__exact=one.spell), f"{one.now.casts:,}"),
        ]
        for one in found
    ]
    head = ["Spell", "p50 is", "p50 now", "p50 before", "p95 now", "p95 before", "Casts now"]
    said = "Run times of the last 24 hours beside the faster of the two weeks before; a spell's page has them by day"
    none = f"No spell ran {ENOUGH} times both in the last 24 hours and before."
    return Panel("Spells, those first that became slower", (listing(said, head, rows, none),), wide=True)


def said_of(one: Slowness) -> SafeString | str:
    said = f"{one.change:.1f} times"
    if one.change < SLOWER:
        return said
    return f"{said}, since {one.since:%a} {one.since.day} {one.since:%b}" if one.since else said
