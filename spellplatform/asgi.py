"""The ASGI application: Django's handler for pages and the admin, a leaner one for the API, and event streams."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO, Any

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.management.base import SystemCheckError
from django.urls import set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
NOT_LOADED = 4  # an exit code by which gunicorn ends, instead of starting the process again and again


@contextmanager
def refusing() -> Iterator[None]:
    """Exit with one sentence, without a traceback, if the configuration can't be read or is unsafe."""
    try:
        yield
    except (ImproperlyConfigured, SystemCheckError) as exc:
        print(exc, file=sys.stderr)
        raise SystemExit(NOT_LOADED) from None


with refusing():
    django.setup(set_prefix=False)

from django.core.management import call_command  # noqa: E402 - needs a set-up Django

from casts.api import openapi  # noqa: E402 - likewise
from casts.live.asgi import Receive, Scope, Send, asks_for_events, event_stream  # noqa: E402 - likewise
from core.api.headers import API_HEADERS, number_request  # noqa: E402 - likewise
from core.api.problems import problem  # noqa: E402 - likewise

logger = logging.getLogger(__name__)

# What may be stored can be asked for: all fifty metadata entries of a cast as filters, or four of the longest kind in
# which each character takes twelve bytes, and a cursor.
TARGET_MAX_BYTES = 32 * 1024

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class ApiHandler(ASGIHandler):
    """Django's handler without the thread that it keeps for each request.

    That thread carries sessions and other synchronous middleware. A `Prefer: wait` request would hold it for as long as
    it is open. API views bring their own threads, for as long as they compute (core.db.threads).
    """

    def load_middleware(self, is_async: bool = False) -> None:
        # Django reads the setting itself, so it is swapped meanwhile.
        pages, settings.MIDDLEWARE = settings.MIDDLEWARE, settings.API_MIDDLEWARE
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = pages

    def create_request(self, scope: Any, body_file: IO[bytes]) -> Any:
        request, refusal = super().create_request(scope, body_file)
        # A chunked body, whose length is known by now: without one DRF takes the body for none.
        if request is not None and "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(body_file.seek(0, os.SEEK_END))
            body_file.seek(0)
        return request, refusal

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Do what Django's handler does, in one task besides the caller's, and without its signals.

        Their receivers look after database connections, each time in a thread of its own; ours are given back when
        the work in a thread is done (core.db.threads).
        """
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


def close(response: Any) -> None:
    """Close what belongs to a response, without telling Django's signal of it."""
    closers: list[Callable[[], None]] = vars(response)["_resource_closers"]  # Django's; it has no public name
    while closers:
        closers.pop()()


async def capped(app: App, scope: Any, receive: Receive, send: Send) -> None:
    """Pass a request on, unless it is too large: then answer 414 or 413."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > TARGET_MAX_BYTES:
        headers = numbered(scope)  # before the problem, which holds the number
        detail = f"Path and query are longer than {TARGET_MAX_BYTES} bytes. Filter by fewer or shorter values."
        long = problem(414, "URI_TOO_LONG", detail, max_bytes=TARGET_MAX_BYTES, headers=headers)
        await api.send_response(long, send)
        return
    taken = 0

    async def bounded() -> dict[str, Any]:
        nonlocal taken
        message: dict[str, Any] = await receive()
        taken += len(message.get("body", b""))
        # Django would spool a body of any size to disk; to it, the client has gone.
        return message if taken <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE else {"type": "http.disconnect"}

    await app(scope, bounded, send)
    if taken > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        headers = numbered(scope)
        refusal = problem(413, "INPUT_TOO_LARGE", "The request body is too large.", headers=headers)
        await api.send_response(refusal, send)


def numbered(scope: Any) -> dict[str, str]:
    """Number and log a request that is refused before any middleware sees it; return its answer's headers."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    number = number_request(given.decode("latin-1"))
    logger.info("request refused as too large", extra={"method": scope["method"], "path": scope["path"][:200]})
    return {**API_HEADERS, "X-Request-Id": number, "Connection": "close"}


# A server does not run the checks that every management command runs; an unsafe configuration must not serve.
with refusing():
    call_command("check", fail_level="ERROR")
openapi.document()
api, pages = ApiHandler(), ASGIHandler()


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    # There is nothing to do at a process's start and end.
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif not scope["path"].startswith("/api/"):
        await pages(scope, receive, send)
    else:
        await capped(event_stream if asks_for_events(scope) else api, scope, receive, send)
