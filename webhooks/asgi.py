"""GitHub's deliveries as an ASGI application of their own, so that those that wait together are stored together.

Django's handler and a thread for each would cost more than all that is done with a delivery. What is rare goes on to
the view (`webhooks.views`): other methods, and bodies so large that to verify them takes a while.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.exception import response_for_exception
from django.http import HttpResponse

from core import access
from core.api.headers import add_headers, number_request
from core.api.problems import of_error
from core.asgi import App, Layer, Receive, Scope, Send
from core.asgi.bodies import declared
from core.asgi.traces import name_span
from core.errors import SpellError
from core.rounds import Rounds
from webhooks.inbox import Altered, receive_deliveries
from webhooks.reading import Arrived, Malformed
from webhooks.views import answer_to, verified

SMALL = 256 * 1024  # bytes
ROUND, WAITING = 50, 500  # deliveries: in one round, and how many wait for the next
ROUNDS: Rounds[Arrived, bool] = Rounds(lambda some: receive_deliveries(some), most=ROUND, waiting=WAITING)
LANE = "webhooks"  # of the threads: all whose signatures are good share it


def deliveries(path: str, *, name: str) -> Layer:
    """Serve deliveries that are posted to `path`, and pass other requests on. `name`: the view's, for the log."""

    def layer_of(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == path and scope["method"] == "POST" and 0 < declared(scope) <= SMALL:
                await deliver(scope, receive, send, name)
            else:
                await app(scope, receive, send)

        return layer

    return layer_of


async def deliver(scope: Scope, receive: Receive, send: Send, name: str) -> None:
    if (body := await whole_body(receive)) is None:
        return  # the client has left
    headers = headers_of(scope)
    number = number_request(headers.get("x-request-id", ""))
    access.note(route=name)
    name_span("POST", scope["path"])
    try:
        response = await answer(headers, body)
    except Exception as exc:
        response = response_for_exception(ASGIRequest(scope, BytesIO(body)), exc)  # as Django's handlers make it
    add_headers(response)
    response.headers["X-Request-Id"] = number
    told = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    try:
        await send({"type": "http.response.start", "status": response.status_code, "headers": told})
        await send({"type": "http.response.body", "body": response.content})
    except OSError:
        pass  # the client has left, as a server may say when it is sent something


async def answer(headers: dict[str, str], body: bytes) -> HttpResponse:
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    arrived = verified(lambda name: headers.get(name.lower(), ""), content_type, body)
    if isinstance(arrived, HttpResponse):
        return arrived
    try:
        return answer_to(arrived, await ROUNDS.ask(LANE, arrived))
    except (Malformed, Altered) as exc:
        return answer_to(arrived, exc)
    except SpellError as exc:
        return of_error(exc)


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case; what comes twice is joined, as Django does."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


async def whole_body(receive: Receive) -> bytes | None:
    """Return a request's body, None if the client leaves before its end."""
    parts: list[bytes] = []
    while True:
        message: dict[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
