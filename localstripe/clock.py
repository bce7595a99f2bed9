"""The server's own time, which may be set forward, and what is to be done at a time."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Clock:
    def __init__(self) -> None:
        self._ahead = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._ended = False
        self._running = threading.Lock()  # whoever sets the clock forward waits for what is being done
        self._thread = threading.Thread(target=self._run, daemon=True, name="localstripe-clock")

    def time(self) -> float:
        return time.time() + self._ahead

    def now(self) -> int:
        """Return the time in whole seconds, as Stripe has it."""
        return int(self.time())

    def advance(self, seconds: float) -> None:
        """Set the clock forward and wait until all that fell due by then is done."""
        with self._changed:
            self._ahead += seconds
        self.run_due()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Have `act` called once `moment` is reached; it takes what locks it needs itself."""
        with self._changed:
            heapq.heappush(self._due, (moment, next(self._number), act))
            self._changed.notify()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.time() + seconds, act)

    def run_due(self) -> None:
        with self._running:
            while (act := self._next()) is not None:
                try:
                    act()
                except Exception:
                    logger.exception("what was due failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            if self._due and self._due[0][0] <= self.time():
                return heapq.heappop(self._due)[2]
            return None

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
