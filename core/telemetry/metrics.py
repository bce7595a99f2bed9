"""Naming what is measured: what a process counts, and figures that are read when somebody looks.

Each app names its own in its `metrics.py`. Names are Prometheus's way: base units, `_total` for what only grows. No
label holds what a stranger chooses, nor names of accounts, keys or addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.module_loading import autodiscover_modules
from prometheus_client import Counter, Gauge, Histogram, values

from core.telemetry.books import Value

values.ValueClass = Value  # before any metric is made

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # seconds: what a caller waits for
SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)  # seconds: what runs on others' machines


@dataclass(frozen=True)
class Declared:
    """What is told of one metric. `known`: values of its labels that are shown as 0 before anything happened."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    known: tuple[tuple[str, ...], ...] = ()
    read: bool = False  # at each look, by one of METRICS
    buckets: tuple[float, ...] = ()  # of a histogram, without the infinite one


@dataclass(frozen=True)
class Sample:
    """One figure as it is now."""

    of: Declared
    labels: tuple[str, ...]
    value: float


class Figure:
    """A gauge that nobody keeps: its values are read from the database by one of METRICS."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared

    def is_(self, value: float, *labels: str) -> Sample:
        return Sample(self.declared, labels, value)


_declared: dict[str, Declared] = {}


def counter(name: str, help: str, *labels: str, known: tuple[tuple[str, ...], ...] = ()) -> Counter:
    """Count what happens; an alarm on the first of its kind needs its labels to be `known` before."""
    declare(name, "counter", help, labels, known if labels else ((),))
    return Counter(name, help, labels, registry=None)


def histogram(name: str, help: str, *labels: str, buckets: tuple[float, ...] = FAST) -> Histogram:
    declare(name, "histogram", help, labels, buckets=buckets)
    return Histogram(name, help, labels, registry=None, buckets=buckets)


def gauge(name: str, help: str, *labels: str, known: tuple[tuple[str, ...], ...] = ()) -> Gauge:
    """Say how much there is now: in all living processes together."""
    declare(name, "gauge", help, labels, known if labels else ((),))
    return Gauge(name, help, labels, registry=None, multiprocess_mode="livesum")


def figure(name: str, help: str, *labels: str) -> Figure:
    return Figure(declare(name, "gauge", help, labels, read=True))


def declare(
    name: str,
    kind: str,
    help: str,
    labels: tuple[str, ...],
    known: tuple[tuple[str, ...], ...] = (),
    *,
    read: bool = False,
    buckets: tuple[float, ...] = (),
) -> Declared:
    assert name not in _declared, f"{name} is there already"
    _declared[name] = made = Declared(name, kind, help, labels, known, read, buckets)
    return made


def declared() -> dict[str, Declared]:
    """Return all there are, by name."""
    autodiscover_modules("metrics")
    return dict(_declared)
