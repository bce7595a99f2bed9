"""What is served but HTTP: nothing."""

import logging

from core.asgi import App, Receive, Scope, Send

logger = logging.getLogger(__name__)


def http_only(app: App) -> App:
    """Refuse WebSockets, and whatever else a server may speak, without a word to the handlers, which know HTTP only."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        logger.info("connection refused: not HTTP", extra={"scope_type": scope["type"]})
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: the server answers 403

    return layer
