"""The service's ASGI application in parts: small layers, each a function of the application that it stands before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
Layer = Callable[[App], App]


def behind(*layers: Layer, app: App) -> App:
    """Return the application with these layers before it; a request passes the first of them first."""
    for layer in reversed(layers):
        app = layer(app)
    return app
