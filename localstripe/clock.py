"""The server's own time, which may be set forward, and what is to be done at a time."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
Act = TypeVar("Act", bound=Callable[..., None])
JOBS: dict[str, Callable[..., None]] = {}


def job(act: Act) -> Act:
    """Let `World.at` have a function called later, by its name, so that a restart forgets nothing.

    It is called under the world's lock, with the world and what `at` was given: texts and numbers, such as ids.
    """
    JOBS[_name(act)] = act
    return act


def _name(act: Callable[..., None]) -> str:
    return f"{act.__module__}.{act.__qualname__}"


class Clock:
    def __init__(self, perform: Callable[[Callable[..., None], list[Any]], None]) -> None:
        self._perform = perform
        self.ahead = 0.0  # seconds that it was set forward
        self._due: list[tuple[float, int, str, list[Any]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        self._running = threading.Lock()  # whoever sets the clock forward waits for what is being done
        self._thread = threading.Thread(target=self._run, daemon=True, name="localstripe-clock")

    def time(self) -> float:
        return time.time() + self.ahead

    def now(self) -> int:
        """Return the time in whole seconds, as Stripe has it."""
        return int(self.time())

    def advance(self, seconds: float) -> None:
        """Set the clock forward and wait until all that fell due by then is done."""
        with self._changed:
            self.ahead += seconds
        self.run_due()

    def at(self, moment: float, act: Callable[..., None], arguments: list[Any]) -> None:
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._number), _name(act), arguments))
            self._changed.notify()

    def run_due(self) -> None:
        with self._running:
            while (due := self._next()) is not None:
                name, arguments = due
                try:
                    self._perform(JOBS[name], arguments)
                except Exception:
                    logger.exception("%s failed", name)

    def _next(self) -> tuple[str, list[Any]] | None:
        with self._changed:
            if self._due and self._due[0][0] <= self.time():
                return heapq.heappop(self._due)[2:]
            return None

    def dump(self) -> dict[str, Any]:
        with self._changed:
            return {"ahead": self.ahead, "due": [(moment, name, args) for moment, _, name, args in sorted(self._due)]}

    def load(self, kept: dict[str, Any]) -> None:
        self.ahead = kept["ahead"]
        for moment, name, arguments in kept["due"]:
            if name in JOBS:
                self.at(moment, JOBS[name], arguments)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._ended:
                    return
                wait = self._due[0][0] - self.time() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
            self.run_due()
