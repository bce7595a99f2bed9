"""When a callback is sent again."""

from __future__ import annotations

import datetime as dt
import email.utils
import random

from django.utils import timezone

# How long after the try before it each try comes. Source: the specification's example schedule.
SCHEDULE = (
    dt.timedelta(0),
    dt.timedelta(seconds=5),
    dt.timedelta(minutes=5),
    dt.timedelta(minutes=30),
    dt.timedelta(hours=2),
    dt.timedelta(hours=5),
    dt.timedelta(hours=10),
    dt.timedelta(hours=14),
    dt.timedelta(hours=20),
    dt.timedelta(hours=24),
)
JITTER = 0.1  # of the wait, either way: what failed together must not be tried again together
LONGEST_RETRY_AFTER = dt.timedelta(hours=24)


def wait_before_next(tries: int, *, retry_after: str = "") -> dt.timedelta | None:
    """Return how long to wait after `tries` failed ones, None to give up; never less than the receiver asked for."""
    if tries >= len(SCHEDULE):
        return None
    jitter = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311 - nothing to guess
    return max(SCHEDULE[tries] * jitter, asked_wait(retry_after))


def asked_wait(retry_after: str) -> dt.timedelta:
    """Return what a Retry-After header asks for, in seconds or as a date; at most 24 hours, 0 if it is unreadable."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(dt.timedelta(seconds=int(text[:9])), LONGEST_RETRY_AFTER)
    try:
        wait = email.utils.parsedate_to_datetime(text).astimezone(dt.UTC) - timezone.now()
    except (TypeError, ValueError, OverflowError):
        return dt.timedelta(0)
    return min(max(wait, dt.timedelta(0)), LONGEST_RETRY_AFTER)
