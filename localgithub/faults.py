import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

WEBHOOKS: dict[str, Any] = {
    "drop": 0.0,  # not sent, but in the log as failed: a sweep finds it
    "lose": 0.0,  # not sent and in no log, as GitHub sometimes does
    "duplicate": 0.0,
    "delay_ms": [0, 0],
    "reorder": False,
    "before_dispatch_answer": False,
    "answer_delay_ms": 0,
}
API: dict[str, Any] = {
    "error_5xx": 0.0,
    "error_5xx_after": 0.0,  # a 502 although the request was carried out
    "reset_before": 0.0,
    "reset_after": 0.0,
    "secondary_rate_limit": 0.0,
    "retry_after": 1,  # seconds, told with a secondary rate limit
    "primary_exhausted": False,
    "primary_reset_s": 60,
    "latency_ms": [0, 0],
    "fresh_token_401_ms": 0,
    "paths": "",  # a regular expression, searched in the path; empty for all
    "methods": [],
    "times": None,  # at most so many faults, all kinds together
}
RUNNERS: dict[str, Any] = {
    "limit": None,  # at most so many runs at a time; the others wait for a runner
    "never_start": 0.0,  # the run ends as a failure, and none of its jobs ever had a runner
    "reason": "The job was not started because recent account payments have failed or your spending limit needs to be "
    "increased. Please check the 'Billing & plans' section in your settings",
}


class Faults:
    """How the server misbehaves now; repeatable with a seed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hits: Counter[str] = Counter()  # for the record; a reset keeps them
        self.reset()

    def reset(self) -> None:
        self.webhooks, self.api, self.runners = dict(WEBHOOKS), dict(API), dict(RUNNERS)
        self.seed: int | None = None
        self.suspended = self.removed = self.unreachable = False
        self._random = random.Random()  # noqa: S311 chance, not secrecy

    def update(self, wanted: dict[str, Any]) -> None:
        """Merge what a test asks for. Raise ValueError for an unknown name."""
        with self._lock:
            if wanted.get("reset"):
                self.reset()
            for name, value in wanted.items():
                if name in ("webhooks", "api", "runners"):
                    known = getattr(self, name)
                    if unknown := value.keys() - known.keys():
                        raise ValueError(f"no such fault: {name}.{', '.join(sorted(unknown))}")
                    known.update(value)
                elif name in ("suspended", "removed", "unreachable"):
                    setattr(self, name, bool(value))
                elif name == "seed":
                    self.seed = value
                    # A seed makes a storm of faults repeatable.
                    self._random.seed(value)
                elif name != "reset":
                    raise ValueError(f"no such fault: {name}")

    def show(self) -> dict[str, Any]:
        return {
            "webhooks": self.webhooks,
            "api": self.api,
            "runners": self.runners,
            "seed": self.seed,
            "suspended": self.suspended,
            "removed": self.removed,
            "unreachable": self.unreachable,
        }

    def applies(self, method: str, path: str) -> bool:
        methods = [m.upper() for m in self.api["methods"] or []]
        return (not methods or method in methods) and bool(re.search(self.api["paths"] or "", path))

    def strikes(self, name: str, method: str, path: str) -> bool:
        """Decide by chance whether an API fault happens to this request, and count it if it does."""
        with self._lock:
            if not self.applies(method, path):  # any more: faults may be others than when the request came
                return False
            left = self.api["times"]
            # No random number for a fault that is not set, so that a seed gives the same sequence of hits.
            if left == 0 or not self.api[name] or self._random.random() >= float(self.api[name]):
                return False
            if left is not None:
                self.api["times"] = left - 1
            self.hits[f"api.{name}"] += 1
            return True

    def befalls(self, name: str) -> bool:
        return self._hit(f"webhooks.{name}", self.webhooks[name])

    def never_starts(self) -> bool:
        return self._hit("runners.never_start", self.runners["never_start"])

    def _hit(self, name: str, probability: float) -> bool:
        with self._lock:
            hit = bool(probability) and self._random.random() < probability
            self.hits[name] += hit
            return hit

    def between(self, milliseconds: Sequence[float]) -> float:
        """Return a random time in seconds from a range in milliseconds."""
        with self._lock:
            return self._random.uniform(*milliseconds) / 1000 if any(milliseconds) else 0.0

    def wait(self) -> None:
        if seconds := self.between(self.api["latency_ms"]):
            time.sleep(seconds)
