"""What goes wrong while casts are made: GitHub's faults, strangers' runs, and kills."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from tests.chaos.installation import WEBS, WORKERS, Installation

WEBHOOKS = {
    # Three of ten never arrive: half of them GitHub knows as failed, the others it knows nothing of.
    "drop": 0.15,
    "lose": 0.18,
    "duplicate": 0.2,
    "reorder": True,
    "delay_ms": [0, 1500],
}
API = {
    "error_5xx": 0.05,
    "error_5xx_after": 0.03,
    "reset_before": 0.03,
    "reset_after": 0.03,
    "secondary_rate_limit": 0.01,
    "latency_ms": [0, 50],
}
CALM_API = {"latency_ms": [0, 0], "secondary_rate_limit": 0.0, "primary_exhausted": False}
# Short and heavy: beyond our timeout, out of reach, out of requests, and answers lost by the dozen.
GUSTS: list[dict[str, Any]] = [
    {"api": {"latency_ms": [0, 6000]}},
    {"unreachable": True},
    {"api": {"primary_exhausted": True, "primary_reset_s": 3}},
    {"api": {"secondary_rate_limit": 0.3}},
    {"api": {"reset_after": 0.4, "error_5xx_after": 0.3}},
]
# Seconds; a lease is 5, and a lost dispatch is given up after 15: some wake up when others have dispatched anew.
FREEZE_EVERY, FROZEN, LONG_FROZEN = (8.0, 16.0), (5.5, 8.0), (20.0, 26.0)
SEVER_EVERY = (15.0, 40.0)  # seconds
NOISE = ("echo.yml", "keep.yml", "stumble.yml", "plain.yml")

Trouble = Callable[[random.Random], Generator[float, None, None]]


class Storm:
    """Kills and faults, each from a thread of its own, until told to end. A seed repeats what it chooses, not when."""

    def __init__(self, where: Installation, *, seed: int, kill_every: tuple[float, float]) -> None:
        self.where, self.seed, self.kill_every = where, seed, kill_every
        self.kills: Counter[str] = Counter()
        self.freezes: Counter[str] = Counter()
        self.gusts = self.noise = self.severed = 0
        self.deaf = False  # every webhook is lost
        self.errors: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(what, random.Random(f"{seed} {number}")))
            for number, what in enumerate(self.troubles())
        ]

    def troubles(self) -> tuple[Trouble, ...]:
        """Return what goes wrong, each from a thread of its own."""
        return self._kill, self._freeze, self._sever, self._blow, self._crowd

    def begin(self) -> None:
        """Let it break loose."""
        self.where.faults(seed=self.seed)
        self._weather()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Calm down: whoever was killed last is being started, and GitHub behaves well."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.where.faults(reset=True)

    def silence(self, deaf: bool) -> None:
        """Lose every webhook from now on, or only as many as before."""
        self.deaf = deaf
        self._weather()

    def _keep(self, what: Trouble, dice: random.Random) -> None:
        try:
            with contextlib.closing(what(dice)) as trouble:
                for seconds in trouble:
                    if self._over.wait(seconds):
                        return
        except BaseException as exc:
            self.errors.append(exc)
            raise

    def _weather(self, gust: dict[str, Any] | None = None) -> None:
        webhooks = WEBHOOKS | ({"lose": 1.0} if self.deaf else {})
        gust = gust or {}
        api = CALM_API | API | gust.get("api", {})
        self.where.faults(webhooks=webhooks, api=api, unreachable=gust.get("unreachable", False))

    # What follows makes trouble, and yields for how many seconds to leave it at that.

    def _kill(self, dice: random.Random) -> Generator[float, None, None]:
        while True:
            yield dice.uniform(*self.kill_every)
            victim = dice.choice((*WEBS, *WORKERS))
            self.where.kill(victim)
            self.kills[victim] += 1

    def _freeze(self, dice: random.Random) -> Generator[float, None, None]:
        """Stop one for longer than its leases last, so that others take its work over; then let it go on."""
        while True:
            yield dice.uniform(*FREEZE_EVERY)
            victim = dice.choice((*WEBS, *WORKERS, *WORKERS))
            self.freezes[victim] += 1
            with self.where.frozen(victim):
                yield dice.uniform(*(LONG_FROZEN if dice.random() < 0.2 else FROZEN))

    def _sever(self, dice: random.Random) -> Generator[float, None, None]:
        while True:
            yield dice.uniform(*SEVER_EVERY)
            self.where.sever()
            self.severed += 1

    def _blow(self, dice: random.Random) -> Generator[float, None, None]:
        while True:
            self._weather({"api": {"retry_after": dice.randint(1, 3)}})
            yield dice.uniform(5, 10)
            gust = dice.choice(GUSTS)
            self.gusts += 1
            self._weather(gust | {"api": {"retry_after": dice.randint(1, 3)} | gust.get("api", {})})
            yield dice.uniform(1.5, 3.5)

    def _crowd(self, dice: random.Random) -> Generator[float, None, None]:
        """Runs that are nobody's cast, in the same seconds as ours."""
        while True:
            count = dice.randint(1, 4)
            asked = {"n": count, "workflow": dice.choice(NOISE)}
            self.where.control("POST", "noise", json=asked)
            self.noise += count
            yield dice.uniform(1, 4)
