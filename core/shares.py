"""Fair shares of a few threads: nobody has all of them, and whoever waits, waits behind their own work alone.

Work is done in lanes: of an account, or of an address that shows no known key. The threads go round the lanes that have
work waiting, and a lane has a part of them at most. Which lane a request is in is for this alone: it opens nothing.

Work that waits for somebody else's service steps aside: it gives its turn back, so that the threads go on with other
work, and only so much of it waits at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import TypeVar

from django.conf import settings
from django.http import HttpRequest

from core.api.address import client_address, counted_as
from core.errors import SpellError

T = TypeVar("T")


class TooManyAtOnce(SpellError):
    """As many requests of this account, or of this address, wait for a thread as may."""

    code, status, title = "TOO_MANY_AT_ONCE", 429, "Too many requests at once"


class Lane:
    """Who works and waits under one name."""

    __slots__ = ("at_work", "waiting")

    def __init__(self) -> None:
        self.at_work = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Turn:
    """A thread that works for a lane."""

    def __init__(self, shares: Shares, name: Hashable) -> None:
        self.shares, self.name = shares, name
        self.aside = False  # it has given its place to others

    def do(self, work: Callable[[], T]) -> T:
        _here.turn = self
        try:
            return work()
        finally:
            _here.turn = None
            if self.aside:
                aside.leave(self.name)


class Aside:
    """How much work waits for others' services, in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: Counter[Hashable] = Counter()

    def enter(self, name: Hashable) -> bool:
        most = settings.OUTSIDE_THREADS
        with self.lock:
            # A lane has half of it, as it can't have all threads either.
            if self.waiting.total() >= most or self.waiting[name] >= max(1, most // 2):
                return False
            self.waiting[name] += 1
            return True

    def leave(self, name: Hashable) -> None:
        with self.lock:
            self.waiting[name] -= 1
            if not self.waiting[name]:
                del self.waiting[name]


_here = threading.local()
aside = Aside()


def serving() -> bool:
    """Whether this thread works for a request that was given its turn here."""
    return getattr(_here, "turn", None) is not None


def step_aside() -> bool:
    """Give this thread's turn to others, as what it does next may take long; False if too much waits as it is.

    It lasts until the request is done. Outside a request nobody is in the way.
    """
    turn: Turn | None = getattr(_here, "turn", None)
    if turn is None or turn.aside:
        return True
    if not aside.enter(turn.name):
        return False
    turn.aside = True
    turn.shares.leave_from_thread(turn.name)
    return True


class Shares:
    """Which lanes have the threads of a pool. Lives on one event loop."""

    def __init__(self, threads: int, *, each: int, waiting: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.free, self.each, self.waiting = threads, each, waiting
        self.lanes: dict[Hashable, Lane] = {}
        self.next: OrderedDict[Hashable, None] = OrderedDict()  # who has work waiting and may have one more thread

    async def run(self, pool: Executor, name: Hashable, work: Callable[[], T], *, admitted: bool = False) -> T:
        """Do the work in a thread when its lane's turn comes.

        Raise TooManyAtOnce if the lane has as much waiting as it may, unless it was `admitted` before.
        """
        await self._enter(name, admitted)
        turn = Turn(self, name)
        try:
            done = pool.submit(turn.do, work)
        except BaseException:
            self._leave(name)
            raise
        try:
            return await asyncio.wrap_future(done)
        finally:
            if not done.done():  # the client has left, and the thread works on
                done.add_done_callback(lambda _: None if turn.aside else self.leave_from_thread(name))
            elif not turn.aside:
                self._leave(name)

    async def _enter(self, name: Hashable, admitted: bool) -> None:
        lane = self.lanes.setdefault(name, Lane())
        if self.free and lane.at_work < self.each:
            self.free -= 1
            lane.at_work += 1
            return
        if len(lane.waiting) >= self.waiting and not admitted:
            raise TooManyAtOnce(
                f"{len(lane.waiting)} of your requests wait already. Send fewer at once.", headers={"Retry-After": "1"}
            )
        turn = self.loop.create_future()
        lane.waiting.append(turn)
        if lane.at_work < self.each:
            self.next[name] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn had come
                self._leave(name)
            else:
                lane.waiting.remove(turn)
                self._forget(name, lane)
            raise

    def _leave(self, name: Hashable) -> None:
        lane = self.lanes[name]
        lane.at_work -= 1
        self.free += 1
        if lane.waiting:
            self.next[name] = None
        self._forget(name, lane)
        while self.free and self.next:
            self._begin(self.next.popitem(last=False)[0])

    def _begin(self, name: Hashable) -> None:
        lane = self.lanes.get(name)
        # One whose client has left may still be there, until its own task comes to know of that and removes it.
        turn = next((turn for turn in lane.waiting if not turn.done()), None) if lane is not None else None
        if lane is None or turn is None:
            return
        lane.waiting.remove(turn)
        turn.set_result(None)
        self.free -= 1
        lane.at_work += 1
        if lane.waiting and lane.at_work < self.each:
            self.next[name] = None

    def _forget(self, name: Hashable, lane: Lane) -> None:
        if not lane.at_work and not lane.waiting:
            del self.lanes[name]

    def leave_from_thread(self, name: Hashable) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._leave, name)


# Whose secret a request shows, as it was found when one was last authenticated in this process.
_known: dict[bytes, Hashable] = {}
MOST_KNOWN = 10_000
_salt = secrets.token_bytes(16)


def _digest(secret: str) -> bytes:
    return hashlib.blake2b(secret.encode(errors="replace"), digest_size=16, key=_salt).digest()


def remember(secret: str, lane: Hashable) -> None:
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[_digest(secret)] = lane


def forget(secret: str) -> None:
    """Have requests with this secret, which opens nothing any more, no longer count as its account's."""
    _known.pop(_digest(secret), None)


def account_lane(account_id: int) -> Hashable:
    return "account", account_id


def lane_of(request: HttpRequest) -> Hashable:
    """Return in which lane a request is: its account's, or its address's until a key has proved to be known."""
    shown = request.META.get("HTTP_AUTHORIZATION")
    lane = _known.get(_digest(shown.partition(" ")[2].strip())) if shown else None
    return lane or address_lane(request)


def address_lane(request: HttpRequest) -> Hashable:
    return counted_as(client_address(request))
