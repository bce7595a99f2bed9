"""Lists of an account's casts, kept fresh: whatever becomes of any cast of the account, told to all of its members.

Not the events, as streams of one cast get them, but the rows as they are by then, read for all lists of a process
together and not more often than twice a second: one query, however many pages are open and however many casts move.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

from casts import rows
from casts.live.frames import News, data_line
from casts.models import Cast

if TYPE_CHECKING:
    from casts.live.hub import Subscriber

PAUSE = 0.5  # seconds between two readings
AT_ONCE = 500  # casts in one query


class Lists:
    """The streams of lists of one process. The event loop adds and removes, the hub's thread reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.topics: dict[int, set[Subscriber]] = {}  # by the account's id
        self._arrived: deque[tuple[int, Subscriber]] = deque()  # not told yet how the newest casts are
        self._changed: set[uuid.UUID] = set()  # casts of whatever account
        self._seen: dict[uuid.UUID, int] | None = None  # the events of the last look; None: nobody has looked yet
        self._read_at = 0.0  # time.monotonic(); not before
        self._numbers = count(1)

    def add(self, account_id: int, subscriber: Subscriber) -> None:
        subscriber.topic = account_id
        self.topics.setdefault(account_id, set()).add(subscriber)
        self._arrived.append((account_id, subscriber))

    def remove(self, account_id: int, subscriber: Subscriber) -> None:
        if (topic := self.topics.get(account_id)) is not None:
            topic.discard(subscriber)
            if not topic:
                del self.topics[account_id]

    # --- In the hub's thread -------------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When to read; time.monotonic()."""
        return self._read_at if self._changed or self._arrived else math.inf

    def told(self, cast_ids: set[uuid.UUID]) -> None:
        if self.topics:
            self._changed |= cast_ids

    def looked(self, newer: Iterable[tuple[uuid.UUID, int]]) -> None:
        """Take note of the events that a look has found, old ones among them."""
        if not self.topics:
            self._seen = None
            self._changed.clear()
            return
        latest: dict[uuid.UUID, int] = {}
        for cast_id, seq in newer:
            latest[cast_id] = max(seq, latest.get(cast_id, 0))
        if self._seen is not None:
            self._changed |= {one for one, seq in latest.items() if seq > self._seen.get(one, 0)}
        self._seen = latest

    def read(self) -> None:
        """Read what has changed, and the newest casts for who has just come, and give it to the event loop."""
        # The look comes first: what changes after it is found by the next one, what changed before is read here.
        if self._seen is None or time.monotonic() < self.due:
            return
        self._read_at = time.monotonic() + PAUSE
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]
        changed, self._changed = self._changed, set()
        try:
            told = self._newest(arrived) + self._news(list(changed))
        except Exception:
            self._arrived.extend(arrived)
            self._changed |= changed
            raise
        if told:
            self.loop.call_soon_threadsafe(_hand_out, told)

    def _newest(self, arrived: list[tuple[int, Subscriber]]) -> list[tuple[list[Subscriber], News]]:
        waiting: dict[int, list[Subscriber]] = {}
        for account_id, subscriber in arrived:
            waiting.setdefault(account_id, []).append(subscriber)
        return [
            (subscribers, self._frame(list(rows.casts().filter(account=account_id).order_by("-pk")[: rows.SHOWN])))
            for account_id, subscribers in waiting.items()
        ]

    def _news(self, changed: list[uuid.UUID]) -> list[tuple[list[Subscriber], News]]:
        topics = self.topics.copy()
        found: dict[int, list[Cast]] = {}
        for start in range(0, len(changed), AT_ONCE):
            some = rows.casts().filter(pk__in=changed[start : start + AT_ONCE], account__in=topics)
            for cast in some.order_by("-pk"):
                found.setdefault(cast.account_id, []).append(cast)
        return [(list(topics[account_id].copy()), self._frame(casts)) for account_id, casts in found.items()]

    def _frame(self, casts: list[Cast]) -> News:
        whole, status = (data_line({"casts": [rows.out(cast, whole=yes) for cast in casts]}) for yes in (True, False))
        return News(next(self._numbers), whole, status)


def _hand_out(told: list[tuple[list[Subscriber], News]]) -> None:
    for subscribers, news in told:
        for subscriber in subscribers:
            subscriber.deliver([news])
