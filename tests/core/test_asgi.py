"""The layers before both handlers: what they refuse never reaches a handler."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from core import limits
from core.asgi import bodies, http_only
from tests.casts.client import asked

CAPS = {"/": 10, "/large/": 1000}


class Handler:
    """Reads bodies, as Django's handlers do, and keeps what it has read."""

    def __init__(self) -> None:
        self.called = False
        self.kept = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called = True
        while (message := await receive())["type"] != "http.disconnect":
            self.kept += message["body"]
            if not message["more_body"]:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return


def posted(path: str, parts: list[bytes], **headers: str) -> tuple[Handler, int, list[str]]:
    """Send a body in parts, of which the last never ends; return the handler, the status and what happened in order."""
    handler, happened, status = Handler(), [], 0
    waiting = iter(parts)

    async def receive() -> dict[str, Any]:
        for part in waiting:
            happened.append("read")
            return {"type": "http.request", "body": part, "more_body": part != parts[-1] or part == b""}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        nonlocal status
        happened.append(message["type"])
        status = message.get("status", status)
        if message.get("body"):
            happened.append(json.loads(message["body"])["code"])

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "headers": raw}
    asyncio.run(bodies.bounded_bodies(CAPS)(handler)(scope, receive, send))
    return handler, status, happened


@pytest.mark.parametrize(("path", "most"), [("/", 10), ("/largest", 10), ("/large/x", 1000)])
def test_a_body_up_to_its_cap_passes_and_no_byte_beyond_is_kept(path, most):
    handler, status, _ = posted(path, [b"x" * (most - 1), b"y"])
    assert (status, handler.kept) == (200, b"x" * (most - 1) + b"y")
    handler, status, happened = posted(path, [b"x" * most, b"y", b"z" * 9])
    assert (status, handler.kept) == (413, b"x" * most)
    assert "INPUT_TOO_LARGE" in happened


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read():
    handler, status, happened = posted("/", [b"x" * 11], **{"content-length": "11"})
    assert (status, handler.called) == (413, False)
    # The answer, then what the client may still be sending, then the answer's end.
    assert happened == ["http.response.start", "http.response.body", "INPUT_TOO_LARGE", "read", "http.response.body"]


@pytest.mark.parametrize("which", ["BODY_SECONDS", "BODY_IDLE_SECONDS"])
def test_a_body_that_does_not_end_in_time_is_refused(monkeypatch, which):
    monkeypatch.setattr(limits, which, 0.05)
    handler, status, happened = posted("/", [b"x", b""])
    assert (status, handler.kept) == (408, b"x")
    assert "REQUEST_TIMEOUT" in happened


@pytest.mark.parametrize(("kind", "answers"), [("websocket", ["websocket.close"]), ("webtransport", [])])
def test_other_protocols_are_refused_without_a_word_to_the_handler(kind, answers):
    handler, sent = Handler(), []

    async def scene() -> None:
        async def send(message: Any) -> None:
            sent.append(message["type"])

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        await http_only.http_only(handler)({"type": kind, "path": "/"}, receive, send)

    asyncio.run(scene())
    assert (sent, handler.called) == (answers, False)


def test_all_of_it_is_before_both_handlers():
    async def scene() -> None:
        for path in ("/nothing", "/api/v1/nothing"):
            async with asked(path, method="POST", Content_Length=str(limits.ADMIN_FORM_BYTES + 1)) as answer:
                assert answer.status == 413
            async with asked(f"{path}?{'x' * limits.TARGET_BYTES}") as answer:
                assert answer.status == 414

    asyncio.run(scene())
