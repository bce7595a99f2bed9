"""The API's views that wait or stream: they hold no thread and no database connection while they do."""

from __future__ import annotations

import asyncio
import re
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from typing import Any

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response

from casts.access import readable_cast
from casts.live import hub
from casts.live.openings import Opening, Wish, openings, wish_of
from casts.models import Artifact, Cast
from casts.representation import cast_answer
from core.api.etags import is_current
from core.api.problems import of_error, problem
from core.db.threads import in_thread, rendered
from core.errors import SpellError

MAX_WAIT = 60  # seconds
FILE_CHUNK = 256 * 1024
# The charset is UTF-8 by definition of the format, but clients that take text without one for Latin-1 are many.
EVENTS = "text/event-stream; charset=utf-8"


class Malformed(SpellError):
    """A header or parameter that can't be read."""

    code, status, title = "MALFORMED_REQUEST", 400, "Malformed request"


class ArtifactNotFound(SpellError):
    """The cast has no such artifact."""

    code, status, title = "ARTIFACT_NOT_FOUND", 404, "Artifact not found"


class ArtifactExpired(SpellError):
    """It was there; its retention has passed."""

    code, status, title = "ARTIFACT_EXPIRED", 410, "Artifact expired"


class ArtifactNotReady(SpellError):
    """It is still being copied from GitHub."""

    code, status, title = "ARTIFACT_PENDING", 409, "Artifact not copied yet"


def wait_seconds(request: HttpRequest) -> int:
    """Return N of `Prefer: wait=N` (RFC 7240), 0 without it; raise Malformed for an N that is none."""
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait":
            value = value.strip().strip('"')
            if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= MAX_WAIT:
                raise Malformed(f"Prefer: wait=N takes whole seconds from 1 to {MAX_WAIT}; not {value[:20]!r}.")
            return int(value)
    return 0


def waitable(view: Callable[..., HttpResponseBase]) -> Callable[..., Any]:
    """Make a blocking view of one cast obey `Prefer: wait=N`: answer when the cast ends, or when N has passed."""

    @csrf_exempt
    @wraps(view)
    async def run(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            seconds = wait_seconds(request)
        except SpellError as exc:
            return of_error(exc)
        response = await in_thread(request, rendered, view, request, **kwargs)
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
                # It may have ended before we subscribed; what ends it afterwards, we are told.
                response = await in_thread(request, answer_again, shown["cast_id"], response)
                if not getattr(response, "data", shown)["final"]:
                    await hub.wait_until_final(subscriber, seconds)
                    response = await in_thread(request, answer_again, shown["cast_id"], response)
        response["Preference-Applied"] = f"wait={seconds}"
        return response

    return run


def answer_again(cast_id: str, before: HttpResponseBase) -> Response:
    """Return the cast as it is now, with the status and Location that the first answer had."""
    cast = Cast.objects.select_related("spell").get(pk=cast_id)
    after = cast_answer(cast, status=before.status_code)
    for name in ("accepted_renderer", "accepted_media_type", "renderer_context"):
        setattr(after, name, getattr(before, name))
    for name in ("Location", "Idempotent-Replayed"):
        if name in before.headers:
            after[name] = before.headers[name]
    after.render()
    return after


def position(request: HttpRequest) -> int | None:
    """Return the number of the last event that the client has, None if it has none; raise Malformed."""
    # The header first: EventSource sends it when it reconnects, to the address that it was once opened with.
    given = request.headers.get("Last-Event-ID") or (request.META.get("QUERY_STRING") and request.GET.get("after"))
    if given is None or given == "":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise Malformed(f"The last event's number is a whole number, as our ids are; not {given[:20]!r}.")
    return int(given)


async def opened(request: HttpRequest, cast_id: str, after: int | None) -> Opening:
    """Return what a stream begins with; raise what says why it may not."""
    name = hub.topic_name(cast_id)
    wish = None if name is None else wish_of(request, name, after)
    if wish is None:  # a session, or nothing that would open a cast
        cast = await in_thread(request, readable_cast, request, cast_id)
        wish = Wish(cast.pk, None, after)
    return await openings().open(request, wish)


# What a page may send and read by CORS, beyond what always may be: resuming a stream, revalidating a copy, digests.
FOR_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Content-Disposition, Repr-Digest",
}
PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Last-Event-ID, Cache-Control, If-None-Match",
    "Access-Control-Max-Age": "86400",
}


def open_to_pages(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let pages of any origin read what a signed link opens: the token is the permission, no cookie is asked for."""

    @csrf_exempt
    @wraps(view)
    async def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        by_link = bool(request.META.get("QUERY_STRING")) and "token" in request.GET
        if by_link and request.method == "OPTIONS":
            return HttpResponse(status=204, headers=PREFLIGHT)
        response: HttpResponseBase = await view(request, *args, **kwargs)
        if by_link:
            for name, value in FOR_PAGES.items():
                response[name] = value
        return response

    return run


class EventStream(StreamingHttpResponse):
    """A stream that lets go of its subscription also when the client left before the first byte was asked for."""

    def __init__(self, parts: AsyncIterator[bytes], *, subscriber: hub.Subscriber, release: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(parts, content_type=EVENTS, headers=headers)
        self.parts, self.subscriber, self.release = parts, subscriber, release
        self._loop = asyncio.get_running_loop()

    def start(self) -> dict[str, Any]:
        """Return the ASGI message that a response begins with."""
        headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in self.items()]
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    def close(self) -> None:
        """Close; Django's own handler calls this from another thread."""
        super().close()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.release)


@open_to_pages
async def events(request: HttpRequest, cast_id: str) -> HttpResponseBase:
    """Stream a cast's events: after Last-Event-ID or `?after=`, else a snapshot first, then live; 204 after the end."""
    if request.method != "GET":
        return problem(405, "METHOD_NOT_ALLOWED", "Read events with GET.", headers={"Allow": "GET"})
    ours, subscriber = hub.hub(), hub.Subscriber()
    begin = None
    try:
        after = position(request)
        if (name := hub.topic_name(cast_id)) is not None:
            # Before the table is read, so that nothing falls in between; who may not read gets nothing.
            ours.add(name, subscriber)
        begin = await opened(request, cast_id, after)
    except SpellError as exc:
        return of_error(exc)
    finally:
        if begin is None or (begin.final and not begin.first):
            ours.remove(subscriber)
    if begin.final and not begin.first:
        return HttpResponse(status=204)
    release = partial(ours.remove, subscriber)
    parts = hub.stream(subscriber, begin.first, after=begin.after, done=release)
    return EventStream(parts, subscriber=subscriber, release=release)


@open_to_pages
async def artifact(request: HttpRequest, cast_id: str, name: str) -> HttpResponseBase:
    """Send our copy of one artifact, byte for byte, with its digest."""
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read artifacts with GET.", headers={"Allow": "GET, HEAD"})
    try:
        found, file = await in_thread(request, opened_artifact, request, cast_id, name)
    except SpellError as exc:
        return of_error(exc)
    digest, etag = bytes.fromhex(found.sha256), f'"{found.sha256}"'
    response: HttpResponseBase
    if is_current(request.headers.get("If-None-Match", ""), etag):
        file.close()
        return HttpResponse(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
    if request.method == "HEAD":  # a gigabyte is not read to be thrown away
        file.close()
        response = HttpResponse(content_type="application/octet-stream")
    else:
        response = StreamingHttpResponse(file_chunks(request, file), content_type="application/octet-stream")
    response["Content-Length"] = str(found.size_bytes)
    response["Content-Disposition"] = content_disposition_header(True, found.file_name) or "attachment"
    response["Repr-Digest"] = f"sha-256=:{b64encode(digest).decode()}:"  # RFC 9530
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response


def opened_artifact(request: HttpRequest, cast_id: str, name: str) -> tuple[Artifact, File[bytes]]:
    """Return a stored artifact and its open file; raise what says why there is none."""
    cast = readable_cast(request, cast_id)
    found = cast.artifacts.filter(name=name).first()
    match found:
        case None:
            raise ArtifactNotFound(
                f"This cast has no artifact {name!r}. GET {request.path.rsplit('/', 2)[0]} lists them."
            )
        case Artifact(state=Artifact.State.EXPIRED):
            raise ArtifactExpired(f"Artifact {name!r} was kept until {found.expires_at:%Y-%m-%d} and is gone.")
        case Artifact(state=Artifact.State.FAILED):
            why = f": {found.error}" if cast.spell.show_run else "; the operator can see why."  # it may quote GitHub
            raise ArtifactExpired(f"Artifact {name!r} could not be copied{why}")
        case Artifact(state=Artifact.State.PENDING):
            raise ArtifactNotReady(
                f"Artifact {name!r} is still being copied from GitHub.", headers={"Retry-After": "5"}
            )
    return found, found.file.open("rb")


async def file_chunks(request: HttpRequest, file: File[bytes]) -> AsyncIterator[bytes]:
    """Yield a file's bytes, read in threads, then close it."""
    try:
        while chunk := await in_thread(request, file.read, FILE_CHUNK):
            yield chunk
    finally:
        file.close()
