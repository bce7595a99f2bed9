"""What goes wrong while casts are made: GitHub's faults, strangers' runs, and kills."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import requests

from tests.chaos.installation import WEBS, WORKERS, Installation
from tests.e2e.platform import AGENT

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
FREEZE_EVERY, FROZEN = (8.0, 16.0), (5.5, 8.0)  # seconds; a lease is 5, and a lost dispatch is given up after 15
NOISE = ("echo.yml", "keep.yml", "stumble.yml")


class Storm:
    """Kills and faults, each from a thread of its own, until told to end. A seed repeats what it chooses, not when."""

    def __init__(self, where: Installation, *, seed: int, kill_every: tuple[float, float]) -> None:
        self.where, self.seed, self.kill_every = where, seed, kill_every
        self.kills: Counter[str] = Counter()
        self.freezes: Counter[str] = Counter()
        self.gusts = self.noise = 0
        self.deaf = False  # every webhook is lost
        self.errors: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._keep, args=(what, random.Random(f"{seed} {what.__name__}")), name=what.__name__
            )
            for what in (self._kill, self._freeze, self._blow, self._crowd)
        ]

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

    def _keep(self, what: Callable[[random.Random], float], dice: random.Random) -> None:
        try:
            while not self._over.wait(what(dice)):
                pass
        except BaseException as exc:
            self.errors.append(exc)
            raise

    def _weather(self, gust: dict[str, Any] | None = None) -> None:
        webhooks = WEBHOOKS | ({"lose": 1.0} if self.deaf else {})
        gust = gust or {}
        api = CALM_API | API | gust.get("api", {})
        self.where.faults(webhooks=webhooks, api=api, unreachable=gust.get("unreachable", False))

    def _kill(self, dice: random.Random) -> float:
        if self._over.wait(dice.uniform(*self.kill_every)):
            return 0
        victim = dice.choice((*WEBS, *WORKERS))
        self.where.kill(victim)
        self.kills[victim] += 1
        return 0

    def _freeze(self, dice: random.Random) -> float:
        """Stop one for longer than its leases last, so that others take its work over; then let it go on."""
        if self._over.wait(dice.uniform(*FREEZE_EVERY)):
            return 0
        victim = dice.choice((*WEBS, *WORKERS, *WORKERS))
        self.freezes[victim] += 1
        self.where.freeze(victim, lambda: self._over.wait(dice.uniform(*FROZEN)))
        return 0

    def _blow(self, dice: random.Random) -> float:
        self._weather({"api": {"retry_after": dice.randint(1, 3)}})
        if self._over.wait(dice.uniform(5, 10)):
            return 0
        gust = dice.choice(GUSTS)
        self.gusts += 1
        self._weather(gust | {"api": {"retry_after": dice.randint(1, 3)} | gust.get("api", {})})
        return dice.uniform(1.5, 3.5)

    def _crowd(self, dice: random.Random) -> float:
        """Runs that are nobody's cast, in the same seconds as ours."""
        asked = {"n": dice.randint(1, 4), "workflow": dice.choice(NOISE)}
        answer = requests.post(self.where.github + "/_local/noise", json=asked, timeout=20, headers=AGENT)
        answer.raise_for_status()
        self.noise += asked["n"]
        return dice.uniform(1, 4)


def waited(what: Callable[[], bool], *, seconds: float, every: float = 0.5) -> bool:
    """Return whether `what()` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(every)
    return False
