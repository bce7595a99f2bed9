"""A process's start and end, as servers tell of them."""

from core.asgi import App, Receive, Scope, Send


def lifespan(app: App) -> App:
    """Answer a server that asks whether to start and to stop: there is nothing to do."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return layer
