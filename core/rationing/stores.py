"""Where the numbers are kept."""

from __future__ import annotations

from functools import cache
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from core.rationing import Failed, Taken

BLOCK_PART = 16  # a block is this part of what is left, at least one request
FIRST_DELAY = 1.0  # seconds
REDIS = "core.rationing.redis.RedisStore"  # loaded only where it is used


class Store(Protocol):
    """Counts for all processes; each method is one atomic step. Names are of 200 characters at most."""

    def take(self, name: str, minute: int, quota: int) -> Taken:
        """Hand out a block of what is left in a minute."""

    def fail(
        self, name: str, now: float, *, free: int, longest: float, forgotten: float, least: float, blocks: bool
    ) -> Failed:
        """Count one more failed try, unless it comes during the wait (`blocks`).

        The first wait, after `free` tries, has FIRST_DELAY seconds, each further twice those of the one
        before, none more than `longest` or less than `least`. Without a try for `forgotten` seconds it begins anew.
        """

    def undo(self, name: str) -> None:
        """Take the last failed try back, and end the wait: it was none."""

    def forget(self, name: str) -> None:
        """Forget a subject's failed tries."""


@cache
def store_at(url: str) -> Store:
    """Return the store that RATION_URL names; blank: the database's."""
    made: Store = (
        import_string("core.rationing.redis.RedisStore")(url) if url else import_string(settings.RATION_STORE)()
    )
    return made


def store() -> Store:
    return store_at(settings.RATION_URL)
