"""Mail, sent beside the request: how long an answer takes must not tell whether there was somebody to write to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from django.core.mail import send_mail

logger = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="mail")


def later(send: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call `send`, which logs its failures itself and reads no database, in the thread that sends mail."""
    _thread().submit(send, *args, **kwargs)


def send_later(subject: str, text: str, to: str) -> None:
    """Send a mail of ours; a failure is logged, and nobody waits for it."""
    later(_send, subject, text, to)


def _send(subject: str, text: str, to: str) -> None:
    try:
        send_mail(subject, text, None, [to])
    except Exception:  # whatever the mail server does
        logger.exception("mail not sent")
