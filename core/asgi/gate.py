"""The gate: what is rationed before a request's body is read, and the headers that tell every caller how it stands.

What shows nothing is counted by its address, before all else. What shows something (a key, a link, a webhook's
signature) is let through to whoever checks it, unless its address has to wait after bad ones; a credential that was
good in the last hour is let through all the same, so that nobody's stale key shuts out a neighbour's good one. A
checker says that it is good with `visits.prove` and spends its allowances; what is answered 401, or said to have failed
(`visits.fail`), counts as a failed try.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpResponse

from core.api import cors
from core.api.address import client_address, counted_as
from core.api.problems import of_error
from core.asgi import App, Layer, Receive, Scope, Send
from core.asgi.refusals import refuse_with
from core.db.threads import on_pool
from core.errors import SpellError
from core.rationing import ADDRESS, BAD_KEYS, BAD_SIGNATURES, Penalty, RateLimited, allowances, penalties
from core.rationing.visits import Visit, check_held, disprove, headers_of, is_known_good, visit

logger = logging.getLogger(__name__)

FREE = ("/static/",)


Page = Callable[[SpellError], HttpResponse]


def gate(*, signed: Mapping[str, bytes], page: Page) -> Layer:
    """Return the layer.

    `signed`: the header that carries a signature of the body, by path. `page`: what is shown to people.
    """

    def layer_of(app: App) -> App:
        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].startswith(FREE):
                await app(scope, receive, send)
            else:
                shown = of_error if scope["path"].startswith("/api/") else page
                await Passage(scope, receive, send, signed.get(scope["path"]), shown).go(app)

        return layer

    return layer_of


class Passage:
    """One request's way through the gate."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, signed_by: bytes | None, shown: Page) -> None:
        self.scope, self.receive, self.send, self.shown = scope, receive, send, shown
        self.penalty = BAD_KEYS if signed_by is None else BAD_SIGNATURES
        client = client_address(scope)
        self.visit = Visit(counted_as(client), client)
        self.visit.credential = credential_of(scope, signed_by, self.visit.address)
        self.refusal: RateLimited | None = None

    async def go(self, app: App) -> None:
        visit.set(self.visit)
        try:
            await self.enter()
        except RateLimited as exc:
            await self.refuse(exc)
            return
        await app(self.scope, self.receive, self.leave)

    async def enter(self) -> None:
        """Raise RateLimited if nothing needs to be looked at to know that."""
        if self.visit.credential is None:
            await self.spend()
            return
        check_held(self.visit)
        if not is_known_good(self.visit):
            penalties.check(self.penalty, self.visit.address)

    async def spend(self) -> None:
        """Spend one request of the address. Raise RateLimited."""
        address, quota = self.visit.address, settings.RATION_PER_ADDRESS
        standing = allowances.spend_from_block(ADDRESS, address, quota)
        if standing is None and quota:
            with counting_or_not():
                standing = await on_pool(("gate", address), allowances.spend, ADDRESS, address, quota)
        if standing is not None:
            self.visit.standings.append(standing)

    def leave(self, message: Mapping[str, object]) -> Awaitable[None]:
        """Send what the application sends: with headers, or, if it was a bad try too many, a refusal in its place."""
        if self.refusal is None and message["type"] != "http.response.start":
            return self.send(message)  # no coroutine of its own: a thousand streams may be sent something at once
        return self.leave_first(message)

    async def leave_first(self, message: Mapping[str, object]) -> None:
        if self.refusal is not None:
            return
        try:
            await self.settle(message["status"])
        except RateLimited as exc:
            self.refusal = exc
            await self.refuse(exc)
            return
        told = headers_of(self.visit.standings)
        more = [(name.encode("ascii"), value.encode("ascii")) for name, value in told.items()]
        await self.send({**message, "headers": [*message["headers"], *more]})  # type: ignore[misc]

    async def settle(self, status: object) -> None:
        """Count what nobody has counted yet."""
        visit, penalty = self.visit, self.penalty
        if visit.credential is None or visit.proven:
            return
        free = settings.RATION_BAD_KEYS if penalty is BAD_KEYS else settings.RATION_BAD_SIGNATURES
        # Pages answer 403, or a browser would ask for a password.
        if (status in (401, 403) or visit.failed) and free:
            if penalty is BAD_KEYS:
                disprove(visit)
            with counting_or_not():
                await on_pool(("gate", visit.address), failed, penalty, visit.address, free)
        elif not visit.standings:  # nobody has looked at what it shows
            await self.spend()

    async def refuse(self, exc: RateLimited) -> None:
        headers = headers_of([*self.visit.standings, exc.standing])
        if b"token=" in self.scope["query_string"]:
            headers |= cors.FOR_PAGES
        await refuse_with(self.scope, self.receive, self.send, exc, headers, self.shown)


@contextmanager
def counting_or_not() -> Iterator[None]:
    """Let a request pass uncounted while nothing can be counted: what needs the database says so itself."""
    try:
        yield
    except (DatabaseError, InterfaceError) as exc:
        logger.warning("not counted", extra={"error": str(exc)[:200]})


def failed(penalty: Penalty, address: str, free: int) -> None:
    penalties.failed(penalty, address, free=free)


def credential_of(scope: Scope, signed_by: bytes | None, address: str) -> bytes | None:
    """Return a digest of what a request shows, None if it shows nothing.

    Signatures differ from request to request: there, the address stands for who signs.
    """
    if signed_by is not None:
        shown = any(name == signed_by for name, _ in scope["headers"])
        return digest(f"{signed_by!r} {address}".encode()) if shown else None
    for name, value in scope["headers"]:
        if name == b"authorization":
            return digest(value.strip())
    return next((digest(part) for part in scope["query_string"].split(b"&") if part.startswith(b"token=")), None)


def digest(shown: bytes) -> bytes:
    return hashlib.sha256(shown).digest()
