"""Mail, sent beside the request: how long an answer takes must not tell whether there was somebody to write to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="mail")


def later(send: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call `send`, which logs its failures itself and reads no database, in the thread that sends mail."""
    _thread().submit(send, *args, **kwargs)
