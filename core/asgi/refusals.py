"""What is answered before any middleware or view sees a request: as it would be there, with a number and headers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from core.api.headers import API_HEADERS, number_request
from core.api.problems import problem
from core.asgi import Receive, Scope, Send
from core.limits import MIB

logger = logging.getLogger(__name__)

DROP_BYTES, DROP_SECONDS = 8 * MIB, 2.0


async def refuse(
    scope: Scope, send: Send, status: int, code: str, detail: str, *, unread: Receive | None = None, **extra: Any
) -> None:
    """Number, log and answer a request with a problem, and have the server close its connection.

    `unread`: what the body comes from, if the client may still be sending it.
    """
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    number = number_request(given.decode("latin-1"))  # before the problem, which holds the number
    logger.info("request refused", extra={"code": code, "method": scope["method"], "path": scope["path"][:200]})
    headers = {**API_HEADERS, "X-Request-Id": number, "Connection": "close"}
    answer = problem(status, code, detail, headers=headers, **extra)
    answer.headers["Content-Length"] = str(len(answer.content))
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    body = b"" if scope["method"] == "HEAD" else answer.content
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await drop(unread)
        body = b""
    await send({"type": "http.response.body", "body": body})


async def drop(receive: Receive) -> None:
    """Read some more of a body and forget it.

    A connection that is closed while its client sends is reset, and most clients then lose the answer, too.
    """
    dropped = 0
    try:
        async with asyncio.timeout(DROP_SECONDS):
            while dropped < DROP_BYTES and (message := await receive()).get("more_body"):
                dropped += len(message["body"])
    except TimeoutError:
        pass
