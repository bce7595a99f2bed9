"""What takes a while to find out: found by one thread at a time, however many ask, and kept for some seconds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connections

T = TypeVar("T")


class Kept(Generic[T]):
    """A value that is at most so many `seconds` old, and that nobody waits for longer than `patience` seconds.

    It is made in a thread of its own. While that hangs, as a database may, there is no second one.
    """

    def __init__(self, make: Callable[[], T], *, seconds: float, patience: float) -> None:
        self.make, self.seconds, self.patience = make, seconds, patience
        self.lock = threading.Lock()
        self.made: tuple[float, Future[T]] | None = None

    async def get(self) -> T:
        """Raise TimeoutError, or what `make` raised."""
        found = self.begin()
        if not found.done():
            # Shielded: whoever has no more patience must not end it for the others.
            async with asyncio.timeout(self.patience):
                await asyncio.shield(asyncio.wrap_future(found))
        return found.result()

    def last(self) -> T | None:
        """Return what was found last, None while it is being found or if that failed."""
        found = self.made[1] if self.made is not None else None
        return found.result() if found is not None and found.done() and found.exception() is None else None

    def begin(self) -> Future[T]:
        with self.lock:
            now = time.monotonic()
            if self.made is None or (self.made[1].done() and now - self.made[0] >= self.seconds):
                told: Future[T] = Future()
                threading.Thread(target=self._run, args=(told,), name="telemetry", daemon=True).start()
                self.made = (now, told)  # not sooner: of a thread that could not be started nobody would ever hear
            return self.made[1]

    def _run(self, told: Future[T]) -> None:
        try:
            value = self.make()
        except BaseException as exc:
            told.set_exception(exc)
        else:
            told.set_result(value)
        finally:
            connections.close_all()
