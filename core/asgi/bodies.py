"""How large a request's body may be, and how slow, whichever handler is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from core import limits
from core.asgi import App, Layer, Receive, Scope, Send
from core.asgi.refusals import Page, refuse
from core.errors import InputTooLarge

LEFT: dict[str, Any] = {"type": "http.disconnect"}


class Body:
    """One request's body while it is read: bounded in bytes and in time.

    A handler that asks for more is told that the client has left: it drops what it holds, and answers nothing.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self.most = most
        self.taken = 0
        self.whole = False
        self.slow = False
        self._until = asyncio.get_running_loop().time() + limits.BODY_SECONDS

    @property
    def refused(self) -> bool:
        return self.slow or self.taken > self.most

    async def receive(self) -> dict[str, Any]:
        if self.whole:  # what is still to come is that the client leaves
            return await self._receive()
        if self.refused:
            return LEFT
        until = min(self._until, asyncio.get_running_loop().time() + limits.BODY_IDLE_SECONDS)
        try:
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError:
            self.slow = True
            return LEFT
        self.taken += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        return LEFT if self.refused else message


def bounded_bodies(caps: Mapping[str, int], *, page: Page | None = None) -> Layer:
    """Answer 413 to a body of more bytes than its path takes, 408 to one that does not come to its end in time.

    `caps`: bytes by how paths begin; the longest beginning counts, and one of them is "/". What says its length is
    refused before it is read, and nothing beyond a cap is kept. `page`: what people are shown, see `refuse`.
    """
    longest_first = sorted(caps.items(), key=lambda cap: -len(cap[0]))

    def bounded(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            most = next((cap for prefix, cap in longest_first if scope["path"].startswith(prefix)), limits.FORM_BYTES)
            if declared(scope) > most:
                await refuse_large(scope, receive, send, most, page)
                return
            body = Body(receive, most)
            await app(scope, body.receive, send)
            if body.slow:
                detail = "The request body did not come to its end in time. Send it again, faster."
                await refuse(scope, send, 408, "REQUEST_TIMEOUT", detail, page=page)
            elif body.refused:
                await refuse_large(scope, receive, send, most, page)

        return layer

    return bounded


async def refuse_large(scope: Scope, receive: Receive, send: Send, most: int, page: Page | None) -> None:
    detail = f"The request body is larger than {most} bytes."
    told: dict[str, Any] = {"title": InputTooLarge.title, "max_bytes": most}
    await refuse(scope, send, 413, "INPUT_TOO_LARGE", detail, page=page, unread=receive, **told)


def declared(scope: Scope) -> int:
    """Return the length that a request says its body has, 0 if it says none that can be read."""
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(given) if given.isdigit() and len(given) < 20 else 0
