"""A small HTTP server in a thread, for processes that serve nothing else: /metrics, /livez and /readyz of a worker.

It serves what a web process does, by the same functions; nothing but GET without a body gets through. Each connection
has one request and a few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from core import access
from core.asgi import Scope
from core.asgi.health import watched
from core.asgi.refusals import refuse

logger = logging.getLogger(__name__)

HEAD_BYTES = 16_384
SECONDS = 20.0  # from the connection to the end of the answer; a page of metrics may take some
MOST = 100  # connections at a time


def start(host: str, port: int) -> threading.Thread:
    """Serve from now on. Raise OSError if the address can't be had."""
    loop = asyncio.new_event_loop()
    open_now = asyncio.Semaphore(MOST)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not open_now.locked():
                async with open_now, asyncio.timeout(SECONDS):
                    await serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # whoever is too slow, or speaks no HTTP
        finally:
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # it does not read
            else:
                writer.close()

    server = loop.run_until_complete(asyncio.start_server(connected, host, port, limit=HEAD_BYTES))
    logger.info("worker answers", extra={"bind": [list(one.getsockname()[:2]) for one in server.sockets]})
    thread = threading.Thread(target=loop.run_forever, name="worker-bind", daemon=True)
    thread.start()
    return thread


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    scope = scope_of(await reader.readuntil(b"\r\n\r\n"), writer.get_extra_info("peername"))

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}  # no body is read

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
            head += [name + b": " + value for name, value in message["headers"] if name.lower() != b"connection"]
            writer.write(b"\r\n".join([*head, b"Connection: close", b"", b""]))
        else:
            writer.write(message.get("body", b""))
            await writer.drain()

    access.begin()
    await watched(nothing_else)(scope, receive, send)


def scope_of(head: bytes, peer: tuple[str, int]) -> Scope:
    """Return what an ASGI server makes of a request's head. Raise ValueError."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    named = [line.partition(":")[::2] for line in lines]
    headers = [(name.strip().lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in named]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": headers,
        "client": peer[:2],
    }


async def nothing_else(scope: Scope, receive: Any, send: Any) -> None:
    await refuse(scope, send, 404, "NOT_FOUND", "A worker answers /metrics, /livez and /readyz.")
