"""What waits together is done together: one thread, and one transaction, for all who ask meanwhile.

Whoever asks while nothing is under way begins a round; those who come while it lasts make up the next one. A round
waits a moment for those who are known to be on their way, and for as many as ask at once, as far as one knows: those
of the round before it, who are likely to ask again, and those who came meanwhile. The more are in a round, the less
each costs. Who asks alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, Generic, NamedTuple, TypeVar

import structlog
from django.http import HttpRequest

from core import access
from core.api.problems import request_id
from core.db.threads import in_lane, on_pool
from core.rationing.visits import visit
from core.shares import TooManyAtOnce
from core.telemetry import tracing

Q = TypeVar("Q")
A = TypeVar("A")


class Asked(NamedTuple, Generic[Q, A]):
    """What somebody waits for, and what is bound to their request: its number for the logs, its trace."""

    wanted: Q
    answer: asyncio.Future[A]
    context: Context


Lanes = dict[Hashable, list[Asked[Q, A]]]  # who waits for the next round, while one is under way
PATIENCE = 0.008  # seconds that a round waits for others


class Gathering(NamedTuple):
    """A round that waits for others."""

    here: list[Any]
    as_many: int
    begins: asyncio.Future[None]

    @property
    def whole(self) -> bool:
        return len(self.here) >= self.as_many

    def begin(self) -> None:
        if not self.begins.done():
            self.begins.set_result(None)


class Rounds(Generic[Q, A]):
    """Rounds of one kind of work. Those of one lane follow each other; each lane has its own.

    `work` is given what is asked, in the order in which it came, and answers each: an exception is raised for whoever
    asked. If it raises itself, it raises for all of them. At most `most` are in a round; if `waiting` of a lane wait
    already, more are refused with TooManyAtOnce.
    """

    def __init__(
        self,
        work: Callable[[list[Q]], Sequence[A | Exception]],
        *,
        most: int,
        waiting: int | Callable[[], int] | None = None,
    ) -> None:
        self.work, self.most, self.bound = work, most, waiting
        self._of_loop: tuple[asyncio.AbstractEventLoop, Lanes[Q, A]] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._coming: Counter[Hashable] = Counter()
        self._gathering: dict[Hashable, Gathering] = {}

    @contextmanager
    def coming(self, lane: Hashable) -> Iterator[None]:
        """Somebody is on their way to this lane: what they will ask is being read and checked."""
        self._coming[lane] += 1
        try:
            yield
        finally:
            self._coming[lane] -= 1
            if not self._coming[lane]:
                del self._coming[lane]
                self._arrived(lane)

    async def ask(self, lane: Hashable, wanted: Q, *, request: HttpRequest | None = None) -> A:
        """Return the answer, which a round in this lane gives. `request`: as for `in_lane`; None: of no view."""
        loop = asyncio.get_running_loop()
        if self._of_loop is None or self._of_loop[0] is not loop:
            self._of_loop = loop, {}
        lanes = self._of_loop[1]
        asked: Asked[Q, A] = Asked(wanted, loop.create_future(), copy_context())
        if (others := lanes.get(lane)) is not None:
            bound = self.bound() if callable(self.bound) else self.bound
            if bound is not None and len(others) >= bound:
                raise TooManyAtOnce(
                    f"{len(others)} of these requests wait already. Send fewer at once.", headers={"Retry-After": "1"}
                )
            others.append(asked)
            self._arrived(lane)
            return await asked.answer
        lanes[lane] = [asked]
        task = asyncio.create_task(self._rounds(lanes, lane, request))
        self._under_way.add(task)  # the event loop itself holds no task
        task.add_done_callback(self._under_way.discard)
        return await asked.answer

    async def _rounds(self, lanes: Lanes[Q, A], lane: Hashable, request: HttpRequest | None) -> None:
        forget_who_asks()
        some: list[Asked[Q, A]] = []
        try:
            with tracing.joined(None):
                while await self._gathered(lanes, lane, len(some) + len(lanes[lane])):
                    waiting = [asked for asked in lanes[lane] if not asked.answer.done()]  # the others have left
                    some, lanes[lane] = waiting[: self.most], waiting[self.most :]
                    if some:
                        answer_each(some, await self._answers(lane, some, request))
        finally:
            for asked in some + lanes.pop(lane):  # only if the loop ends, or by a bug: nobody waits for ever
                asked.answer.cancel()

    async def _gathered(self, lanes: Lanes[Q, A], lane: Hashable, at_once: int) -> bool:
        """Wait a moment for who is on the way, and for as many as ask at once; return whether anybody is there."""
        loop = asyncio.get_running_loop()
        gathering = Gathering(lanes[lane], min(at_once, self.most) if at_once > 1 else 0, loop.create_future())
        if self._coming[lane] or not gathering.whole:
            self._gathering[lane] = gathering
            patience = loop.call_later(PATIENCE, gathering.begin)
            try:
                await gathering.begins
            finally:
                patience.cancel()
                del self._gathering[lane]
        return bool(lanes[lane])

    def _arrived(self, lane: Hashable) -> None:
        if (gathering := self._gathering.get(lane)) is not None and gathering.whole and not self._coming[lane]:
            gathering.begin()

    async def _answers(
        self, lane: Hashable, some: list[Asked[Q, A]], request: HttpRequest | None
    ) -> Sequence[A | Exception]:
        wanted = [asked.wanted for asked in some]
        work = on_pool(lane, self.work, wanted) if request is None else in_lane(lane, request, self.work, wanted)
        try:
            if len(some) == 1:  # who is alone in a round is told of in the logs
                answers = await asyncio.create_task(work, context=some[0].context)
            else:
                answers = await work
            if len(answers) != len(some):  # whose they are is not known then
                raise RuntimeError(f"A round of {len(some)} came to {len(answers)} answers.")
            return answers
        except Exception as exc:  # the same for all of them: the database is away
            return [exc] * len(some)


def answer_each(some: Sequence[Asked[Q, A]], answers: Sequence[A | Exception]) -> None:
    for asked, answer in zip(some, answers, strict=True):
        if asked.answer.done():  # its client has left
            continue
        if isinstance(answer, Exception):
            asked.answer.set_exception(answer)
        else:
            asked.answer.set_result(answer)


def forget_who_asks() -> None:
    """A round is nobody's request: what it logs and notes must not be told of the one that began it."""
    access.begin()
    visit.set(None)
    request_id.set("")
    structlog.contextvars.clear_contextvars()
