"""Django's ASGI handler, made leaner: one for the API, one for pages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import closing
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from core.api.headers import API_HEADERS
from core.db.threads import in_context, page_pool, page_shares
from core.shares import TooManyAtOnce, address_lane


class LeanHandler(ASGIHandler):
    """Django's handler without the thread that it keeps for each request, and without its signals.

    Their receivers look after database connections, each time in a thread of its own; ours are given back when the work
    in a thread is done (core.db.threads).
    """

    def create_request(self, scope: Any, body_file: IO[bytes]) -> Any:
        request, refusal = super().create_request(scope, body_file)
        # A chunked body, whose length is known by now: without one DRF takes the body for none.
        if request is not None and "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return request, refusal

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Do what Django's handler does, in one task besides the caller's."""
        try:
            with closing(await self.read_body(receive)) as body_file:
                async with asyncio.TaskGroup() as tasks:
                    leaving = tasks.create_task(self.listen_for_disconnect(receive))
                    set_script_prefix(get_script_prefix(scope))
                    request, refusal = self.create_request(scope, body_file)
                    response = refusal if request is None else await self.run_get_response(request)
                    try:
                        await self.send_response(response, send)
                    except OSError:
                        pass  # the client left, as a server may say when it is sent something
                    finally:
                        close(response)
                    leaving.cancel()
        except* RequestAborted:
            pass  # the client left

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Without Django's ThreadSensitiveContext, which is the thread for each request.
        await self.handle(scope, receive, send)


class ApiHandler(LeanHandler):
    """Views bring their own threads, for as long as they compute; a `Prefer: wait` holds none while it is open."""

    def load_middleware(self, is_async: bool = False) -> None:
        # Django reads the setting itself, so it is swapped meanwhile.
        pages, settings.MIDDLEWARE = settings.MIDDLEWARE, settings.API_MIDDLEWARE
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = pages


class PageHandler(LeanHandler):
    """Pages are made from beginning to end in one thread of a small pool of their own, fairly for all addresses.

    So whoever floods them, above all with passwords to be hashed, holds up nobody but their own address, and takes the
    API no more than a thread's part of a processor.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)  # middleware and views block, as Django's own do

    async def run_get_response(self, request: Any) -> Any:
        """Return a page, or 503 if too many of this address wait."""
        try:
            lane = address_lane(request)
            response = await page_shares().run(page_pool(), lane, in_context(self.get_whole_response, request))
            return in_parts(response, lane) if isinstance(response, StreamingHttpResponse) else response
        except TooManyAtOnce as exc:
            busy = "<!doctype html><title>Busy</title><p>Too many requests at once. Try again in a moment."
            return HttpResponse(busy, status=503, headers={**API_HEADERS, **exc.headers})

    def get_whole_response(self, request: Any) -> HttpResponseBase:
        """Return a response with all of its body: what reads it from a file would block the event loop.

        But for one that says that it is made `in_parts`, each of which any thread can make.
        """
        response = self.get_response(request)
        if not isinstance(response, StreamingHttpResponse) or getattr(response, "in_parts", False):
            return response
        whole = HttpResponse(b"".join(response), status=response.status_code)
        whole.headers, whole.cookies = response.headers, response.cookies
        response.close()
        return whole


def in_parts(response: StreamingHttpResponse, lane: Hashable) -> StreamingHttpResponse:
    """Have a long body made part by part in the pages' threads: it is never in memory as a whole."""
    parts: Any = iter(response)

    async def pulled() -> AsyncIterator[bytes]:
        def made() -> Awaitable[bytes | None]:
            return page_shares().run(page_pool(), lane, in_context(next, parts, None), admitted=True)

        while (part := await made()) is not None:
            if part:  # an empty one would end the body where it is sent in chunks
                yield part

    streamed = StreamingHttpResponse(pulled(), status=response.status_code)
    streamed.headers, streamed.cookies = response.headers, response.cookies
    return streamed


def close(response: Any) -> None:
    """Close what belongs to a response, without telling Django's signal of it."""
    closers: list[Callable[[], None]] = vars(response)["_resource_closers"]  # Django's; it has no public name
    while closers:
        closers.pop()()
