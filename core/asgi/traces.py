"""To which trace a request belongs, and the span of its being served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from core.asgi import App, Receive, Scope, Send
from core.asgi.access_log import METHODS, QUIET, note_place
from core.telemetry import tracing


def in_traces(app: App) -> App:
    """Have a request belong to the trace that its `traceparent` names; one that can't be read is as good as none."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        given = [value for name, value in scope["headers"] if name == b"traceparent"]
        if len(given) != 1:
            await app(scope, receive, send)
            return
        with tracing.joined(given[0].decode("latin-1").strip()):
            await app(scope, receive, send)

    return layer


def traced(app: App) -> App:
    """Have each request that `app` is asked be a span, if traces are exported; `name_span` names it by its route."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(QUIET):
            await app(scope, receive, send)
            return

        async def seen(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                tracing.describe({"http.response.status_code": message["status"]})
            await send(message)

        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        with tracing.request(method):
            note_place()
            await app(scope, receive, seen)

    return layer if settings.TRACES else app


def name_span(method: str, route: str) -> None:
    """Name the span of the request at work by its route, which is none of a stranger's words."""
    tracing.describe({"http.route": route}, name=f"{method} {route}")
