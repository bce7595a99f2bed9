"""What watches the service is answered here, before sessions, rationing and Django: /metrics, /livez and /readyz.

/metrics is for those who show METRICS_TOKEN, and for the addresses in METRICS_ALLOWED. An address counts only if the
connection itself comes from there and nothing says that somebody passed the request on: a proxy on this machine has a
loopback address, too, and asks for the whole world.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from django.conf import settings
from django.http import HttpResponse

from core import access
from core.api.address import networks, parsed
from core.api.headers import number_request
from core.asgi import App, Receive, Scope, Send
from core.asgi.refusals import answer, has_body
from core.telemetry import health, page

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD")
PASSED_ON = (
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-client-ip",
    b"cf-connecting-ip",
    b"true-client-ip",
    b"x-original-host",
)
QUERY_BYTES = 1000


def watched(app: App) -> App:
    """Answer these three paths, and pass other requests on."""

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        page_of = PAGES.get(scope["path"])
        # Who may be logged in is known to Django alone; there it is rationed, too.
        if page_of is None or (scope["path"] == "/readyz" and shows_session(scope) and not is_operator(scope)):
            await app(scope, receive, send)
            return
        number_request("")
        access.note(route=scope["path"][1:])
        if scope["method"] in METHODS:
            told = await page_of(scope)
        else:
            told = words("Ask with GET.\n", 405)
            told.headers["Allow"] = ", ".join(METHODS)
        unread = has_body(scope)
        await answer(scope, send, told, unread=receive if unread else None, close=unread)

    return layer


def words(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


async def livez(scope: Scope) -> HttpResponse:
    return words("ok\n")


async def readyz(scope: Scope) -> HttpResponse:
    exclude = excluded(scope["query_string"].decode("latin-1"))
    return told_of(await health.readiness(exclude=exclude), detail=is_operator(scope))


def excluded(query: str) -> set[str]:
    """Return which checks a request wants left out."""
    given = parse_qs(query[:QUERY_BYTES]).get("exclude", [])
    return {name for value in given for name in value.split(",")}


def told_of(found: health.Found, *, detail: bool) -> HttpResponse:
    """Return 200, or 503 if anything is wrong. What it is, is for operators alone."""
    bad = any(found.values())
    status = 503 if bad else 200
    if bad:
        access.note(refused="NOT_READY")
    if not detail:
        return words("not ready\n" if bad else "ok\n", status)
    checks = {name: {"ok": not why, "why": why} for name, why in found.items()}
    body = json.dumps({"ready": not bad, "checks": checks}, indent=2) + "\n"
    return HttpResponse(body, status=status, content_type="application/json")


async def metrics(scope: Scope) -> HttpResponse:
    if not (is_operator(scope) or comes_from_allowed(scope)):
        if settings.METRICS_TOKENS:
            told = words("Show METRICS_TOKEN: Authorization: Bearer …\n", 401)
            told.headers["WWW-Authenticate"] = "Bearer"
            return told
        return words("Metrics are for the addresses in METRICS_ALLOWED, or for who shows METRICS_TOKEN.\n", 403)
    try:
        return HttpResponse(await page.text(), content_type=page.CONTENT_TYPE)
    except (OSError, TimeoutError):
        logger.exception("metrics not read")
        return words("What was counted can't be read; the log says why.\n", 503)


def is_operator(scope: Scope) -> bool:
    """Whether a request shows METRICS_TOKEN."""
    shown = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, token = shown.partition(b" ")
    if scheme.lower() != b"bearer":
        return False
    # All are compared, in the same time whatever is shown.
    same = [hmac.compare_digest(token.strip(), one.encode()) for one in settings.METRICS_TOKENS]
    return any(same)


def comes_from_allowed(scope: Scope) -> bool:
    peer = parsed((scope.get("client") or ("",))[0] or "")
    if peer is None or not any(peer in network for network in networks(settings.METRICS_ALLOWED)):
        return False
    names = [name for name, _ in scope["headers"]]
    if any(name in PASSED_ON or name.startswith(b"x-forwarded") for name in names):
        return False
    return is_named_directly(next((value for name, value in scope["headers"] if name == b"host"), b""))


def is_named_directly(host: bytes) -> bool:
    """Whether a request names this machine by an address, or within its own network: no name that the world uses.

    A proxy often passes the public name on; and a page in an operator's browser may have a name of its own lead here.
    """
    text = host.decode("latin-1").strip().lower()
    name = text.partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return not text or parsed(text) is not None or parsed(name) is not None or "." not in name


def shows_session(scope: Scope) -> bool:
    name = settings.SESSION_COOKIE_NAME.encode()
    return any(header == b"cookie" and name + b"=" in value for header, value in scope["headers"])


PAGES: dict[str, Callable[[Scope], Awaitable[HttpResponse]]] = {"/livez": livez, "/readyz": readyz, "/metrics": metrics}
