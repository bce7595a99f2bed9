"""The access log: a line for each request, whoever answered it; for a stream one when it opens and one at its end.

In it is nothing that a stranger wrote but an address and a request's number, both of a checked form: no path, no query,
no header. A route has a name of ours, and a key its public prefix.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from core import access
from core.api.address import client_address
from core.asgi import App, Receive, Scope, Send

logger = logging.getLogger("access")

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
STATIC = "/static/"  # styles and scripts that were sent are not worth a line


def access_log(app: App) -> App:
    """Log every request that `app` is asked, if ACCESS_LOG is on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        began, facts, size, status, streaming = time.perf_counter(), access.begin(), 0, None, False

        async def counted(message: Mapping[str, Any]) -> None:
            nonlocal size, status, streaming
            if message["type"] == "http.response.start":
                status = message["status"]
                streaming = any(name == b"content-type" and b"event-stream" in value for name, value in fields(message))
                if streaming:
                    write("stream opened")
            else:
                size += len(message.get("body", b""))
            await send(message)

        def write(event: str) -> None:
            method = scope["method"] if scope["method"] in METHODS else "other"
            line = {"method": method, "status": status, "bytes": size, **facts, "client": client_address(scope)}
            logger.info(event, extra={**line, "ms": round((time.perf_counter() - began) * 1000, 1)})

        try:
            await app(scope, receive, counted)
        finally:
            if streaming or not (status == 200 and scope["path"].startswith(STATIC)):
                write("stream ended" if streaming else "request")

    return layer if settings.ACCESS_LOG else app


def fields(message: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in message.get("headers", ())]
