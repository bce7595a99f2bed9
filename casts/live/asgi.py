"""Event streams as an ASGI application of their own: parse, open, send, heartbeat, disconnect.

Django's handler would keep a request, a response and what its middleware holds for as long as a stream is open. Here an
open stream is a subscriber and two tasks: one sends, one waits for the client to leave.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from io import BytesIO
from types import coroutine
from typing import Any, NoReturn

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import set_script_prefix

from casts.live import holding, members
from casts.live.hub import Subscriber, hub, stream
from casts.live.openings import STREAM_HEADERS, StreamStart, open_stream, stream_request
from casts.paths import CastIdConverter
from core import access
from core.api.cors import by_link, let_pages_read
from core.api.headers import add_headers, number_request
from core.api.problems import of_error
from core.asgi import App, Receive, Scope, Send
from core.errors import SpellError

Response = HttpResponse | StreamingHttpResponse

PATH = re.compile(r"/api/v1/casts/([^/\0]+)/events")  # as in casts.api.urls


def asks_for_events(scope: Scope) -> bool:
    """Return whether to serve a request here; Django answers other methods, and queries that are not ASCII."""
    if scope["method"] != "GET" or not scope["query_string"].isascii():
        return False
    return PATH.fullmatch(scope["path"]) is not None or members.PATH.fullmatch(scope["path"]) is not None


def streams(app: App) -> App:
    """Serve event streams, and pass other requests on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await (event_stream if asks_for_events(scope) else app)(scope, receive, send)

    return layer


async def event_stream(scope: Scope, receive: Receive, send: Send) -> None:
    subscriber = Subscriber()
    try:
        await read_body(receive)
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(until_left(receive))
            response, start = await answer(scope, subscriber)
            headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            if start is None:
                await send({"type": "http.response.body", "body": response.content})
            else:
                parts = stream(subscriber, start.first, after=start.after)
                del response, headers, start  # what follows may take hours
                subscriber.write = partial(write_now, send)
                async for part in parts:
                    await send(part_of_body(part))
                    del part  # not kept until the next one
                await send({"type": "http.response.body"})
            leaving.cancel()  # or the group would wait for the client to leave
    except* (RequestAborted, OSError):
        pass  # the client left, as the server may say in its own way when it is sent something
    finally:
        hub().remove(subscriber)


async def read_body(receive: Receive) -> None:
    """Read and drop a request's body; raise RequestAborted if the client leaves before its end."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        more = message.get("more_body", False)


async def until_left(receive: Receive) -> NoReturn:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise RequestAborted


async def answer(scope: Scope, subscriber: Subscriber) -> tuple[Response, StreamStart | None]:
    set_script_prefix(get_script_prefix(scope))
    request = ASGIRequest(scope, BytesIO())
    number = number_request(request.headers.get("X-Request-Id", ""))
    access.note(route="home-events" if members.PATH.fullmatch(scope["path"]) else "api:cast-events")
    start: StreamStart | None = None
    response: Response
    try:
        linked = by_link(request)
        try:
            start = await opened(request, subscriber)
            response = HttpResponse(status=204) if start is None else StreamingHttpResponse(headers=STREAM_HEADERS)
        except SpellError as exc:
            response = of_error(exc)
        if linked:
            let_pages_read(response)
    except Exception as exc:
        response = response_for_exception(request, exc)  # a logged 500, as Django's handlers make it
    add_headers(response)
    response.headers["X-Request-Id"] = number
    return response, start


async def opened(request: ASGIRequest, subscriber: Subscriber) -> StreamStart | None:
    """Subscribe, then return what the stream begins with, None if nothing will come; raise SpellError."""
    if (listed := members.PATH.fullmatch(request.path_info)) is not None:
        return await members.open_list(request, int(listed[1]), subscriber)
    found = PATH.fullmatch(request.path_info)
    assert found is not None
    cast_id = CastIdConverter().to_python(found[1])
    wanted = await stream_request(request, cast_id)
    holding.hold(subscriber, holding.names_before(request, wanted.grant))
    # Before the table is read, so that no event is missed in between. A caller who may not read is sent nothing.
    hub().add(wanted.cast_id, subscriber)
    start = await open_stream(request, wanted)
    subscriber.grant = start.grant
    access.note(account=start.account_id)
    if start.over:
        return None
    holding.hold(subscriber, holding.names_of(start.grant, start.account_id))
    return start


def part_of_body(part: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": part, "more_body": True}


def write_now(send: Send, part: bytes) -> asyncio.Task[None] | None:
    """Send a part of a body without waking a stream's task: for a thousand of them that is most of what it costs.

    Return what is left to be done, as a task, if the server has to wait for a client that does not read.
    """
    sending: Any = send(part_of_body(part))
    try:
        waits_for = sending.send(None)  # runs it up to its first wait
    except StopIteration:
        return None
    return asyncio.create_task(finish(sending, waits_for))


async def finish(sending: Any, waits_for: Any) -> None:
    """Await a coroutine that was begun, and waits for something already."""

    @coroutine
    def rest() -> Generator[Any, Any, None]:
        yield waits_for
        yield from sending

    with suppress(OSError):  # the client left
        await rest()
