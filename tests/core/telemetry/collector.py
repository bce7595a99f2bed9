"""A collector for traces, rotel, as a process of its own; what it has taken in it passes on to the test."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.platform import free_port, until


@dataclass(frozen=True)
class Seen:
    """One span, as the collector passed it on."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    facts: dict[str, Any]
    links: tuple[str, ...]  # trace ids
    failed: bool
    began: int  # nanoseconds
    ended: int


@dataclass
class Collector:
    url: str
    spans: list[Seen] = field(default_factory=list)

    def of(self, trace_id: str) -> list[Seen]:
        return [span for span in self.spans if span.trace_id == trace_id]


def seen_in(body: bytes) -> Iterator[Seen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = values(resource.resource.attributes).get("service.name", "")
        for span in (one for scope in resource.scope_spans for one in scope.spans):
            yield Seen(
                service,
                span.name,
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.kind,
                values(span.attributes),
                tuple(link.trace_id.hex() for link in span.links),
                span.status.code == span.status.STATUS_CODE_ERROR,
                span.start_time_unix_nano,
                span.end_time_unix_nano,
            )


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


@contextlib.contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """Run the collector until the block ends."""

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.spans.extend(seen_in(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    found = Collector(f"http://127.0.0.1:{free_port()}")
    spec = importlib.util.find_spec("rotel")
    assert spec is not None
    assert spec.origin is not None
    agent = Path(spec.origin).with_name("rotel-agent")
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as sink, (folder / "rotel.log").open("wb") as log:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        running = subprocess.Popen(
            [
                *(str(agent), "start", "--otlp-http-endpoint", found.url.removeprefix("http://")),
                *("--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}", "--pid-file", str(folder / "rotel.pid")),
                *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", f"http://127.0.0.1:{sink.server_address[1]}"),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: answers(found.url))
            yield found
        finally:
            running.terminate()
            running.wait(30)
            sink.shutdown()


def answers(url: str) -> bool:
    try:
        requests.post(url + "/v1/traces", data=b"", timeout=5)
    except requests.RequestException:
        return False
    return True
