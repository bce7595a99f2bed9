"""How long a request's path and query may be."""

from core import limits
from core.asgi import App, Receive, Scope, Send
from core.asgi.refusals import refuse


def short_targets(app: App) -> App:
    """Pass a request on, unless its path and query are too long: then answer 414."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) <= limits.TARGET_BYTES:
            await app(scope, receive, send)
            return
        detail = f"Path and query are longer than {limits.TARGET_BYTES} bytes. Filter by fewer or shorter values."
        await refuse(scope, send, 414, "URI_TOO_LONG", detail, max_bytes=limits.TARGET_BYTES)

    return layer
