"""What meters have counted."""

import threading
from collections import defaultdict
from dataclasses import asdict, dataclass
from decimal import Decimal

from localstripe.store import Obj

UNIQUE = 24 * 3600  # seconds that an identifier is taken: after them it is counted again
WINDOWS = {"hour": 3600, "day": 86400}


@dataclass
class Used:
    """One meter event that was taken."""

    identifier: str
    meter: str
    customer: str
    value: Decimal
    timestamp: int
    received: float
    counts_at: float  # when sums begin to have it
    order: int = 0
    cancelled: bool = False


class Usage:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by: dict[tuple[str, str], list[Used]] = defaultdict(list)  # by meter and customer
        self._identifiers: dict[str, float] = {}  # when each was last taken
        self._last: dict[str, Used] = {}
        self._number = 0

    def claim(self, identifier: str, now: float) -> bool:
        """Take an identifier; False if it was taken within a day."""
        with self._lock:
            at = self._identifiers.get(identifier)
            if at is not None and now < at + UNIQUE:
                return False
            self._identifiers[identifier] = now
            return True

    def add(self, used: Used) -> None:
        with self._lock:
            self._number += 1
            used.order = self._number
            self._by[used.meter, used.customer].append(used)
            self._last[used.identifier] = used

    def find(self, identifier: str) -> Used | None:
        return self._last.get(identifier)

    def total(self, meter: Obj, customer: str, start: int, end: int, *, now: float) -> Decimal:
        """Return the aggregate of what was used from `start` until before `end`."""
        totals = self.totals(meter, customer, start, end, end - start, now=now)
        return totals.get(start, Decimal(0))

    def totals(self, meter: Obj, customer: str, start: int, end: int, step: int, *, now: float) -> dict[int, Decimal]:
        """Return the aggregate of each `step` seconds from `start` until before `end` that has events."""
        parts: dict[int, list[Used]] = defaultdict(list)
        with self._lock:
            for one in self._by.get((meter["id"], customer), ()):
                if start <= one.timestamp < end and one.counts_at <= now and not one.cancelled:
                    parts[one.timestamp - (one.timestamp - start) % step].append(one)
        return {at: self._aggregate(meter, found) for at, found in parts.items()}

    def _aggregate(self, meter: Obj, found: list[Used]) -> Decimal:
        window = WINDOWS.get(meter["event_time_window"] or "")
        if window:  # sums that the sender made: the latest sent for an hour or a day stands for all of it
            found = list({one.timestamp // window: one for one in found}.values())
        formula = meter["default_aggregation"]["formula"]
        if formula == "count":
            return Decimal(len(found))
        if formula == "last":
            return max(found, key=lambda one: (one.timestamp, one.order)).value
        return sum((one.value for one in found), Decimal(0))

    def dump(self) -> Obj:
        with self._lock:
            found = [asdict(one) | {"value": str(one.value)} for listed in self._by.values() for one in listed]
            return {"used": sorted(found, key=lambda one: one["order"]), "identifiers": dict(self._identifiers)}

    def load(self, kept: Obj) -> None:
        for one in kept["used"]:
            self.add(Used(**{**one, "value": Decimal(one["value"])}))
        self._identifiers = dict(kept["identifiers"])

    def show(self) -> list[Obj]:
        with self._lock:
            found = [one for listed in self._by.values() for one in listed]
        return [
            {
                **{name: getattr(one, name) for name in ("identifier", "meter", "customer", "timestamp", "cancelled")},
                "value": str(one.value),
            }
            for one in sorted(found, key=lambda one: one.order)
        ]
