"""Traces: where in one the work at hand is, and the spans that tell what was done.

A place in a trace is kept and handed on whether or not traces are exported, so that callbacks, workflows and log lines
carry their caller's. Spans are made only where OTEL_EXPORTER_OTLP_ENDPOINT is set (core.telemetry.exporting); nothing
of OpenTelemetry is imported otherwise. A trace begins with a request: what is done for nobody's request makes no span.

No attribute holds an input, a secret or an account's name. The names of spans and attributes are listed in
docs/reference/traces.md; a test keeps that page complete.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, Protocol, TypeVar

from django.conf import settings

P = ParamSpec("P")
T = TypeVar("T")
Facts = Mapping[str, str | int | bool]
Kind = Literal["internal", "server", "client"]

# W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header: version ff is none, ids are not all zero,
# and later versions may have more after the flags.
TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
TRACEPARENT_CHARS = 55
MOST_CHARS = 512  # of a header of a later version
KNOWN_FLAGS = 0b11  # sampled, and random trace id


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a trace something is done: within one span of it."""

    trace_id: str
    span_id: str
    flags: int
    span: Any = None  # OpenTelemetry's, if it is ours

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


class Spans(Protocol):
    """What makes spans, if traces are exported."""

    def span(
        self, name: str, facts: Facts, kind: Kind, parent: Place | None, beside: Place | None
    ) -> AbstractContextManager[Place]:
        """Return a span, which begins when it is entered; `beside` is a place in another trace that led to it."""

    def over(self, name: str, facts: Facts, parent: Place, began: dt.datetime, ended: dt.datetime) -> None:
        """Make a span of something that is over."""


spans: Spans | None = None  # set by core.telemetry.exporting
_place: ContextVar[Place | None] = ContextVar("trace_place", default=None)


def read(traceparent: str) -> Place | None:
    """Return the place that a `traceparent` header names, None if it is none."""
    found = TRACEPARENT.fullmatch(traceparent) if len(traceparent) <= MOST_CHARS else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return Place(found[2], found[3], int(found[4], 16) & KNOWN_FLAGS)


def place() -> Place | None:
    """Return where the work at hand is, None if it belongs to no trace."""
    return _place.get()


def carried() -> str | None:
    """Return the `traceparent` to hand on."""
    found = _place.get()
    return None if found is None else str(found)


@contextmanager
def joined(traceparent: str | None) -> Iterator[None]:
    """Have what is done within belong to a trace, or to none."""
    token = _place.set(read(traceparent) if traceparent else None)
    try:
        yield
    finally:
        _place.reset(token)


@contextmanager
def at(place: Place) -> Iterator[Place]:
    token = _place.set(place)
    try:
        yield place
    finally:
        _place.reset(token)


def span(
    name: str, facts: Facts | None = None, *, kind: Kind = "internal", under: str | None = None
) -> AbstractContextManager[Any]:
    """Have what is done within be a span, which has failed if it raises.

    `under`: the `traceparent` of the trace that it belongs to, where the work at hand may be in another, or in none.
    """
    here = _place.get()
    if spans is None:
        return nullcontext() if under is None or here is not None else joined(under)
    parent = (read(under) if under else None) or here
    if parent is None:
        return nullcontext()
    if here is None or here.trace_id == parent.trace_id:
        return spans.span(name, facts or {}, kind, here or parent, None)
    return spans.span(name, facts or {}, kind, parent, here)


def spanned(
    name: str, facts: Callable[..., Facts] | None = None, *, kind: Kind = "internal"
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have each call of a function be a span, with what `facts` says of its arguments."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def within(*args: P.args, **kwargs: P.kwargs) -> T:
            if spans is None or _place.get() is None:
                return function(*args, **kwargs)
            with span(name, facts(*args, **kwargs) if facts else None, kind=kind):
                return function(*args, **kwargs)

        return within

    return decorated


def over(name: str, facts: Facts, *, under: str | None, began: dt.datetime, ended: dt.datetime) -> None:
    """Make a span of something that has happened elsewhere."""
    if spans is not None and under and (parent := read(under)) is not None:
        spans.over(name, facts, parent, began, ended)


def describe(facts: Facts, *, name: str = "") -> None:
    """Add facts to the span at work, and give it another name."""
    here = _place.get()
    if here is None or here.span is None:
        return
    if name:
        here.span.update_name(name)
    here.span.set_attributes(facts)


def request(method: str) -> AbstractContextManager[Any]:
    """Have what is done within be a request's: a trace begins here, or its caller's goes on."""
    if spans is None:
        return nullcontext()
    return spans.span(method, {"http.request.method": method}, "server", _place.get(), None)


def start(process: str) -> None:
    """Export this process's spans, if the settings name where to; `process`: web or worker."""
    if settings.TRACES:
        from core.telemetry import exporting

        exporting.start(process)
