"""The access log: a line for each request, whoever answered it; for a stream one when it opens and one at its end.

Requests are counted here, too.

In it is nothing that a stranger wrote but an address and a request's number, both of a checked form: no path, no query,
no header. A route has a name of ours, and a key its public prefix.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from django.conf import settings

from core import access
from core.api.address import client_address
from core.asgi import App, Receive, Scope, Send
from core.metrics import REQUEST_SECONDS, REQUESTS
from core.telemetry import tracing

logger = logging.getLogger("access")

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# What is not worth a line when it went well: styles and scripts, and what watches the service.
QUIET = ("/static/", "/livez", "/readyz", "/metrics")


def access_log(app: App) -> App:
    """Count every request that `app` is asked, and log it if ACCESS_LOG is on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        began, facts, size, status, streaming = time.perf_counter(), access.begin(), 0, None, False
        note_place()

        def counted(message: Mapping[str, Any]) -> Awaitable[None]:
            nonlocal size, status, streaming
            if message["type"] == "http.response.start":
                status = message["status"]
                streaming = any(name == b"content-type" and b"event-stream" in value for name, value in fields(message))
                if streaming and settings.ACCESS_LOG:
                    write("stream opened")
            else:
                size += len(message.get("body", b""))
            return send(message)  # no coroutine of its own: a thousand streams may be sent something at once

        def write(event: str) -> None:
            method = scope["method"] if scope["method"] in METHODS else "other"
            line = {"method": method, "status": status, "bytes": size, **facts, "client": client_address(scope)}
            logger.info(event, extra={**line, "ms": round((time.perf_counter() - began) * 1000, 1)})

        try:
            await app(scope, receive, counted)
        finally:
            count(scope, facts, status, None if streaming else time.perf_counter() - began)
            if settings.ACCESS_LOG and (streaming or not (status == 200 and scope["path"].startswith(QUIET))):
                write("stream ended" if streaming else "request")

    return layer


def note_place() -> None:
    """Have the access log tell to which trace a request belongs."""
    if (place := tracing.place()) is not None:
        access.note(trace_id=place.trace_id, span_id=place.span_id)


def count(scope: Scope, facts: Mapping[str, Any], status: int | None, seconds: float | None) -> None:
    """Count a request by its route, which has a name of ours; a path that leads nowhere has none."""
    route = facts.get("route") or ("static" if scope["path"].startswith("/static/") else "none")
    method = scope["method"] if scope["method"] in METHODS else "other"
    REQUESTS.labels(route, method, str(status or "none")).inc()
    if seconds is not None:
        REQUEST_SECONDS.labels(route).observe(seconds)


def fields(message: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in message.get("headers", ())]
