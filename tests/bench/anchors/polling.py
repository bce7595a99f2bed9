"""The original method: each stream asks the database every two seconds whether its row has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="anchor",
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["ANCHOR_SQLITE"]}},
)


def asked(query: str, *values: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


async def frames(topic: str) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    seen: object = 0
    while True:
        [(now,)] = await sync_to_async(asked)("SELECT coalesce(max(version), 0) FROM topic WHERE id = %s", topic)
        if now != seen:
            seen = now
            yield b"id: 1\ndata: news\n\n"
        await asyncio.sleep(2)


async def events(request: HttpRequest, topic: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(frames(topic), content_type="text/event-stream")


async def publish(request: HttpRequest, topic: str) -> HttpResponse:
    await sync_to_async(asked)(
        "INSERT INTO topic VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET version = version + 1", topic
    )
    return HttpResponse(headers={"Content-Length": "0"})


urlpatterns = [path("events/<topic>", events), path("publish/<topic>", publish)]
application = get_asgi_application()
asked("PRAGMA journal_mode=WAL")
asked("CREATE TABLE IF NOT EXISTS topic (id text PRIMARY KEY, version integer)")
connection.close()
