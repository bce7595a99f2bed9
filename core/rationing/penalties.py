"""Waiting after failed tries: some are free, then each means waiting, twice as long each time.

A try that comes during the wait is refused without being looked at, and does not count: whoever waits may go on then.
A failed try is counted in the store, for all processes. How long a wait lasts is also kept in memory, where it is
known, so that refusing costs nothing.
"""

from __future__ import annotations

from django.conf import settings

from core import rationing
from core.metrics import RATIONING
from core.rationing import Failed, Penalty, RateLimited, Standing, refused
from core.rationing.stores import store

MOST_WAITS = 20_000  # known in memory; then they are learnt again
_waits: dict[str, tuple[float, int]] = {}  # by name: until when, and how many tries are free


def name_of(penalty: Penalty, subject: object) -> str:
    return f"{penalty.name}:{subject}"


def check(penalty: Penalty, subject: object) -> None:
    """Raise RateLimited if this process knows that the subject has to wait."""
    known = _waits.get(name_of(penalty, subject))
    if known is not None and known[0] > rationing.now():
        raise refusal(penalty, *known)


def failed(penalty: Penalty, subject: object, *, free: int, least: float = 0.0) -> Failed | None:
    """Count a failed try; raise RateLimited if it came during the wait. None: these are not counted (free is 0)."""
    if not free:
        return None
    name, now = name_of(penalty, subject), rationing.now()
    found = store().fail(
        name,
        now,
        free=free,
        longest=settings.RATION_LONGEST_WAIT_SECONDS,
        forgotten=penalty.forgotten,
        least=least,
        blocks=penalty.blocks,
    )
    if penalty.blocks and found.until > now:
        if len(_waits) >= MOST_WAITS:
            _waits.clear()
        known, _waits[name] = _waits.get(name), (found.until, free)
        if known != (found.until, free):  # told once, though many may come at this moment
            refused.send(Penalty, allowance=penalty.name, subject=str(subject))
    if not found.counted:
        raise refusal(penalty, found.until, free)
    return found


def undo(penalty: Penalty, subject: object) -> None:
    """Take back a try that was counted as failed before it was known to succeed."""
    name = name_of(penalty, subject)
    store().undo(name)
    _waits.pop(name, None)


def forget(penalty: Penalty, subject: object) -> None:
    name = name_of(penalty, subject)
    store().forget(name)
    _waits.pop(name, None)


def refusal(penalty: Penalty, until: float, free: int) -> RateLimited:
    RATIONING.labels(penalty.name, "refused").inc()
    standing = Standing(penalty.name, free, 0, penalty.forgotten, until)
    return RateLimited(f"There were too many {penalty.what} from your address.", standing)


def forget_all() -> None:
    """Begin anew, as a new process does."""
    _waits.clear()
