"""Two clients: Django's test client with an API key, and the ASGI application as a server calls it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from django.db import connection
from django.test import Client

from casts.live import hub
from core.api import catalog
from tests import described

# One for all: each would read the static files' names anew. It keeps no cookies, as the API sets none.
CLIENT = Client(raise_request_exception=False)
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "request_id"}


class Api:
    """Calls /api/v1 with a key; what fails inside is answered as it would be outside."""

    def __init__(self, secret: str | None) -> None:
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request; a `body` that is no text or bytes goes as JSON."""
        data = body if isinstance(body, str | bytes) else b"" if body is None else json.dumps(body)
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        kind, path = sent.pop("Content-Type", "application/json"), f"/api/v1{path}"
        if connection.vendor == "postgresql" and not (method == "GET" and path.partition("?")[0].endswith("/events")):
            # As the server calls us; on SQLite as Django's tests do, whose handler has other middleware.
            from tests.casts import asgi

            raw = data.encode() if isinstance(data, str) else data
            return asgi.ask(method, path, raw, {**sent, "Content-Type": kind if raw else None})
        return CLIENT.generic(method, path, data, content_type=kind, headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this problem, whole and in RFC 9457's shape; return it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body.keys() >= PROBLEM_KEYS
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == catalog.BY_CODE[code].url
    assert body["title"]
    assert len(body["detail"]) > 10
    assert body["request_id"] == response["X-Request-Id"]
    return body


class Ended(AssertionError):
    """A stream has no more events."""


class Answer:
    """One request to the ASGI application, under way."""

    def __init__(self, method: str = "GET", path: str = "") -> None:
        self.method, self.path = method, path
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.started = asyncio.Event()
        self.gone = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().title(): value.decode() for name, value in message["headers"]}
            self.started.set()
        else:
            if message.get("body"):
                self.parts.put_nowait(message["body"])
            if not message.get("more_body"):
                self.parts.put_nowait(None)

    async def next(self, seconds: float = 5.0) -> bytes | None:
        """Return the next part of the body, None at its end; TimeoutError if nothing comes."""
        return await asyncio.wait_for(self.parts.get(), seconds)

    async def body(self) -> bytes:
        whole = b""
        while (part := await self.next()) is not None:
            whole += part
        return whole

    async def json(self) -> Any:
        body = await self.body()
        described.check(self.method, self.path, self.status, self.headers["Content-Type"], body)
        return json.loads(body)

    async def event(self) -> tuple[int, dict[str, Any]]:
        """Return the next event's number and data."""
        while (part := await self.next()) is not None:
            if part.startswith(b"id: "):
                first, second, *rest = part.decode().split("\n")
                assert rest == ["", ""]
                data = json.loads(second.removeprefix("data: "))
                described.check_event(data)
                return int(first.removeprefix("id: ")), data
        raise Ended("the stream has ended")

    async def events(self) -> list[tuple[int, dict[str, Any]]]:
        """Return all further events; the stream must end by itself."""
        found = []
        while True:
            try:
                found.append(await self.event())
            except Ended:
                return found


@asynccontextmanager
async def asked(
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    server: Any = None,
    answer: Answer | None = None,
    **headers: str | None,
) -> AsyncIterator[Answer]:
    """Send one request to the real ASGI application, or to another; leaving the block is the client hanging up.

    A header that is None is left out.
    """
    from spellplatform.asgi import application

    application = server or application
    answer = answer or Answer(method, path)
    plain, _, query = path.partition("?")
    usual = {"Host": "testserver", "Content-Length": str(len(body)), "Content-Type": "application/json"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in (usual | given).items() if value is not None}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(plain),
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in requests:
            return message
        await answer.gone.wait()
        return {"type": "http.disconnect"}

    serving = asyncio.create_task(application(scope, receive, answer.send))  # type: ignore[arg-type]
    starting = asyncio.create_task(answer.started.wait())
    await asyncio.wait([serving, starting], timeout=10, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not answer.started.is_set():
            raise AssertionError(f"no answer: {serving}")
        yield answer
    finally:
        starting.cancel()
        answer.gone.set()
        await asyncio.wait([serving], timeout=10)


def run(scene: Coroutine[Any, Any, Any]) -> Any:
    """Play an async scene on an event loop of its own and end its streams' thread with it."""

    async def whole() -> Any:
        try:
            return await asyncio.wait_for(scene, 30)
        finally:
            hub.stop()

    try:
        return asyncio.run(whole())
    finally:
        if hub._hub is not None and hub._hub._thread is not None:
            hub._hub._thread.join(10)
