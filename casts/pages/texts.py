"""Durations, times and amounts, as the pages about casts write them."""

from __future__ import annotations

import datetime as dt
from math import ceil

from django.utils.dateparse import parse_datetime

from core.times import spoken


def duration(since: str, until: str | None, now: dt.datetime) -> str:
    """Return the time from `since` to `until` (None: to now), in whole units."""
    begin, end = parse_datetime(since), parse_datetime(until) if until else now
    assert begin is not None
    assert end is not None
    return spoken(end - begin)


def usually(seconds: float) -> str:
    """Return how long something takes as people say it: to the nearest second, minute or hour."""
    if seconds < 1:
        return "under a second"
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"


def left(seconds: float) -> str:
    """Return how long something still takes, rounded up, so that it is rather over before."""
    if seconds < 10:
        return f"{max(1, ceil(seconds))} s"
    if seconds <= 55:
        return f"{ceil(seconds / 5) * 5} s"
    minutes = ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def time_text(stamp: str | None) -> str:
    """Return a time as the page has it until the script turns it into the reader's own zone; blank for none."""
    at = parse_datetime(stamp or "")
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC" if at else ""
