import random
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

WEBHOOKS: dict[str, Any] = {
    "drop": 0.0,  # never sent, nor tried again; /v1/events has it all the same
    "duplicate": 0.0,
    "delay_ms": [0, 0],
    "reorder": False,
    "before_answer": False,  # an answer waits until the webhooks that it caused are delivered, or refused
}
API: dict[str, Any] = {
    "error_5xx": 0.0,  # 503 before the request is carried out; nothing is kept under its idempotency key
    "error_5xx_after": 0.0,  # 502 although it was carried out; a repeat with its key finds what came of it
    "error_500_kept": 0.0,  # 500 and nothing done; a repeat with its key finds the same 500, as at Stripe
    "error_500_kept_after": 0.0,  # the same, although it was carried out
    "reset_before": 0.0,
    "reset_after": 0.0,  # carried out, but the connection breaks before the answer
    "rate_limit": 0.0,
    "latency_ms": [0, 0],
    "hold_ms": [0, 0],  # while the request has its idempotency key: a twin is answered 409
    "paths": "",  # a regular expression, searched in the path; empty for all
    "methods": [],
    "times": None,  # at most so many faults, all kinds together
}
CARDS: dict[str, Any] = {
    "decline": "",  # every charge is declined with this decline_code, such as insufficient_funds
    "refunds": "",  # what becomes of a refund: "" at once succeeded, "pending", "failed" (pending first)
}
METERS: dict[str, Any] = {
    "async_errors": 0.0,  # a meter event is answered 200 and refused afterwards
    "refuse_later": False,  # no meter and a wrong time are answered 200, too, and refused afterwards
}
GROUPS = {"webhooks": WEBHOOKS, "api": API, "cards": CARDS, "meter": METERS}


class Faults:
    """How the server misbehaves now; repeatable with a seed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hits: Counter[str] = Counter()  # for the record; a reset keeps them
        self.reset()

    def reset(self) -> None:
        self.groups: dict[str, dict[str, Any]] = {name: dict(usual) for name, usual in GROUPS.items()}
        self.seed: int | None = None
        self.unreachable = False
        self._random = random.Random()  # noqa: S311 chance, not secrecy

    def __getitem__(self, group: str) -> dict[str, Any]:
        return self.groups[group]

    def update(self, wanted: dict[str, Any]) -> None:
        """Merge what a test asks for. Raise ValueError for an unknown name, and change nothing."""
        strange = [name for name in wanted if name not in ("reset", "seed", "unreachable", *GROUPS)]
        for group in GROUPS.keys() & wanted.keys():
            strange += [f"{group}.{name}" for name in wanted[group] if name not in GROUPS[group]]
        if strange:
            raise ValueError(f"no such fault: {', '.join(strange)}")
        with self._lock:
            if wanted.get("reset"):
                self.reset()
            for group in GROUPS.keys() & wanted.keys():
                self.groups[group].update(wanted[group])
            if "unreachable" in wanted:
                self.unreachable = bool(wanted["unreachable"])
            if "seed" in wanted:
                self.seed = wanted["seed"]
                self._random.seed(self.seed)

    def show(self) -> dict[str, Any]:
        return {**self.groups, "seed": self.seed, "unreachable": self.unreachable}

    def applies(self, method: str, path: str) -> bool:
        methods = [m.upper() for m in self["api"]["methods"] or []]
        return (not methods or method in methods) and bool(re.search(self["api"]["paths"] or "", path))

    def strikes(self, name: str, method: str, path: str) -> bool:
        """Decide by chance whether a fault of the API happens to this request, and count it if it does."""
        with self._lock:
            api = self["api"]
            if not self.applies(method, path):  # any more: faults may be others than when the request came
                return False
            # No random number for a fault that is not set, so that a seed gives the same sequence of hits.
            if api["times"] == 0 or not api[name] or self._random.random() >= float(api[name]):
                return False
            if api["times"] is not None:
                api["times"] -= 1
            self.hits[f"api.{name}"] += 1
            return True

    def befalls(self, group: str, name: str) -> bool:
        with self._lock:
            probability = self[group][name]
            hit = bool(probability) and self._random.random() < float(probability)
            self.hits[f"{group}.{name}"] += hit
            return hit

    def between(self, milliseconds: Sequence[float]) -> float:
        """Return a random time in seconds from a range in milliseconds."""
        with self._lock:
            return self._random.uniform(*milliseconds) / 1000 if any(milliseconds) else 0.0

    def pause(self, name: str) -> None:
        if seconds := self.between(self["api"][name]):
            time.sleep(seconds)
