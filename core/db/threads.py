"""Running blocking code for async views: on one shared pool of threads, each with its database connection.

Under ASGI, Django gives every request a thread for as long as it lasts; a request that waits a minute, or streams for
an hour, would occupy one all that time. See `core.asgi.handler.ApiHandler`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from core.api.problems import of_error
from core.errors import SpellError
from core.shares import Shares, address_lane, lane_of

ADMITTED = "spell.admitted"  # in a request's META
P = ParamSpec("P")
T = TypeVar("T")


# The shares say how many of a pool's threads work at a time; the others wait for somebody else's service.


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.WEB_THREADS + settings.OUTSIDE_THREADS, thread_name_prefix="web")


@lru_cache(maxsize=1)
def page_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.PAGE_THREADS + settings.OUTSIDE_THREADS, thread_name_prefix="page")


class OfLoop:
    """The shares of the threads, made anew for each event loop; a web process has one."""

    def __init__(self, threads: str, each: str, waiting: str) -> None:
        self.names = threads, each, waiting
        self.made: Shares | None = None

    def __call__(self) -> Shares:
        if self.made is None or self.made.loop is not asyncio.get_running_loop():
            threads, each, waiting = (getattr(settings, name) for name in self.names)
            self.made = Shares(threads, each=each, waiting=waiting)
        return self.made


api_shares = OfLoop("WEB_THREADS", "WEB_THREADS_EACH", "WEB_QUEUE_EACH")
page_shares = OfLoop("PAGE_THREADS", "PAGE_THREADS_EACH", "PAGE_QUEUE_EACH")


async def in_thread(request: HttpRequest, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread, once it is the turn of the request's lane. Raise TooManyAtOnce.

    Outside ASGI (the test client) it runs in the caller's own thread, inside the caller's transaction.
    """
    return await in_lane(lane_of(request), request, work, *args, **kwargs)


async def in_lane(lane: Hashable, request: HttpRequest, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do as `in_thread` does, in a named lane."""
    if not isinstance(request, ASGIRequest):
        return await sync_to_async(work)(*args, **kwargs)
    # Once it has been at work, a request is worked for to its end: refused then, it would have done half of its work.
    admitted, request.META[ADMITTED] = ADMITTED in request.META, True
    return await api_shares().run(pool(), lane, in_context(work, *args, **kwargs), admitted=admitted)


async def on_pool(lane: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run what is short, and belongs to no view, in a thread of the pool."""
    return await api_shares().run(pool(), lane, in_context(work, *args, **kwargs), admitted=True)


def in_context(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[[], T]:
    """Return what does the work in a thread, which keeps its connection.

    With what is bound to the request: its number for the logs, and the path that we are mounted at.
    """
    context = copy_context()

    def run() -> T:
        with database_kept():
            return work(*args, **kwargs)

    return lambda: context.run(run)


@contextmanager
def database_kept() -> Iterator[None]:
    """Keep this thread's database connection for its next work: a new one costs more than most requests."""
    database = connections[DEFAULT_DB_ALIAS]
    # Tried first if it failed, or if the server closed it: after a restart of the server none of them works.
    if database.connection is not None and (database.errors_occurred or hung_up(database)):
        if database.is_usable():
            database.errors_occurred = False
        else:
            database.close()
    try:
        yield
    finally:
        if not settings.KEEP_CONNECTIONS or database.in_atomic_block or database.errors_occurred:
            connections.close_all()


def read_again(read: Callable[[], T]) -> T:
    """Return what is read: on a new connection if the server ended ours meanwhile. Only for what may be done twice."""
    try:
        return read()
    except (OperationalError, InterfaceError):
        database = connections[DEFAULT_DB_ALIAS]
        # Without a connection the server is away; and a usable one says that it failed for another reason.
        if database.connection is None or database.in_atomic_block or database.is_usable():
            raise
        database.close()
        return read()


def hung_up(database: BaseDatabaseWrapper) -> bool:
    """Whether the server may have closed an idle connection: data that was not asked for has arrived on it."""
    if database.vendor != "postgresql":
        return False
    if database.connection.closed:
        return True
    poll = select.poll()  # any number of files, unlike select()
    poll.register(database.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def offloaded(view: Callable[..., HttpResponseBase], *, apart: str = "") -> Callable[..., Any]:
    """Turn a blocking view into an async one that runs on the pool. There is no CSRF check: API views use no cookie.

    `apart`: its requests share no lane with other requests of their addresses.
    """

    @csrf_exempt
    @wraps(view)  # with its attributes: the OpenAPI description finds the view class by them
    async def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        lane = (apart, address_lane(request)) if apart else lane_of(request)
        try:
            return await in_lane(lane, request, answered, view, request, *args, **kwargs)
        except SpellError as exc:
            return of_error(exc)

    return run


def answered(
    view: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    return rendered(view(request, *args, **kwargs))


def rendered(response: HttpResponseBase) -> HttpResponseBase:
    """Return a response with its body made, which Django need not ask for: it would take another thread for that."""
    if callable(render := getattr(response, "render", None)):
        response = render()
        vars(response)["render"] = None
    return response
