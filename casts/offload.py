"""Running blocking code for async views: on one shared pool of threads that keep no database connection.

Django's own way gives every request under ASGI a thread for as long as the request lasts; a request that waits a
minute, or streams for an hour, would hold one all the while. See `spellplatform.asgi.ApiHandler`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

P = ParamSpec("P")
T = TypeVar("T")


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return this process's threads for blocking work."""
    return ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="web")


async def in_thread(request: HttpRequest, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread and give its database connection back at once.

    Outside ASGI (the test client) it runs in the caller's own thread, inside the caller's transaction.
    """
    if not isinstance(request, ASGIRequest):
        return await sync_to_async(work)(*args, **kwargs)

    def run() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return await sync_to_async(run, thread_sensitive=False, executor=pool())()


def offloaded(view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
    """Turn a blocking view into an async one that runs on the pool. API views carry no cookie, so no CSRF check."""

    @csrf_exempt
    @wraps(view)  # with its attributes: the OpenAPI description finds the view class by them
    async def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return await in_thread(request, rendered, view, request, *args, **kwargs)

    return run


def rendered(
    view: Callable[..., HttpResponseBase], request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    """Call a view and finish its answer while still in the thread."""
    response = view(request, *args, **kwargs)
    render = getattr(response, "render", None)
    return render() if callable(render) else response
