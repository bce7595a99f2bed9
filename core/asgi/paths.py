"""Which application serves a path."""

from core.asgi import App, Layer, Receive, Scope, Send


def under(prefix: str, inner: App) -> Layer:
    """Have `inner` serve all paths that begin so."""

    def layer_of(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            await (inner if scope["path"].startswith(prefix) else app)(scope, receive, send)

        return layer

    return layer_of
