"""Pictures and PDFs among artifacts, sent so that a page may show them and nothing in them may do anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import islice

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from casts.api.downloads import reading, stored_artifact
from casts.errors import NoPreview
from casts.execution.contents import PDF, Kind, NotShown, preview
from casts.models import Artifact
from core.api.cors import open_to_pages
from core.api.etags import etag_of, is_current
from core.api.headers import NOWHERE
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import SpellError
from core.names import safe_name

AT_ONCE = 16  # chunks of 16 KiB that are read in one turn of a thread
# A picture that is opened by itself is a document of the browser's own, which styles itself.
PICTURE = {"Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; sandbox; {NOWHERE}"}
# Chromium's viewer is a plugin, which it loads in no sandbox; it has a process and an origin of its own. A PDF stands
# in a frame of our page, and nobody else's.
DOCUMENT = {
    "Content-Security-Policy": "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}

Chunks = Iterator[bytes]


@open_to_pages
async def artifact_preview(request: HttpRequest, cast_id: str, name: str) -> HttpResponseBase:
    """Send an artifact, or the file in it that `member` names, to be shown; only what its first bytes say it may be."""
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read previews with GET.", headers={"Allow": "GET, HEAD"})
    member = request.GET.get("member", "")
    try:
        found, file, (kind, size, chunks) = await in_thread(request, opened, request, cast_id, name, member)
    except SpellError as exc:
        return of_error(exc)
    headers = {
        **(DOCUMENT if kind.media_type == PDF else PICTURE),
        "ETag": etag_of(f"{found.sha256} {member}".encode()),
        "Cache-Control": "private, no-cache",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if is_current(request.headers.get("If-None-Match", ""), headers["ETag"]):
        file.close()
        return HttpResponse(status=304, headers=headers)
    shown_as = safe_name(member.rpartition("/")[2] or found.file_name)
    headers["Content-Disposition"] = content_disposition_header(False, shown_as) or "inline"
    if size is not None:  # a zip may say of its files what it likes
        headers["Content-Length"] = str(size)
    if request.method == "HEAD":
        file.close()
        return HttpResponse(content_type=kind.media_type, headers=headers)
    return StreamingHttpResponse(sent(request, file, chunks), content_type=kind.media_type, headers=headers)


def opened(
    request: HttpRequest, cast_id: str, name: str, member: str
) -> tuple[Artifact, File[bytes], tuple[Kind, int | None, Chunks]]:
    found = stored_artifact(request, cast_id, name)
    with reading(found):
        file = found.file.open("rb")
        return found, file, shown_of(file, name, member)


def shown_of(file: File[bytes], name: str, member: str) -> tuple[Kind, int | None, Chunks]:
    try:
        return preview(file, member)
    except NotShown as exc:
        file.close()
        of = f"{member[:100]!r} in artifact {name!r}" if member else f"artifact {name!r}"
        raise NoPreview(f"There is no preview of {of}: {exc}. Download the artifact.") from exc
    except BaseException:
        file.close()
        raise


async def sent(request: HttpRequest, file: File[bytes], chunks: Chunks) -> AsyncIterator[bytes]:
    try:
        while some := await in_thread(request, lambda: b"".join(islice(chunks, AT_ONCE))):
            yield some
    finally:
        file.close()
        with suppress(ValueError):  # the client has left while a thread reads; it ends by itself
            getattr(chunks, "close", lambda: None)()
