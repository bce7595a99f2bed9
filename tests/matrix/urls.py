"""What the service answers at all: every pattern of the URL map, by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.urls import URLPattern, get_resolver


def walk(patterns: Any, namespace: str = "", route: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the route of every pattern; a pattern without a name is named by its route."""
    for pattern in patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield (namespace + pattern.name if pattern.name else here or "/"), here
        else:
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from walk(pattern.url_patterns, inner, here)


@cache
def every_name() -> frozenset[str]:
    return frozenset(name for name, _ in walk(get_resolver().url_patterns))
