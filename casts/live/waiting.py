"""Answers that wait for a cast and hold no thread meanwhile: `Prefer: wait`, and event streams served by Django."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.models import ApiKey
from accounts.principals import of_key
from casts.live import holding, hub, placing
from casts.live.grants import ByKey
from casts.live.openings import STREAM_HEADERS, StreamRequest, open_stream, stream_request
from casts.models import Cast
from casts.representation import cast_answer
from core.api.cors import open_to_pages
from core.api.problems import of_error, problem
from core.db.threads import in_thread, rendered
from core.errors import Malformed, SpellError, Unauthorized

MAX_WAIT = 60  # seconds


def wait_seconds(request: HttpRequest) -> int:
    """Return N of `Prefer: wait=N` (RFC 7240), 0 without it; raise Malformed unless N is 1 to MAX_WAIT."""
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait":
            value = value.strip().strip('"')
            if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= MAX_WAIT:
                raise Malformed(f"Prefer: wait=N takes whole seconds from 1 to {MAX_WAIT}; not {value[:20]!r}.")
            return int(value)
    return 0


def waitable(view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
    """Make a blocking view of one cast obey `Prefer: wait=N`: answer when the cast ends, or after N seconds."""

    @csrf_exempt
    @wraps(view)
    async def run(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            seconds = wait_seconds(request)
            with placing.coming(request):
                response = await in_thread(request, placing.begun, view, request, **kwargs)
            response = await placing.whole(request, response)
        except SpellError as exc:
            return of_error(exc)
        shown = getattr(response, "data", None)
        if (
            not seconds
            or response.status_code not in (200, 201, 202)
            or not isinstance(shown, dict)
            or "final" not in shown
        ):
            return response
        if not shown["final"]:
            with hub.hub().subscribe(uuid.UUID(shown["cast_id"])) as subscriber:
                key = key_of(response)
                try:
                    holding.hold(subscriber, holding.names_of(ByKey(key.pk), key.account_id))
                except SpellError as exc:
                    return without_waiting(request, response, exc)
                # It may have ended before we subscribed. If it ends later, the hub tells us.
                response = await in_thread(request, answer_again, shown["cast_id"], response)
                if not getattr(response, "data", shown)["final"]:
                    subscriber.grant = ByKey(key.pk)
                    await hub.wait_until_final(subscriber, seconds)
                    if subscriber.refused:
                        revoked = Unauthorized("This API key was revoked, or has expired, while the request waited.")
                        return without_waiting(request, response, revoked)
                    response = await in_thread(request, answer_again, shown["cast_id"], response)
        response["Preference-Applied"] = f"wait={seconds}"
        return response

    return run


def key_of(response: Any) -> ApiKey:
    """Return the API key that was answered."""
    key: ApiKey = response.renderer_context["request"].auth
    return key


def without_waiting(request: HttpRequest, first: HttpResponseBase, error: SpellError) -> HttpResponseBase:
    """Return what to answer when a request may not wait, or may no longer."""
    return of_error(error) if request.method in ("GET", "HEAD") else first  # what it asked for was done


def answer_again(cast_id: str, before: HttpResponseBase) -> HttpResponseBase:
    """Return the cast as it is now, with the status and Location that the first answer had."""
    cast = Cast.objects.select_related("spell").get(pk=cast_id)
    after = cast_answer(of_key(key_of(before)), cast, status=before.status_code)
    for name in ("accepted_renderer", "accepted_media_type", "renderer_context"):
        setattr(after, name, getattr(before, name))
    for name in ("Location", "Idempotent-Replayed"):
        if name in before.headers:
            after[name] = before.headers[name]
    return rendered(after)


@open_to_pages
async def events(request: HttpRequest, cast_id: str) -> HttpResponseBase:
    """Stream a cast's events where Django serves them: to its test client, by `runserver`, by another ASGI server.

    Our own application serves GET with `casts.live.asgi`, and leaves other methods to this.
    """
    if request.method != "GET":
        return problem(405, "METHOD_NOT_ALLOWED", "Read events with GET.", headers={"Allow": "GET"})
    try:
        wanted = await stream_request(request, cast_id)
        start = await open_stream(request, wanted)
        if start.over:
            return HttpResponse(status=204)
        body = EventBody(request, replace(wanted, after=start.after, admitted=True))
        names = holding.names_before(request, wanted.grant) + holding.names_of(start.grant, start.account_id)
        holding.hold(body.subscriber, names)
    except SpellError as exc:
        return of_error(exc)
    return StreamingHttpResponse(body, headers=STREAM_HEADERS)


class EventBody:
    """The body that Django streams. It subscribes when the first part is read, in the event loop that reads."""

    def __init__(self, request: HttpRequest, wanted: StreamRequest) -> None:
        self.request, self.wanted = request, wanted
        self.subscriber = hub.Subscriber()
        self.hub: hub.Hub | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.hub = hub.hub()
        self.hub.add(self.wanted.cast_id, self.subscriber)
        try:
            start = await open_stream(self.request, self.wanted)
            self.subscriber.grant = start.grant
            async for part in hub.stream(self.subscriber, start.first, after=start.after):
                yield part
        finally:
            self.hub.remove(self.subscriber)

    def close(self) -> None:
        holding.release(self.subscriber)
        # Django calls this from another thread, and never finishes the iterator it was reading.
        if self.hub is not None and not self.hub.loop.is_closed():
            self.hub.loop.call_soon_threadsafe(self.hub.remove, self.subscriber)
