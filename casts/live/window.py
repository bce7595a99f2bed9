"""How far back in the event table something new may still appear."""

from __future__ import annotations

import time
from collections import deque

from django.conf import settings
from django.db import connection
from django.db.models import Max

from casts.models import CastEvent

LONGEST_TRANSACTION = 30.0  # seconds; the database ends those that idle for longer (settings.DATABASES)
UNDER_WAY = 10_000  # row numbers that open transactions may have taken when a process starts


class Window:
    """The end of the event table, by row numbers, in which something new may still appear.

    On Postgres a transaction may commit after others that took later numbers; on SQLite only one writes at a time.
    """

    def __init__(self) -> None:
        self.lasts = (
            0.0 if connection.vendor == "sqlite" else LONGEST_TRANSACTION + 2 * settings.STREAM_FALLBACK_SECONDS
        )
        newest = CastEvent.objects.aggregate(newest=Max("pk"))["newest"] or 0
        self.marks = deque([(time.monotonic(), max(0, newest - UNDER_WAY))])

    @property
    def begin(self) -> int:
        """The row number above which to look."""
        return self.marks[0][1]

    def advance(self, newest: int) -> None:
        """Note the highest row number that was seen (0: none), and forget those that are old enough to be settled."""
        now = time.monotonic()
        self.marks.append((now, max(newest, self.marks[-1][1])))
        while len(self.marks) > 1 and self.marks[1][0] <= now - self.lasts:
            self.marks.popleft()
