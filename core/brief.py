"""Values that a process keeps for some seconds, because they are asked for more often than they need to be made."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
KEPT = 200  # values; more would be of people who are long gone
_all: WeakSet[Brief[Any, Any]] = WeakSet()


class Brief(Generic[Key, Value]):
    """Values by key, each at most so many seconds old."""

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self.made: dict[Key, tuple[float, Value]] = {}
        _all.add(self)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        now = time.monotonic()
        found = self.made.get(key)
        if found is not None and now - found[0] < self.seconds:
            return found[1]
        value = make()
        if len(self.made) >= KEPT:
            self.made.clear()
        self.made[key] = (now, value)
        return value


def forget_all() -> None:
    """Have everything made anew: between tests."""
    for one in list(_all):
        one.made.clear()
