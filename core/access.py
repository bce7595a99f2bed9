"""What the access log tells of the request at work: noted by whoever learns it, wherever that is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import structlog

# One object for a request, shared by the threads and tasks that work for it: their contexts are copies.
_facts: ContextVar[dict[str, Any] | None] = ContextVar("access_facts", default=None)


def begin() -> dict[str, Any]:
    """Begin a request; return what will be noted of it."""
    facts: dict[str, Any] = {}
    _facts.set(facts)
    return facts


def note(**facts: Any) -> None:
    """Note facts of the request at work. Never what a stranger wrote: ids, names of ours and numbers."""
    found = _facts.get()
    if found is not None:
        found.update(facts)


def know(**ids: str) -> None:
    """Have the access log, and every line from here on that is about the same work, carry these ids."""
    note(**ids)
    structlog.contextvars.bind_contextvars(**ids)
