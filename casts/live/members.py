"""The stream of an account's list of casts: who may open it, and how."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from accounts import principals
from casts.access import reach_of_user, session_user
from casts.live import holding, hub
from casts.live.grants import BySession, of_session
from casts.live.openings import STREAM_HEADERS, StreamStart
from core import access
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import Forbidden, SpellError, Unauthorized

PATH = re.compile(r"/home/([0-9]{1,18})/events")  # as in casts.pages.urls


def grant_of(request: HttpRequest, account_id: int) -> BySession:
    """Return what lets somebody follow an account's casts: a session and a role. Raise SpellError."""
    user = session_user(request)
    if user is None:
        raise Unauthorized("Log in to follow the casts of an account.")
    role = principals.of_user(user, account_id=account_id).role
    if role is None:  # the same for an account that does not exist
        raise Forbidden("You are not a member of this account.")
    return of_session(request, account_id, reach_of_user(user, role))


async def open_list(request: HttpRequest, account_id: int, subscriber: hub.Subscriber) -> StreamStart:
    """Subscribe, and return what the stream begins with: nothing, as the hub sends first how the newest casts are.

    Raise SpellError.
    """
    grant = await in_thread(request, grant_of, request, account_id)
    access.note(account=grant.account_id)
    holding.hold(subscriber, holding.names_before(request, grant) + holding.names_of(grant, grant.account_id))
    subscriber.grant = grant
    hub.hub().add_to_list(grant.account_id, subscriber)
    return StreamStart([], 0, final=False, grant=grant, account_id=grant.account_id)


async def events(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Stream where Django serves, as casts.live.waiting.events does for one cast."""
    if request.method != "GET":
        return problem(405, "METHOD_NOT_ALLOWED", "Read events with GET.", headers={"Allow": "GET"})
    try:
        grant = await in_thread(request, grant_of, request, account_id)
    except SpellError as exc:
        return of_error(exc)
    return StreamingHttpResponse(body(grant), headers=STREAM_HEADERS)


async def body(grant: BySession) -> AsyncIterator[bytes]:
    subscriber = hub.Subscriber()
    subscriber.grant = grant
    hub.hub().add_to_list(grant.account_id, subscriber)
    try:
        async for part in hub.stream(subscriber, (), after=0):
            yield part
    finally:
        hub.hub().remove(subscriber)
