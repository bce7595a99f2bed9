"""The text of /metrics: what the processes of this machine have counted, and figures from the database."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from core.db.timeouts import bound_this_thread
from core.telemetry import books
from core.telemetry.kept import Kept
from core.telemetry.metrics import Declared, Sample, declared, figure

logger = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATEMENT_SECONDS = 2.0  # for each statement of a figure
FIGURES_SECONDS = 5.0  # for all of them together; Prometheus waits 10
FIGURES_KEPT, PAGE_KEPT = 5.0, 1.0

UP = figure("spell_collector_up", "Whether figures could be read: 1, or 0.", "collector")
TOOK = figure("spell_collector_seconds", "How long it took to read figures.", "collector")
BUILD = figure("spell_build_info", "1, for the release that answers.", "version", "python")

Figures = Callable[[], Iterable[Sample]]


def read_figures() -> list[Sample]:
    """Read the figures that METRICS names, each by itself: one that fails takes no other along."""
    found, until = [], time.monotonic() + FIGURES_SECONDS
    for path in settings.METRICS:
        name, began = name_of(path), time.monotonic()
        try:
            if began > until:
                raise TimeoutError("the figures before it took all the time there is")
            bound_this_thread(STATEMENT_SECONDS)
            read: Figures = import_string(path)
            samples = list(read())
        except Exception:  # whatever it is, the page must be answered
            logger.warning("figures not read", extra={"collector": name}, exc_info=True)
            connections.close_all()
            found.append(UP.is_(0, name))
        else:
            found += [*samples, UP.is_(1, name), TOOK.is_(time.monotonic() - began, name)]
    return found


def unread() -> list[Sample]:
    """Return what is told while the database does not answer at all."""
    return [UP.is_(0, name_of(path)) for path in settings.METRICS]


def name_of(path: str) -> str:
    """Return what a collector is called: app.function."""
    return path.replace(".metrics.", ".")


class Everything(Collector):
    """All families of the page, in the order of their names."""

    def __init__(self, counted: Iterable[Metric], figures: Iterable[Sample]) -> None:
        self.counted, self.figures = counted, figures

    def collect(self) -> Iterator[Metric]:
        counted = {metric.name: metric for metric in self.counted}
        of: dict[str, list[Sample]] = defaultdict(list)
        for sample in self.figures:
            of[sample.of.name].append(sample)
        for name, told in sorted(declared().items()):
            family = Metric(name.removesuffix("_total") if told.kind == "counter" else name, told.help, told.kind)
            if (here := counted.get(family.name)) is not None:
                family.samples += here.samples
            for sample in of[name]:
                family.add_sample(name, dict(zip(told.labels, sample.labels, strict=True)), sample.value)
            add_zeros(family, told)
            add_buckets(family, told)
            if family.samples:
                yield family


def add_zeros(family: Metric, told: Declared) -> None:
    """Show as 0 what has not happened yet, so that its first time is seen as a change."""
    there = {tuple(sample.labels.get(label, "") for label in told.labels) for sample in family.samples}
    for values in told.known:
        if values not in there:
            family.add_sample(told.name, dict(zip(told.labels, values, strict=True)), 0.0)


def add_buckets(family: Metric, told: Declared) -> None:
    """Give each histogram all of its buckets: processes write only those that something has fallen into."""
    seen: dict[tuple[tuple[str, str], ...], dict[str, float]] = defaultdict(dict)
    for sample in family.samples:
        if sample.name == f"{told.name}_bucket":
            labels = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
            seen[labels][sample.labels["le"]] = sample.value
    for labels, counts in seen.items():
        below = 0.0
        for bound in sorted({*map(float, counts), *told.buckets, math.inf}):
            le = floatToGoString(bound)
            if le not in counts:
                family.add_sample(f"{told.name}_bucket", {**dict(labels), "le": le}, below)
            below = counts.get(le, below)


def render() -> bytes:
    """Return the page with the figures that are known now."""
    counted = books.numbers() if books.folder().is_dir() else []
    figures = FIGURES.last()
    build = BUILD.is_(1, settings.VERSION, platform.python_version())
    return generate_latest(Everything(counted, [*(unread() if figures is None else figures), build]))


FIGURES: Kept[list[Sample]] = Kept(read_figures, seconds=FIGURES_KEPT, patience=FIGURES_SECONDS + STATEMENT_SECONDS)
# Made once for all who ask within a second: it takes some milliseconds, which a thousand at once would wait for.
PAGE: Kept[bytes] = Kept(render, seconds=PAGE_KEPT, patience=FIGURES_SECONDS)


async def text() -> bytes:
    """Return the page. Raise OSError or TimeoutError if what was counted can't be read."""
    with suppress(TimeoutError):  # then the page says that there are none
        await FIGURES.get()
    return await PAGE.get()
