"""One request as rationing sees it: from where, with which credential, and how it stands with its allowances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from core import rationing
from core.rationing import Allowance, RateLimited, Standing
from core.rationing.allowances import give_back, spend

MOST_KNOWN = 20_000  # credentials in memory
GOOD_FOR = 3600  # seconds that a credential is remembered as good

HEADERS = ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


@dataclass(slots=True)
class Visit:
    """A request under way. `credential`: a digest of what it shows, None if it shows nothing."""

    address: str  # as it is counted: of an IPv6 address its network
    client: str = ""  # the whole address
    credential: bytes | None = None
    proven: bool = False  # it showed something good
    failed: bool = False  # it showed something bad, whatever it is answered
    standings: list[Standing] = field(default_factory=list)


visit: ContextVar[Visit | None] = ContextVar("visit", default=None)  # of the request at work; set by core.asgi.gate

_good: dict[bytes, float] = {}  # until when
_held: dict[bytes, RateLimited] = {}


def prove(of: Visit | None) -> None:
    """Note that a request's credential is good: others' failed tries from its address are not held against it."""
    if of is not None:
        of.proven = True
        if of.credential is not None:
            if len(_good) >= MOST_KNOWN:
                _good.clear()
            _good[of.credential] = rationing.now() + GOOD_FOR


def fail(of: Visit | None) -> None:
    """Have a request counted as a failed try, for those who are not answered 401: some senders know other statuses."""
    if of is not None:
        of.failed = True


def disprove(of: Visit | None) -> None:
    if of is not None and of.credential is not None:
        _good.pop(of.credential, None)


def is_known_good(of: Visit) -> bool:
    return of.credential is not None and _good.get(of.credential, 0.0) > rationing.now()


def hold(of: Visit | None, error: RateLimited) -> None:
    """Have further requests with this credential refused without work, until there is more for them."""
    if of is not None and of.credential is not None:
        if len(_held) >= MOST_KNOWN:
            _held.clear()
        _held[of.credential] = error


def admit(of: Visit | None, *asked: tuple[Allowance, object, int]) -> None:
    """Spend one request of each allowance that a good credential has: which, whose, and how much it is.

    Raise RateLimited, having spent nothing, if one of them is used up.
    """
    spent: list[Standing | None] = []
    prove(of)
    try:
        for allowance, subject, quota in asked:
            spent.append(spend(allowance, subject, quota))
    except RateLimited as exc:
        for (allowance, subject, _), standing in zip(asked, spent, strict=False):
            give_back(allowance, subject, standing)
        hold(of, exc)
        spent = [exc.standing]
        raise
    finally:
        if of is not None:
            of.standings += [standing for standing in spent if standing is not None]


def check_held(of: Visit) -> None:
    """Raise RateLimited if this credential's allowance is known to be used up."""
    if of.credential is None or (error := _held.get(of.credential)) is None:
        return
    if error.standing.until <= rationing.now():
        del _held[of.credential]
        return
    raise error.again()


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Return the headers that tell how somebody stands; of several allowances X-RateLimit tells the tightest.

    Source: draft-ietf-httpapi-ratelimit-headers-11. X-RateLimit-Reset is in seconds since 1970, as GitHub's is.
    """
    if not standings:
        return {}
    tightest = min(standings, key=lambda standing: standing.remaining / standing.quota)
    return {
        "RateLimit": ", ".join(f'"{s.allowance}";r={s.remaining};t={s.wait()}' for s in standings),
        "RateLimit-Policy": ", ".join(f'"{s.allowance}";q={s.quota};w={s.seconds}' for s in standings),
        "X-RateLimit-Limit": str(tightest.quota),
        "X-RateLimit-Remaining": str(tightest.remaining),
        "X-RateLimit-Reset": str(math.ceil(tightest.until)),
    }


def forget_all() -> None:
    """Begin anew, as a new process does."""
    _good.clear()
    _held.clear()
