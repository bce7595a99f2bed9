"""Traces: which headers name one, what is kept and handed on with and without export, and what spans hold."""

from __future__ import annotations

import ast
import asyncio
import datetime as dt
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from unittest import mock

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from casts.callbacks import delivery
from casts.lifecycle import ending
from casts.models import Cast
from core import safe_http
from core.asgi.traces import in_traces
from core.safe_http import Answer
from core.telemetry import exporting, tracing
from spellplatform import checks
from spellplatform.logging import add_place
from tests.casts.client import Api
from tests.casts.receivers import receiver
from tests.e2e.platform import ROOT, environment_for, until
from tests.spellplatform.test_docs_reference import SOURCES, page

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans(monkeypatch) -> InMemorySpanExporter:
    """Have spans be made, by the real SDK, and kept."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(tracing, "spans", exporting.Exported(provider))
    return kept


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (SAMPLED, SAMPLED),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),  # flags that nobody knows yet are not handed on
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (SAMPLED.upper(), None),
        (SAMPLED[:-1], None),
        (SAMPLED + "\n", None),
        ("cc-" + SAMPLED[3:] + "-" + "x" * 10_000, None),
        ("\x00'; DROP TABLE casts_cast", None),
        ("", None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(header, kept):
    place = tracing.read(header)
    assert (str(place) if place else None) == kept


@pytest.mark.parametrize("given", [[SAMPLED], ["nonsense"], [SAMPLED, SAMPLED], []])
def test_a_request_is_in_the_trace_that_its_only_header_names(given):
    seen = []

    async def app(scope, receive, send):
        seen.append(tracing.carried())

    headers = [(b"host", b"x"), *((b"traceparent", one.encode()) for one in given)]
    asyncio.run(in_traces(app)({"headers": headers}, mock.ANY, mock.ANY))
    assert seen == [SAMPLED if given == [SAMPLED] else None]
    assert tracing.carried() is None


@pytest.mark.django_db
def test_without_export_a_cast_keeps_its_callers_trace_and_tells_its_receiver(secret, spell, monkeypatch):
    with tracing.joined(SAMPLED):
        answer = Api(secret).post("/cast", {"spell_key": spell.key, "input": {"name": "Ada"}}, traceparent=SAMPLED)
    assert answer.status_code == 201
    assert Cast.objects.get().traceparent == SAMPLED
    sent = {}
    monkeypatch.setattr(
        safe_http, "post", lambda url, body, headers, seconds: sent.update(headers) or Answer(204, "", b"")
    )
    with tracing.joined(SAMPLED):
        delivery.post("http://x", ["whsec_" + "a" * 32], "msg_1", b"{}")
    assert sent.pop("traceparent") == SAMPLED
    sent.clear()
    delivery.post("http://x", ["whsec_" + "a" * 32], "msg_1", b"{}")
    assert "traceparent" not in sent


def test_lines_carry_where_they_belong():
    assert add_place(None, "info", {"event": "x"}) == {"event": "x"}
    with tracing.joined(SAMPLED):
        line = add_place(None, "info", {"event": "x"})
    assert line == {"event": "x", "trace_id": TRACE, "span_id": SPAN}


def test_a_span_holds_that_it_failed_and_not_why(spans):
    with (
        pytest.raises(ValueError, match="secret"),
        tracing.joined(SAMPLED),
        tracing.span("cast look", {"spell.key": "k"}),
    ):
        raise ValueError("the secret input")
    [made] = spans.get_finished_spans()
    assert made.attributes == {"spell.key": "k", "error.type": "ValueError"}
    assert (made.events, made.status.is_ok, made.status.description) == ((), False, None)
    assert f"{made.parent.span_id:016x}" == SPAN


def test_a_trace_begins_with_a_request_and_never_in_between(spans):
    with tracing.span("cast look"):
        assert tracing.carried() is None
    assert tracing.spanned("cast look")(lambda: 5)() == 5
    tracing.over("cast end", {}, under=None, began=dt.datetime.now(dt.UTC), ended=dt.datetime.now(dt.UTC))
    assert spans.get_finished_spans() == ()
    with tracing.request("GET"):
        assert tracing.carried() is not None
    assert [made.name for made in spans.get_finished_spans()] == ["GET"]


def test_what_another_trace_led_to_belongs_to_its_own_and_is_linked(spans):
    with tracing.request("POST"), tracing.span("cast fold", under=SAMPLED):
        inner = tracing.carried() or ""
    fold, delivery = spans.get_finished_spans()
    assert f"{fold.context.trace_id:032x}" == TRACE == inner.split("-")[1]
    assert [link.context.trace_id for link in fold.links] == [delivery.context.trace_id]


def test_a_caller_who_does_not_sample_is_neither_exported_nor_lost(spans):
    with tracing.joined(f"00-{TRACE}-{SPAN}-00"), tracing.request("POST"):
        carried = tracing.carried()
    assert carried is not None
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", carried)
    assert spans.get_finished_spans() == ()


@pytest.mark.django_db
def test_the_spans_of_an_accepted_and_cancelled_cast_say_what_became_of_it(
    spans, secret, spell, django_capture_on_commit_callbacks
):
    with tracing.joined(SAMPLED):
        answer = Api(secret).post("/cast", {"spell_key": spell.key, "input": {"name": "Ada"}}, traceparent=SAMPLED)
    assert answer.status_code == 201
    cast = Cast.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        ending.cancel(cast.pk)
    accept, end = spans.get_finished_spans()
    about = {"spell.cast.id": str(cast.pk)}
    assert accept.attributes == about | {"spell.key": spell.key, "spell.runtime": spell.runtime}
    ended = {"spell.cast.status": "cancelled", "spell.cast.status_reason": "cancelled_by_caller"}
    assert (end.name, end.attributes) == ("cast end", about | ended)
    assert f"{end.parent.span_id:016x}" == f"{accept.context.span_id:016x}" == (cast.traceparent or "").split("-")[2]


def test_whoever_is_served_waits_for_no_collector(monkeypatch, settings):
    """A collector that takes requests and answers none: spans are made, dropped, and the process ends."""
    with receiver() as deaf:
        deaf.hang = threading.Event()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.port}")
        for name, value in {"SCHEDULE_DELAY": "1", "MAX_QUEUE_SIZE": "4", "MAX_EXPORT_BATCH_SIZE": "4"}.items():
            monkeypatch.setenv(f"OTEL_BSP_{name}", value)
        monkeypatch.setattr(exporting, "FLUSH_SECONDS", 0.01)
        monkeypatch.setattr("atexit.register", lambda stop: None)
        logging.getLogger("opentelemetry").disabled = True
        settings.TRACES = True
        try:
            tracing.start("web")
            for _ in range(50):
                with tracing.request("GET"):
                    pass
            until(lambda: deaf.got)
            exporting.stop()
        finally:
            tracing.spans = None
            deaf.hang.set()
            for thread in threading.enumerate():
                if thread.name == "last spans":  # or it would call the collector during other tests
                    thread.join(30)
            logging.getLogger("opentelemetry").disabled = False


@pytest.mark.processes
@pytest.mark.once
def test_nothing_of_opentelemetry_is_imported_unless_an_endpoint_is_named(tmp_path):
    code = "import sys, spellplatform.asgi; print([m for m in sys.modules if 'opentelemetry' in m or 'exporting' in m])"
    environment = environment_for(tmp_path, f"sqlite:///{tmp_path}/x.sqlite3")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"TRACES": True, "TRACES_URL": "http://127.0.0.1:4318"}, []),
        ({"TRACES": True, "TRACES_URL": "127.0.0.1:4318"}, ["spell.E072"]),
        ({"TRACES": True, "TRACES_URL": "http://c:4317", "TRACES_PROTOCOL": "grpc"}, ["spell.E071"]),
    ],
)
def test_settings_that_could_not_export_are_refused(changes, found, settings):
    for name, value in changes.items():
        setattr(settings, name, value)
    assert [one.id for one in checks.traces(None)] == found


# --- the reference ---------------------------------------------------------------------------------------------------


def named() -> Iterator[tuple[str, str]]:
    """Yield ("span" or "attribute", name) for all that the code says."""
    for file in SOURCES:
        if "tracing" not in (text := file.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called, first = getattr(node.func, "attr", getattr(node.func, "id", "")), node.args[0].value
                if called in ("span", "spanned", "over") and isinstance(first, str):
                    yield "span", first
                elif called == "set_attribute":
                    yield "attribute", str(first)
            elif isinstance(node, ast.Dict):
                keys = [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
                yield from (("attribute", key) for key in keys if re.match(r"(spell|http|error)\.", key))


def test_the_reference_lists_every_span_and_every_attribute():
    text = page("reference/traces.md")
    listed = {
        (kind, name)
        for kind in ("span", "attribute")
        for name in re.findall(r"^\| `([^`]+)`", text.split(f"## The {kind}s")[1].split("\n## ")[0], re.MULTILINE)
    }
    assert listed - {("span", "METHOD /route")} == set(named())
