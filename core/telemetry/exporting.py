"""Exporting traces by OTLP: OpenTelemetry's SDK, set up by its own variables. The extra `otel` installs it.

Spans wait in a bounded queue, and a thread sends them: whoever is served waits for no collector. What does not fit in
the queue, or could not be sent in OTEL_EXPORTER_OTLP_TIMEOUT seconds, is dropped.
"""

from __future__ import annotations

import atexit
import datetime as dt
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from core.telemetry import tracing
from core.telemetry.tracing import Facts, Kind, Place

FLUSH_SECONDS = 3.0  # at a process's end, for what is still in the queue
KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class Exported:
    """Makes spans that are exported; see tracing.Spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self.tracer = provider.get_tracer("spell-platform")

    @contextmanager
    def span(self, name: str, facts: Facts, kind: Kind, parent: Place | None, beside: Place | None) -> Iterator[Place]:
        links = None if beside is None else [Link(context_of(beside))]
        made = self.tracer.start_span(
            name, context=below(parent), kind=KINDS[kind], attributes=dict(facts), links=links
        )
        try:
            with tracing.at(place_of(made)) as here:
                yield here
        except Exception as exc:
            # Neither its text nor its trace: there may be anything in them.
            made.set_attribute("error.type", type(exc).__name__)
            made.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            made.end()

    def over(self, name: str, facts: Facts, parent: Place, began: dt.datetime, ended: dt.datetime) -> None:
        made = self.tracer.start_span(
            name, context=below(parent), attributes=dict(facts), start_time=nanoseconds(began)
        )
        made.end(nanoseconds(max(began, ended)))


def context_of(place: Place) -> SpanContext:
    return SpanContext(int(place.trace_id, 16), int(place.span_id, 16), True, TraceFlags(place.flags))


def below(parent: Place | None) -> Context:
    """Return the context of what is done within `parent`, or of a trace's begin."""
    if parent is None:
        return Context()
    return trace.set_span_in_context(parent.span or NonRecordingSpan(context_of(parent)), Context())


def place_of(made: Span) -> Place:
    found = made.get_span_context()
    return Place(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags & tracing.KNOWN_FLAGS, made)


def nanoseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def start(process: str) -> None:
    """Export this process's spans from now on."""
    if settings.TRACES_HEADERS:
        os.environ[OTEL_EXPORTER_OTLP_HEADERS] = settings.TRACES_HEADERS  # they may have come from a file
    about = {"service.version": settings.VERSION, "service.instance.id": f"{os.uname().nodename}-{os.getpid()}"}
    if not os.environ.get(OTEL_SERVICE_NAME) and "service.name=" not in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, ""):
        about["service.name"] = f"spell-{process}"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracing.spans = Exported(provider)
    atexit.register(stop)


def stop() -> None:
    """Send what waits, for a few seconds at most: a collector that is away holds up no restart."""
    made, tracing.spans = tracing.spans, None
    if isinstance(made, Exported):
        sending = threading.Thread(target=made.provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)
