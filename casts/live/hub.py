"""Event streams: the table is the stream, one listener per process wakes many.

The hub's one thread learns which casts have news, reads their new rows once, renders them once, and hands the bytes
to all of this process's streams for that cast. A stream by itself costs no query, no thread and no timer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.models import QuerySet

from casts.lifecycle import waking
from casts.live import grants, holding
from casts.live.frames import HEARTBEAT_FRAME, RETRY_FRAME, Frame, News, frames_of, goodbye
from casts.live.grants import Grant, Refused
from casts.live.lists import Lists
from casts.live.window import Window
from casts.metrics import FANOUT_SECONDS, STREAMS
from casts.models import CastEvent
from core.queue import wakeups

logger = logging.getLogger(__name__)

NO_FRAME = Frame(0, b"", final=False)
READ_AT_ONCE = 500  # casts or events in one query
WATCHED_EVERY = 60.0  # seconds; well below waking.WATCH_LASTS
WATCHED_AT_ONCE = 5000  # casts in one statement
TELL_AGAIN = 0.05  # seconds until casts that somebody was writing are noted as watched


class Subscriber:
    """One stream's mailbox. Lives on the event loop."""

    __slots__ = (
        "_rest",
        "_wake",
        "after",
        "closed",
        "counts",
        "ends_at",
        "frames",
        "grant",
        "kind",
        "refused",
        "topic",
        "write",
    )

    def __init__(self) -> None:
        self.topic: uuid.UUID | int | None = None  # the cast, or the account's list of casts, that it is told of
        self.grant: Grant | None = None  # what it was let in by; None before it is known
        self.counts: tuple[holding.Count, ...] = ()  # what it is counted in, while it is open
        self.ends_at = math.inf  # time.monotonic(); when it is to reconnect
        self.after = 0  # the number of the last event that it was sent
        self.frames: Sequence[Frame | News] = ()  # no list of its own while it waits
        self.closed = False
        self.kind = ""  # what it is counted as while it is open
        self.refused: Refused | None = None  # why it was closed; None: so that it reconnects
        # Puts bytes on the wire, for a stream that waits; returns what is still to be done if the client does not read.
        self.write: Callable[[bytes], asyncio.Task[None] | None] | None = None
        self._rest: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None

    def beat(self) -> None:
        """Have a stream that waits send a heartbeat, if possible without waking its task."""
        if self._written_to():
            self._write(HEARTBEAT_FRAME)
        elif self._wake is not None and not self.frames and self.write is None:
            self.deliver(())

    def deliver(self, frames: Sequence[Frame | News]) -> None:
        """Have a stream send frames: at once and without its task, if it waits and none is its last."""
        sent = 0
        if frames and not any(frame.final for frame in frames):
            while sent < len(frames) and self._written_to():
                frame = frames[sent]
                if frame.seq > self.after:
                    self._write(frame.told_to(self.grant))
                    self.after = frame.seq
                sent += 1
            if sent == len(frames):
                return
        self.frames = (*self.frames, *frames[sent:])
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _written_to(self) -> bool:
        """Whether to write to its client at once: it waits, has nothing to send, and its client reads."""
        waits = self._wake is not None and not self._wake.done() and not self.frames
        return waits and self.write is not None and (self._rest is None or self._rest.done())

    def _write(self, part: bytes) -> None:
        assert self.write is not None
        self._rest = self.write(part)

    def left(self) -> None:
        """Give up what its client has not read."""
        if self._rest is not None:
            self._rest.cancel()

    def close(self, refused: Refused | None = None) -> None:
        """Have it end: to reconnect, or, if it is refused, without the frames that it has not sent yet."""
        self.closed = True
        self.refused = refused or self.refused
        if self.refused:
            self.frames = ()
        self.deliver(())

    async def next(self) -> Sequence[Frame | News]:
        """Return the frames that have come, after waiting for some; none after a heartbeat or once it is closed."""
        if not self.frames and not self.closed:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
            self._wake = None
            if self._rest is not None:  # else its client would get what follows before what it has not read
                await self._rest
        came, self.frames = self.frames, ()
        return came


@dataclass(slots=True)
class Topic:
    """One cast that somebody in this process watches. `seq` is the last event that was handed out for it."""

    seq: int = 0
    subscribers: set[Subscriber] = field(default_factory=set)


class Hub:
    """All streams of one process, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.topics: dict[uuid.UUID, Topic] = {}
        self.lists = Lists(loop)
        self.stopping = False
        self._window: Window | None = None
        self._look_at = 0.0  # time.monotonic(); when to look without having been told
        self._check_at = 0.0  # time.monotonic(); when to look who is to go
        self._arrived: deque[uuid.UUID] = deque()  # watched since the last time we told; two threads use it
        self._listener: wakeups.Listener | None = None
        self._told_at = 0.0
        self._thread: threading.Thread | None = None
        self._beat: asyncio.TimerHandle | None = None

    @contextmanager
    def subscribe(self, cast_id: uuid.UUID) -> Iterator[Subscriber]:
        """Receive a cast's frames. Subscribe first and read the table second, so that no event is missed in between."""
        subscriber = Subscriber()
        self.add(cast_id, subscriber, kind="wait")
        try:
            yield subscriber
        finally:
            self.remove(subscriber)

    def add(self, cast_id: uuid.UUID, subscriber: Subscriber, *, kind: str = "cast") -> None:
        self._begin(subscriber, kind)
        if (topic := self.topics.get(cast_id)) is None:
            topic = self.topics[cast_id] = Topic()
            self._arrived.append(cast_id)
            if self._listener is not None:
                self._listener.interrupt()
        subscriber.topic = cast_id
        topic.subscribers.add(subscriber)

    def add_to_list(self, account_id: int, subscriber: Subscriber) -> None:
        """Have a subscriber be told what becomes of all casts of an account, and first how the newest are."""
        self._begin(subscriber, "list")
        self.lists.add(account_id, subscriber)
        if self._listener is not None:
            self._look_at = 0.0
            self._listener.interrupt()

    def _begin(self, subscriber: Subscriber, kind: str) -> None:
        subscriber.kind = kind
        STREAMS.labels(kind).inc()
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="cast-news", daemon=True)
            self._thread.start()
            self._heartbeat()
        if self.stopping:  # a stream that opens now is to end at once as well
            subscriber.close()

    def remove(self, subscriber: Subscriber) -> None:
        holding.release(subscriber)
        subscriber.left()
        if subscriber.kind:
            STREAMS.labels(subscriber.kind).dec()
            subscriber.kind = ""
        cast_id, subscriber.topic = subscriber.topic, None  # None before: it was removed already
        if isinstance(cast_id, int):
            self.lists.remove(cast_id, subscriber)
        elif cast_id is not None and (topic := self.topics.get(cast_id)) is not None:
            topic.subscribers.discard(subscriber)
            if not topic.subscribers:
                del self.topics[cast_id]

    def stop(self) -> None:
        self.stopping = True
        for subscriber in self._subscribers():
            subscriber.close()
        if self._listener is not None:  # so that its thread ends now and not only with its next look
            self._listener.interrupt()

    def _heartbeat(self) -> None:
        # One timer for all streams: ten thousand of their own would cost more than the streams.
        self._beat = self.loop.call_later(settings.STREAM_HEARTBEAT_SECONDS, self._heartbeat)
        for subscriber in self._subscribers():
            subscriber.beat()

    def _subscribers(self) -> Iterator[Subscriber]:
        # Copies, each made in one go: the hub's thread asks, too, while the event loop changes these.
        for topic in self.topics.copy().values():
            yield from topic.subscribers.copy()
        for members in self.lists.topics.copy().values():
            yield from members.copy()

    def _listen(self) -> None:
        listener = self._listener = wakeups.listener(wakeups.NEWS)
        while not self.stopping and not self.loop.is_closed():
            try:
                sleep = max(0.0, min(self._look_at, self._check_at, self.lists.due) - time.monotonic())
                told = listener.wait(min(sleep, TELL_AGAIN) if self._arrived else sleep)
                if told is None or time.monotonic() >= self._look_at:  # anything may have come
                    self._look()
                else:
                    news = {uuid.UUID(t) for t in told}
                    self._read(news)
                    self.lists.told(news)
                self.lists.read()
                self._tell_watched()
                if time.monotonic() >= self._check_at:
                    self._check()
            except Exception:
                if self.loop.is_closed():  # the process ends, and with it every stream
                    break
                logger.exception("the event hub's look failed")
                connections.close_all()  # a broken connection would fail again
                threading.Event().wait(1)
        listener.close()
        connections.close_all()

    @property
    def window(self) -> Window:
        """The part of the event table to look at. Only the hub's thread uses it."""
        if self._window is None:
            self._window = Window()
        return self._window

    def _look(self) -> None:
        """Find what no wake-up told of: one query, whose cost depends on what is new, not on the number of streams."""
        self._look_at = time.monotonic() + settings.STREAM_FALLBACK_SECONDS
        newer = list(CastEvent.objects.filter(pk__gt=self.window.begin).values_list("pk", "cast_id", "seq"))
        unseen = [
            pk for pk, cast_id, seq in newer if (topic := self.topics.get(cast_id)) is not None and seq > topic.seq
        ]
        for some in _chunks(unseen, READ_AT_ONCE):
            self._hand_over(CastEvent.objects.filter(pk__in=some))
        self.lists.looked((cast_id, seq) for _, cast_id, seq in newer)
        self.window.advance(max((pk for pk, _, _ in newer), default=0))

    def _read(self, cast_ids: set[uuid.UUID]) -> None:
        for some in _chunks([one for one in cast_ids if one in self.topics], READ_AT_ONCE):
            self._hand_over(CastEvent.objects.filter(cast__in=some, pk__gt=self.window.begin))

    def _hand_over(self, events: QuerySet[CastEvent]) -> None:
        """Render events, once for all of their streams, and give them to the event loop."""
        found: dict[uuid.UUID, list[Frame]] = {}
        oldest = math.inf  # time.time(); when the first of them happened

        def wanted(event: CastEvent) -> bool:
            topic = self.topics.get(event.cast_id)
            return topic is not None and event.seq > topic.seq

        for event, rendered in frames_of(events.order_by("cast_id", "seq"), wanted):
            found.setdefault(event.cast_id, []).append(rendered)
            oldest = min(oldest, event.at.timestamp())
        if found:
            self.loop.call_soon_threadsafe(self._hand_out, found, oldest)

    def _tell_watched(self) -> None:
        """Note which casts are followed here, so that they are looked at more often: new ones now, all each minute."""
        arrived = {self._arrived.popleft() for _ in range(len(self._arrived))}
        for some in _chunks([one for one in arrived if one in self.topics], WATCHED_AT_ONCE):
            self._arrived.extend(waking.watch(some, arrived=True))
        if time.monotonic() - self._told_at > WATCHED_EVERY:
            self._told_at = time.monotonic()
            for some in _chunks(list(self.topics), WATCHED_AT_ONCE):
                waking.watch(some, arrived=False)

    def _check(self) -> None:
        """End the streams and waits whose time is over, or whose caller may not read any more."""
        self._check_at = time.monotonic() + settings.STREAM_ACCESS_SECONDS
        open_now = list(self._subscribers())
        if over := [(one, None) for one in open_now if one.ends_at <= self._check_at]:
            self.loop.call_soon_threadsafe(self._close, over)  # before the database is asked, which may be away
        if refused := grants.refused({one.grant for one in open_now if one.grant is not None}):
            ends = [(one, refused[one.grant]) for one in open_now if one.grant in refused]
            self.loop.call_soon_threadsafe(self._close, ends)

    def _close(self, ends: Iterable[tuple[Subscriber, Refused | None]]) -> None:
        for subscriber, refused in ends:
            subscriber.close(refused)

    def _hand_out(self, found: dict[uuid.UUID, list[Frame]], oldest: float) -> None:
        for cast_id, frames in found.items():
            if (topic := self.topics.get(cast_id)) is not None:
                topic.seq = max(topic.seq, frames[-1].seq)
                for subscriber in topic.subscribers:
                    subscriber.deliver(frames)
        FANOUT_SECONDS.observe(max(0.0, time.time() - oldest))


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


_hub: Hub | None = None


def hub() -> Hub:
    global _hub
    loop = asyncio.get_running_loop()
    if _hub is None or _hub.loop is not loop:
        _hub = Hub(loop)
    return _hub


def stop() -> None:
    if _hub is not None:
        _hub.stop()


def end_of_stream() -> float:
    """Return when a stream that opens now is to reconnect: spread, so that those that opened together don't at once."""
    return time.monotonic() + settings.STREAM_MAX_SECONDS * random.uniform(0.8, 1)  # noqa: S311


async def stream(subscriber: Subscriber, first: Sequence[Frame | News], *, after: int) -> AsyncIterator[bytes]:
    """Yield a cast's frames numbered above `after`, `first` and then live, until the final one."""
    subscriber.ends_at, subscriber.after = end_of_stream(), after
    yield RETRY_FRAME
    while True:
        for frame in first:
            if subscriber.refused:
                break
            if frame.seq <= subscriber.after:
                continue  # it came both from the table and from the hub
            subscriber.after, final = frame.seq, frame.final
            yield frame.told_to(subscriber.grant)
            if final:
                return
        first = ()
        frame = NO_FRAME  # an idle stream keeps none
        if subscriber.closed:
            yield goodbye(subscriber.refused)
            return
        first = await subscriber.next()
        if not first and not subscriber.closed:
            yield HEARTBEAT_FRAME


async def wait_until_final(subscriber: Subscriber, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not subscriber.closed:
                if any(one.final for one in await subscriber.next()):
                    return
    except TimeoutError:
        return
