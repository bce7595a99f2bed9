"""One cast as one trace: web and worker, a real collector, and a receiver that is told where in the trace it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.casts.receivers import receiver
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import platform, until

pytest.importorskip("rotel", reason="no collector is packaged for this Python")

from tests.core.telemetry.collector import collector

pytestmark = [pytest.mark.once, pytest.mark.processes]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_a_cast_is_one_trace_from_the_request_to_the_callback(tmp_path: Path) -> None:
    with collector(tmp_path) as told, receiver() as inbox:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": told.url,
            "OTEL_BSP_SCHEDULE_DELAY": "600000",  # so that what arrives was sent at the end of the processes
            "LOG_FORMAT": "json",
            "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
        }
        with platform(tmp_path, spells=SPELLS, **settings) as here:
            here.manage("doctor", "--spell", "greet")  # which reads that its workflow declares a traceparent
            order = {"spell_key": "greet", "input": {"name": "Zoe-is-secret", "times": 1}, "callback_url": inbox.url}
            answer = here.call("POST", "/api/v1/cast", json=order, headers={"traceparent": CALLER})
            cast_id = answer.json()["cast_id"]
            assert here.ended(cast_id)["status"] == "succeeded"
            until(lambda: inbox.got)
            here.stop("web", "worker")
            until(lambda: {"cast accept", "cast end"} <= {span.name for span in told.of(TRACE)})
            [stored] = here.rows("SELECT traceparent FROM casts_cast")
            [handed] = [one["traceparent"] for one in here.record()["dispatches"]]
            logs = here.log("web") + here.log("worker")

    spans = told.of(TRACE)
    by_id = {span.span_id: span for span in spans}
    names = {span.name for span in spans}
    assert names >= {
        *("POST /api/v1/cast", "cast accept", "cast dispatch", "github request", "cast fold", "cast collect"),
        *("artifact copy", "cast run", "cast end", "callback send"),
    }
    # Connected: each is below another of the trace, and the request below what its caller named.
    assert {span.name for span in spans if span.parent_id not in by_id} == {"POST /api/v1/cast"}
    [served] = [span for span in spans if span.name == "POST /api/v1/cast"]
    assert served.parent_id == "00f067aa0ba902b7"
    assert {span.service for span in spans} == {"spell-web", "spell-worker"}
    assert [span.name for span in spans if span.failed] == []
    # What the workflow and the receiver are handed.
    [accept] = [span for span in spans if span.name == "cast accept"]
    assert stored["traceparent"] == handed == f"00-{TRACE}-{accept.span_id}-01"
    [sent] = [span for span in spans if span.name == "callback send"]
    assert inbox.got[0].headers["traceparent"] == f"00-{TRACE}-{sent.span_id}-01"
    # A delivery's own trace leads to the cast's.
    folds = [span for span in spans if span.name == "cast fold" and span.service == "spell-web"]
    received = {span.trace_id for span in told.spans if span.name == "POST /api/webhooks/github"}
    assert folds
    assert {link for span in folds for link in span.links} <= received

    facts = json.dumps([[span.name, span.facts] for span in told.spans])
    assert not [secret for secret in ("Zoe-is-secret", here.key, "hook?of", "Bearer", "tests") if secret in facts]
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    of_trace = {line["event"]: line for line in lines if line.get("trace_id") == TRACE}
    assert of_trace.keys() >= {"request", "cast ended", "callback tried"}
    assert {line["cast_id"] for line in of_trace.values()} == {cast_id}
    assert of_trace["request"]["request_id"] == answer.headers["X-Request-Id"]
    assert [line for line in lines if line.get("route") == "github-webhook" and "guid" not in line] == []
