"""What is answered before any middleware or view sees a request: as it would be there, with a number and headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpResponse

from core import access
from core.api.headers import API_HEADERS, number_request
from core.api.problems import of_error, problem, request_id
from core.asgi import Receive, Scope, Send
from core.errors import SpellError
from core.limits import MIB

DROP_BYTES, DROP_SECONDS = 8 * MIB, 2.0


Page = Callable[[int, str], HttpResponse]  # of a status and what people are told


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    detail: str,
    *,
    page: Page | None = None,
    unread: Receive | None = None,
    **extra: Any,
) -> None:
    """Number and answer a request with a problem, and have the server close its connection.

    `page`: what people are shown, outside of the API. `unread`: what the body comes from, if the client may still be
    sending it.
    """
    number_refused(scope, code)
    shown = None if scope["path"].startswith("/api/") else page
    told = problem(status, code, detail, **extra) if shown is None else shown(status, detail)
    await answer(scope, send, told, unread=unread, close=True)


async def refuse_with(
    scope: Scope,
    receive: Receive,
    send: Send,
    error: SpellError,
    headers: Mapping[str, str],
    shown: Callable[[SpellError], HttpResponse] = of_error,
) -> None:
    """Number and answer a request with an error, as it is `shown`, and headers, without reading its body."""
    number_refused(scope, error.code)
    told = shown(error)
    for name, value in headers.items():
        told.headers[name] = value
    unread = has_body(scope)
    await answer(scope, send, told, unread=receive if unread else None, close=unread)


def has_body(scope: Scope) -> bool:
    given = dict(scope["headers"])
    return given.get(b"content-length", b"0").strip() != b"0" or b"transfer-encoding" in given


def number_refused(scope: Scope, code: str) -> None:
    """Number a request, and note why it is refused; to be called before its problem is made, which holds the number."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    number_request(given.decode("latin-1"))
    access.note(refused=code)


async def answer(scope: Scope, send: Send, told: HttpResponse, *, unread: Receive | None, close: bool) -> None:
    headers = {**API_HEADERS, "X-Request-Id": request_id.get(), "Content-Length": str(len(told.content))}
    for name, value in (headers | ({"Connection": "close"} if close else {})).items():
        told.headers.setdefault(name, value)
    raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": told.status_code, "headers": raw})
    body = b"" if scope["method"] == "HEAD" else told.content
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
