"""Django's own way to stream: an async StreamingHttpResponse, no middleware, no database, no authentication."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="anchor", ALLOWED_HOSTS=["*"], DEBUG=False)
streams: dict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)


async def frames(topic: str) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    streams[topic].add(queue)
    try:
        yield b"retry: 2000\n\n"
        while True:
            yield await queue.get()
    finally:
        streams[topic].discard(queue)


async def events(request: HttpRequest, topic: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(frames(topic), content_type="text/event-stream")


async def publish(request: HttpRequest, topic: str) -> HttpResponse:
    for queue in streams[topic]:
        queue.put_nowait(b"id: 1\ndata: news\n\n")
    return HttpResponse(headers={"Content-Length": "0"})


urlpatterns = [path("events/<topic>", events), path("publish/<topic>", publish)]
application = get_asgi_application()
