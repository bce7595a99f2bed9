"""Rationing: how many requests somebody may make in a minute, and how long to wait after failed tries.

Two things are counted, for all processes together:

- **Allowances** (`allowances.py`): so many requests a minute. A process takes a block of what is left in one statement
  and hands it out from memory, so that most requests ask nobody. What is handed out is never more than the allowance;
  up to a sixteenth of it may lie unused with each process that took a block and got no further requests.
- **Penalties** (`penalties.py`): after a number of failed tries each further one means waiting, twice as long each
  time.

Where the numbers are kept is a `Store`: the database's (`accounts.rationing.store`), or Redis (`redis.py`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.dispatch import Signal

from core.errors import SpellError

MINUTE = 60  # seconds; allowances are for calendar minutes

# Somebody is refused: sent with `allowance` (its name) and `subject`, once for each minute or wait in a process.
refused = Signal()


def now() -> float:
    return time.time()


class Standing(NamedTuple):
    """How somebody stands with one allowance, as the answer's headers tell it."""

    allowance: str
    quota: int
    remaining: int
    seconds: int  # that the quota is for
    until: float  # when there will be more, by time.time()

    def wait(self) -> int:
        """Seconds until there will be more, one at least."""
        return max(1, math.ceil(self.until - now()))


class RateLimited(SpellError):
    """An allowance is used up, or a wait after failed tries is not over."""

    code, status, title = "RATE_LIMITED", 429, "Too many requests"

    def __init__(self, detail: str, standing: Standing, **extra: Any) -> None:
        wait = standing.wait()
        more = "in 1 second" if wait == 1 else f"in {wait} seconds"
        super().__init__(
            f"{detail} Try again {more}.",
            headers={"Retry-After": str(wait)},
            allowance=standing.allowance,
            limit=standing.quota,
            retry_after=wait,
            **extra,
        )
        self.detail, self.standing = detail, standing

    def again(self) -> RateLimited:
        """Return the same refusal, as it reads by now."""
        return RateLimited(self.detail, self.standing)


@dataclass(frozen=True)
class Allowance:
    """So many requests a minute, for each subject of a kind."""

    name: str  # in headers, problems and rows
    whose: str  # "This API key"


@dataclass(frozen=True)
class Penalty:
    """So many failed tries free, for each subject of a kind, then a wait that doubles with each."""

    name: str
    what: str  # "bad API keys"
    forgotten: int  # seconds without a failed try after which they are forgotten
    blocks: bool = True  # False: only counted


BAD_KEYS = Penalty("bad-keys", "requests with a bad API key or link", 3600)
BAD_SIGNATURES = Penalty("bad-signatures", "webhooks with a bad signature", 3600)
ADDRESS = Allowance("address", "Your address")


class Taken(NamedTuple):
    """What a store has handed out: to this process, and in all."""

    minute: int  # the newest that any process has begun, which may be later than the one asked for
    granted: int
    used: int


class Failed(NamedTuple):
    """What a store says of one more failed try."""

    counted: bool  # False: it came during the wait
    tries: int
    delay: float  # seconds
    until: float  # when the next may come, by time.time()
