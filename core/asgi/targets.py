"""How long a request's path and query may be."""

from core import limits
from core.asgi import App, Layer, Receive, Scope, Send
from core.asgi.refusals import Page, refuse


def short_targets(*, page: Page) -> Layer:
    """Return the layer that passes a request on, unless its path and query are too long: then it answers 414."""

    def layer_of(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            if len(scope.get("raw_path") or b"") + len(scope["query_string"]) <= limits.TARGET_BYTES:
                await app(scope, receive, send)
                return
            detail = f"Path and query are longer than {limits.TARGET_BYTES} bytes. Filter by fewer or shorter values."
            await refuse(scope, send, 414, "URI_TOO_LONG", detail, page=page, max_bytes=limits.TARGET_BYTES)

        return layer

    return layer_of
