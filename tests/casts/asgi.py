"""Requests through the real ASGI application whose views see what a test has not committed.

A view's work, which a server does in a thread of its pool, is done in the thread that waits for the answer: it has the
test's connection and with it the test's transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache, partial
from queue import SimpleQueue
from typing import Any
from unittest import mock

from django.http import HttpResponse

from core.db import threads
from tests import described
from tests.casts.client import asked


class Waiting(Executor):
    """Does work in the thread that waits for a future."""

    def __init__(self) -> None:
        self.work: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        self.work.put((future, partial(fn, *args, **kwargs)))
        return future

    def wait(self, until: Future[Any]) -> Any:
        """Work until this is done; return its result."""
        until.add_done_callback(lambda _: self.work.put(None))
        while (item := self.work.get()) is not None:
            future, work = item
            try:
                result = work()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)
        return until.result()


_waiting: ContextVar[Waiting | None] = ContextVar("waiting", default=None)


@cache
def loops() -> ThreadPoolExecutor:
    """Return the threads for the event loops."""
    return ThreadPoolExecutor(thread_name_prefix="asgi")


@contextlib.contextmanager
def views_in_the_callers_thread() -> Iterator[None]:
    """Prepare what `ask` needs. All other requests have the pool's threads and connections as ever."""
    from spellplatform import asgi  # noqa: F401 - checks the settings, as long as they are as they should be

    pool, kept = threads.pool, threads.database_kept

    def threads_of_a_request() -> Executor:
        return _waiting.get() or pool()

    def keep() -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if _waiting.get() else kept()

    with (
        mock.patch.object(threads, "pool", threads_of_a_request),
        mock.patch.object(threads, "database_kept", keep),
    ):
        yield


def ask(method: str, path: str, body: bytes, headers: dict[str, Any]) -> HttpResponse:
    """Send a request, hold its answer against the description, and return it."""
    waiting = Waiting()

    async def scene() -> tuple[int, dict[str, str], bytes]:
        _waiting.set(waiting)
        async with asked(path, method=method, body=body, **headers) as answer:
            return answer.status, answer.headers, await answer.body()

    status, given, content = waiting.wait(loops().submit(asyncio.run, scene()))
    media_type = given.get("Content-Type", "")
    described.check(method, path, status, media_type, content)
    if status < 300 and body:
        described.check_request(method, path, body)
    response = HttpResponse(content, status=status, headers={"Content-Type": media_type} | given)
    if not media_type:
        del response["Content-Type"]
    response.__dict__["json"] = partial(json.loads, content)
    return response
