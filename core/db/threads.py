"""Running blocking code for async views: on one shared pool of threads, each with its database connection.

Under ASGI, Django gives every request a thread for as long as it lasts; a request that waits a minute, or streams for
an hour, would occupy one all that time. See `core.asgi.handler.ApiHandler`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="web")


async def in_thread(request: HttpRequest, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread.

    Outside ASGI (the test client) it runs in the caller's own thread, inside the caller's transaction.
    """
    if not isinstance(request, ASGIRequest):
        return await sync_to_async(work)(*args, **kwargs)
    return await on_pool(work, *args, **kwargs)


async def on_pool(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread of the pool."""

    def run() -> T:
        with database_kept():
            return work(*args, **kwargs)

    # With what is bound to the request: its number for the logs, and the path that we are mounted at.
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool(), context.run, run)


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


def hung_up(database: BaseDatabaseWrapper) -> bool:
    """Whether the server may have closed an idle connection: data that was not asked for has arrived on it."""
    if database.vendor != "postgresql":
        return False
    if database.connection.closed:
        return True
    poll = select.poll()  # any number of files, unlike select()
    poll.register(database.connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def offloaded(view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
    """Turn a blocking view into an async one that runs on the pool. There is no CSRF check: API views use no cookie."""

    @csrf_exempt
    @wraps(view)  # with its attributes: the OpenAPI description finds the view class by them
    async def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await in_thread(request, rendered, view, request, *args, **kwargs)

    return run


def rendered(
    view: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    response = view(request, *args, **kwargs)
    render = getattr(response, "render", None)
    return render() if callable(render) else response
