"""How large a request's body may be."""

from typing import Any

from django.conf import settings

from core.asgi import App, Receive, Scope, Send
from core.asgi.refusals import refuse


def small_bodies(app: App) -> App:
    """Pass a request on, unless its body turns out too large: then answer 413."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def bounded() -> dict[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            # Django would spool a body of any size to disk; to it, the client has gone.
            return message if taken <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE else {"type": "http.disconnect"}

        await app(scope, bounded, send)
        if taken > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            await refuse(scope, send, 413, "INPUT_TOO_LARGE", "The request body is too large.")

    return layer
