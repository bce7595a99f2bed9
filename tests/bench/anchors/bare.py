"""A bare ASGI application: a queue per stream, no framework. GET /events/<id> streams, POST /publish/<id> tells it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

streams: dict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    _, what, topic = scope["path"].split("/", 2)
    if what == "publish":
        for waiting in streams[topic]:
            waiting.put_nowait(b"id: 1\ndata: news\n\n")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    streams[topic].add(queue)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
    gone = asyncio.ensure_future(until_gone(receive))
    try:
        while not gone.done():
            news = asyncio.ensure_future(queue.get())
            await asyncio.wait({news, gone}, return_when=asyncio.FIRST_COMPLETED)
            if news.done():
                await send({"type": "http.response.body", "body": news.result(), "more_body": True})
            else:
                news.cancel()
    finally:
        streams[topic].discard(queue)


async def until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
