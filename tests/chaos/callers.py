"""Who casts: careful clients, each with an Idempotency-Key, that repeat a request until they have its answer."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import requests

from tests.chaos.followers import Follower
from tests.chaos.installation import Installation
from tests.e2e.platform import AGENT

PATIENCE = 180.0  # seconds for one request, and for one cast
# spell, weight, how its run ends by itself
SPELLS = (
    ("echo", 25, "success"),
    ("echo-event", 20, "success"),
    ("own", 15, "success"),
    ("plain", 20, "success"),
    ("stumble", 15, "failure"),
    ("keep", 15, "success"),
    ("linger", 5, "success"),
)


@dataclass
class Wish:
    """One cast that a caller means, and what came of it."""

    number: int
    spell_key: str
    input: dict[str, Any]
    conclusion: str  # how its run ends if it is let be
    key: str
    wait: int = 0  # seconds of Prefer: wait, with the cast itself
    twin: bool = False  # sent twice at the same moment
    cancel_after: float | None = None  # seconds
    callback_url: str = ""  # who is to be told of its end
    cast_ids: list[str] = field(default_factory=list)  # of every answer
    cancelled: bool = False  # a cancel was accepted
    refusals: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def wishes(count: int, *, seed: int, callback_url: str) -> Iterator[Wish]:
    """Yield what is to be cast: mostly plain, some waited for, some sent twice, a few cancelled."""
    dice = random.Random(f"{seed} wishes")
    for number in range(count):
        [(spell_key, _, conclusion)] = dice.choices(SPELLS, [weight for _, weight, _ in SPELLS])
        word = f"{number}-{dice.randbytes(8).hex()}"
        wish = Wish(number, spell_key, {"word": word}, conclusion, key=str(uuid.UUID(bytes=dice.randbytes(16))))
        wish.wait = dice.choice((0, 0, 0, 5, 10))
        wish.twin = dice.random() < 0.1
        wish.callback_url = callback_url if dice.random() < 0.3 else ""
        if dice.random() < 0.08:
            wish.cancel_after = dice.choice((0.0, dice.uniform(0, 3), dice.uniform(1, 10)))
            if dice.random() < 0.6:
                wish.spell_key, wish.conclusion = "linger", "success"
        yield wish


class Refused(Exception):
    """The platform said no to what it should have taken."""


class Callers:
    """So many at a time, each with one cast under way and a follower beside it."""

    def __init__(self, where: Installation, todo: list[Wish], *, concurrency: int, until: float) -> None:
        self.where, self.until = where, until  # time.monotonic(): nothing new is cast after it
        self.done: list[Wish] = []
        self.followers: list[Follower] = []
        self.answers: Counter[str] = Counter()
        self._todo = iter(todo)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(concurrency)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def busy(self) -> bool:
        """Whether any of them is still at work."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the last one."""
        for thread in self._threads:
            thread.join()

    def _next(self) -> Wish | None:
        with self._lock:
            wish = next(self._todo, None) if time.monotonic() < self.until else None
            if wish is not None:
                self.done.append(wish)
            return wish

    def _work(self) -> None:
        while (wish := self._next()) is not None:
            try:
                self._carry_out(wish)
            except Refused as exc:
                wish.refusals.append(str(exc))

    def _carry_out(self, wish: Wish) -> None:
        twin = threading.Thread(target=self._cast_again, args=(wish,), daemon=True) if wish.twin else None
        if twin is not None:
            twin.start()
        cast = self._cast(wish)
        follower = Follower(cast["cast_id"], cast["events_url"])
        self.followers.append(follower)
        if wish.cancel_after is not None:
            time.sleep(wish.cancel_after)
            self._insist("POST", f"/api/v1/casts/{cast['cast_id']}/cancel", expect=202)
            wish.cancelled = True
        end = time.monotonic() + PATIENCE
        while not cast["final"] and time.monotonic() < end:
            cast = self._insist("GET", f"/api/v1/casts/{cast['cast_id']}", expect=200, wait=15)
        if twin is not None:
            twin.join()

    def _cast_again(self, wish: Wish) -> None:
        try:
            self._cast(wish)
        except Refused as exc:
            wish.refusals.append(f"twin: {exc}")

    def _cast(self, wish: Wish) -> dict[str, Any]:
        body = {"spell_key": wish.spell_key, "input": wish.input, "metadata": {"key": wish.key}}
        body |= {"callback_url": wish.callback_url} if wish.callback_url else {}
        cast = self._insist("POST", "/api/v1/cast", expect=201, wait=wish.wait, json=body, key=wish.key)
        wish.cast_ids.append(cast["cast_id"])
        return cast

    def _insist(
        self, method: str, path: str, *, expect: int, wait: int = 0, json: Any = None, key: str = ""
    ) -> dict[str, Any]:
        """Repeat a request through broken connections and 5xx until it is answered; raise Refused otherwise."""
        headers = AGENT | {"Authorization": f"Bearer {self.where.key}"}
        headers |= {"Prefer": f"wait={wait}"} if wait else {}
        headers |= {"Idempotency-Key": key} if key else {}
        end, pause = time.monotonic() + PATIENCE, 0.2
        while time.monotonic() < end:
            try:
                url = self.where.url + path
                answer = requests.request(method, url, headers=headers, json=json, timeout=(3, wait + 8))
            except requests.RequestException as exc:
                self.answers[type(exc).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == expect:
                    body: dict[str, Any] = answer.json()
                    return body
                if answer.status_code < 500 and answer.status_code not in (409, 429):
                    raise Refused(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                pause = float(answer.headers.get("Retry-After", pause))
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 2.0)
        raise Refused(f"{method} {path}: no answer in {PATIENCE:.0f} s")
