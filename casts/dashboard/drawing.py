"""Charts and tables of tallies, each bar and number with the list of its casts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from django.urls import reverse
from django.utils.safestring import SafeString

from casts.models import CastStatus, Spell
from casts.tallies import HOUR, BySpell, Failures, Tally, percentile
from core import charts
from core.admin import periods
from core.admin.attention import listed
from core.admin.base import as_words
from core.admin.dashboard import duration, linked, listing, moment

AT_HOUR, ON_DAY = "{0:%H:%M}", "{0:%a} {0.day}"  # labels of the charts
Spans = Sequence[tuple[dt.datetime, Tally]]


def bars(spans: Spans, length: dt.timedelta, label: str, said: str, **query: Any) -> SafeString:
    # The tones are named as the statuses are.
    series = [charts.Series(name, [tally.statuses[name] for _, tally in spans], name) for name in map(str, CastStatus)]
    links = [casts_of(start, start + length, **query) if tally.casts else None for start, tally in spans]
    labels = [label.format(start) for start, _ in spans]
    return charts.bars(labels, series, said=said, links=links, unit="")


def lines(spans: Spans, length: dt.timedelta, label: str, said: str, what: str, **query: Any) -> SafeString:
    tone = "queued" if what == "waits" else "running"
    series = [
        charts.Series(f"p{percent}", [rounded(percentile(getattr(tally, what), percent)) for _, tally in spans], tone)
        for percent in (50, 95)
    ]
    links = [casts_of(start, start + length, **query) if getattr(tally, what) else None for start, tally in spans]
    labels = [label.format(start) for start, _ in spans]
    return charts.lines(labels, series, said=said, links=links, write=duration, tick=tick, empty="None began.")


def tick(seconds: float) -> str:
    """Return a number of an axis, of which parts of a second may be less than what values are rounded to."""
    return f"{charts.number(float(seconds))} s" if 0 < seconds < 1 else duration(seconds)


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def casts_of(first: dt.datetime, last: dt.datetime, **query: Any) -> str:
    return listed("casts_cast", period=periods.written(first, last), **query)


def failures_in(spells: BySpell) -> list[tuple[int, str, Failures]]:
    """Return how often casts of each spell failed for each reason, the most frequent first."""
    found = [(spell, reason, one) for spell, tally in spells.items() for reason, one in tally.failures.items()]
    return sorted(found, key=lambda one: (-one[2].count, one[0], one[1]))


def failure_table(
    found: list[tuple[int, str, Failures]], since: dt.datetime, now: dt.datetime, *, of_one: bool = False
) -> SafeString:
    keys = keys_of(spell for spell, _, _ in found)
    rows = []
    for spell, reason, one in found:
        path = casts_of(since, now + HOUR, status__exact="failed", status_reason=reason, spell__id__exact=spell)
        seen = [linked(path, f"{one.count:,}"), moment(one.first), moment(one.last)]
        rows.append([as_words(reason), *seen] if of_one else [spell_link(spell, keys), as_words(reason), *seen])
    head = ["Reason", "Casts", "First", "Last"]
    caption = f"Casts that failed, of those accepted since {since:%a} {since.day} {since:%b}"
    return listing(caption, head if of_one else ["Spell", *head], rows, "None failed.")


def keys_of(spells: Iterable[int]) -> dict[int, str]:
    return dict(Spell.objects.filter(pk__in=set(spells)).values_list("pk", "key"))


def spell_link(spell: int, keys: dict[int, str]) -> SafeString | str:
    return linked(reverse("spell-times", args=[spell]), keys.get(spell, "deleted"))
