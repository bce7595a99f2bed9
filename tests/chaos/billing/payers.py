"""Who casts and pays: careful clients that repeat what they ask until it is answered, and top up when they must."""

from __future__ import annotations

import functools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.chaos.billing.shop import METERED, PREPAID, Shop
from tests.e2e.platform import AGENT

PATIENCE = 240.0  # seconds for one request, one cast, one top-up
SPELLS = (
    ("flat", 30),
    ("event", 20),
    ("minutes", 10),
    ("reported", 12),
    ("stumble", 10),
    ("stumble-charged", 10),
    ("linger", 8),
)
CARD = {"number": "4242424242424242", "expiry": "12/34", "cvc": "123", "name": "Ada"}
TOPUPS = (50, 100, 250)
AUTO = {plan["name"]: plan["auto"] for plan in PREPAID if "auto" in plan}


@dataclass
class Wish:
    """One cast that a caller means, and what came of it."""

    account: str
    spell_key: str
    input: dict[str, Any]
    key: str
    cancel_after: float | None = None
    cast_id: str = ""
    refusals: list[str] = field(default_factory=list)


def wishes(count: int, *, seed: int) -> Iterator[Wish]:
    dice = random.Random(f"{seed} wishes")
    names = [plan["name"] for plan in (*PREPAID, *METERED)]
    for number in range(count):
        [(spell_key, _)] = dice.choices(SPELLS, [weight for _, weight in SPELLS])
        given: dict[str, Any] = {"word": f"{number}-{dice.randbytes(6).hex()}"}
        if spell_key == "reported":
            given["charge_cents"] = dice.choice((0, 7, 59, 60, 9000, None))
        wish = Wish(dice.choice(names), spell_key, given, key=str(uuid.UUID(bytes=dice.randbytes(16))))
        if spell_key == "linger" or dice.random() < 0.04:
            wish.cancel_after = dice.uniform(0, 3)
        yield wish


class GaveUp(Exception):
    """What was asked for did not come to be in time, or was refused."""


class Payers:
    """So many at a time. `until`: time.monotonic(), after which nothing new is cast."""

    def __init__(self, where: Shop, todo: list[Wish], *, concurrency: int, until: float) -> None:
        self.where, self.until = where, until
        self.done: list[Wish] = []
        self.answers: Counter[str] = Counter()
        self.spent = 0  # how often a cast was refused for want of credit
        self.unblocked: list[float] = []  # seconds from a top-up's success to the cast that it let through
        self.topups: dict[str, str] = {}  # id: account
        self._todo = iter(todo)
        self._lock = threading.Lock()
        self._paying = {name: threading.Lock() for name in where.accounts}
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(concurrency)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def save_cards(self) -> None:
        """Save a card for each prepaid account, and have those top up by themselves that do. Raise GaveUp."""
        for plan in PREPAID:
            name = plan["name"]
            page = self.ask(name, "POST", "/billing/setup", 201, json={})["url"]
            saved = requests.post(page, data=CARD, allow_redirects=False, timeout=20)
            if saved.status_code != 303:
                raise GaveUp(f"Stripe's page answered {saved.status_code}")
            self.until_true(functools.partial(self._card_of, name))
            self._top_up_by_itself(name)

    def _card_of(self, account: str) -> Any:
        return self.ask(account, "GET", "/billing", 200)["card"]

    def _top_up_by_itself(self, account: str) -> None:
        if account in AUTO:
            below, cents = AUTO[account]
            self.ask(account, "PATCH", "/billing", 200, json={"auto_topup": {"below_cents": below, "cents": cents}})

    def _work(self) -> None:
        while (wish := self._next()) is not None:
            try:
                self._carry_out(wish)
            except GaveUp as exc:
                wish.refusals.append(str(exc))

    def _next(self) -> Wish | None:
        with self._lock:
            wish = next(self._todo, None) if time.monotonic() < self.until else None
            if wish is not None:
                self.done.append(wish)
            return wish

    def _carry_out(self, wish: Wish) -> None:
        cast = self._cast(wish)
        wish.cast_id = cast["cast_id"]
        if wish.cancel_after is not None:
            time.sleep(wish.cancel_after)
            self.ask(wish.account, "POST", f"/casts/{wish.cast_id}/cancel", 202)
        end = time.monotonic() + PATIENCE
        while not cast["final"] and time.monotonic() < end:
            cast = self.ask(wish.account, "GET", f"/casts/{wish.cast_id}", 200, wait=15)

    def _cast(self, wish: Wish) -> dict[str, Any]:
        body = {"spell_key": wish.spell_key, "input": wish.input}
        end, paid_at = time.monotonic() + PATIENCE, 0.0
        while time.monotonic() < end:
            answer = self.ask(wish.account, "POST", "/cast", 201, 402, json=body, key=wish.key)
            if "cast_id" in answer:
                if paid_at:
                    self.unblocked.append(time.monotonic() - paid_at)
                return answer
            if answer["scope"] != "credit":
                raise GaveUp(f"refused for {answer['scope']}")
            self.spent += 1
            paid_at = self._pay(wish.account)
        raise GaveUp(f"no credit came in {PATIENCE:.0f} s")

    def _pay(self, account: str) -> float:
        """Wait for credit, or top up, one caller of an account at a time; return when it was there."""
        with self._paying[account]:
            if self._left(account) >= max(TOPUPS[0], 60):
                return 0.0  # somebody else has
            self._top_up_by_itself(account)  # a dispute has switched it off
            if account == "by-itself":
                self.until_true(lambda: self._left(account) >= 60)
                return 0.0
            cents = random.choice(TOPUPS)
            topup = self.ask(account, "POST", "/billing/topups", 201, 409, json={"cents": cents}, key=str(uuid.uuid4()))
            if "id" not in topup:  # one is under way
                time.sleep(0.5)
                return 0.0
            self.topups[topup["id"]] = account
            end = time.monotonic() + PATIENCE
            while not topup["final"] and time.monotonic() < end:
                time.sleep(0.2)
                topup = self.ask(account, "GET", f"/billing/topups/{topup['id']}", 200)
            if topup["state"] != "succeeded":
                raise GaveUp(f"top-up {topup['id']} is {topup['state']}: {topup['message']}")
            return time.monotonic()

    def _left(self, account: str) -> int:
        left: int = self.ask(account, "GET", "/billing", 200)["credit"]["remaining_cents"]
        return left

    def until_true(self, what: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > end:
                raise GaveUp(f"it did not come true in {PATIENCE:.0f} s")
            time.sleep(0.3)

    def ask(
        self, account: str, method: str, path: str, *expect: int, wait: int = 0, json: Any = None, key: str = ""
    ) -> Any:
        """Repeat a request through broken connections, 5xx and "not now" until it is answered. Raise GaveUp."""
        headers = AGENT | {"Authorization": f"Bearer {self.where.accounts[account][1]}"}
        headers |= {"Prefer": f"wait={wait}"} if wait else {}
        headers |= {"Idempotency-Key": key} if key else {}
        end, pause, last = time.monotonic() + PATIENCE, 0.2, ""
        while time.monotonic() < end:
            try:
                url = f"{self.where.url}/api/v1{path}"
                answer = requests.request(method, url, headers=headers, json=json, timeout=(3, wait + 30))
            except requests.RequestException as exc:
                self.answers[type(exc).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code in expect:
                    return answer.json()
                last = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code < 500 and answer.status_code not in (409, 429):
                    raise GaveUp(f"{method} {path}: {last}")
                pause = float(answer.headers.get("Retry-After", pause))
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, 2.0)
        raise GaveUp(f"{method} {path}: no answer in {PATIENCE:.0f} s. {last}")
