"""What is answered before any middleware or view sees a request: as it would be there, with a number and headers."""

from __future__ import annotations

import logging
from typing import Any

from core.api.headers import API_HEADERS, number_request
from core.api.problems import problem
from core.asgi import Scope, Send

logger = logging.getLogger(__name__)


async def refuse(scope: Scope, send: Send, status: int, code: str, detail: str, **extra: Any) -> None:
    """Number, log and answer a request with a problem, and have the server close its connection."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    number = number_request(given.decode("latin-1"))  # before the problem, which holds the number
    logger.info("request refused", extra={"code": code, "method": scope["method"], "path": scope["path"][:200]})
    headers = {**API_HEADERS, "X-Request-Id": number, "Connection": "close"}
    answer = problem(status, code, detail, headers=headers, **extra)
    answer.headers["Content-Length"] = str(len(answer.content))
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.content})
