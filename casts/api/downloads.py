"""Our copies of artifacts, sent as they were stored."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from casts.access import readable_cast
from casts.errors import ArtifactExpired, ArtifactNotFound, ArtifactNotReady
from casts.models import Artifact
from casts.runtime import words_of
from core.api.cors import open_to_pages
from core.api.etags import is_current
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import SpellError
from core.names import safe_name

FILE_CHUNK = 256 * 1024  # bytes


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
    if request.method == "HEAD":  # or the whole file would be read only to be dropped
        file.close()
        response = HttpResponse(content_type="application/octet-stream")
    else:
        response = StreamingHttpResponse(file_chunks(request, file), content_type="application/octet-stream")
    response["Content-Length"] = str(found.size_bytes)
    response["Content-Disposition"] = content_disposition_header(True, safe_name(found.file_name)) or "attachment"
    response["Repr-Digest"] = f"sha-256=:{b64encode(digest).decode()}:"  # RFC 9530
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response


def opened_artifact(request: HttpRequest, cast_id: str, name: str) -> tuple[Artifact, File[bytes]]:
    """Return a stored artifact and its open file; raise ArtifactNotFound, ArtifactExpired or ArtifactNotReady."""
    cast = readable_cast(request, cast_id).whole()
    found = cast.artifacts.filter(name=name).first()
    match found:
        case None:
            raise ArtifactNotFound(
                f"This cast has no artifact {name!r}. GET {request.path.rsplit('/', 2)[0]} lists them."
            )
        case Artifact(state=Artifact.State.EXPIRED):
            raise ArtifactExpired(f"Artifact {name!r} was kept until {found.expires_at:%Y-%m-%d} and is gone.")
        case Artifact(state=Artifact.State.FAILED):
            why = f": {found.error}" if cast.spell.show_run else "; the operator can see why."  # may quote the runtime
            raise ArtifactExpired(f"Artifact {name!r} could not be copied{why}")
        case Artifact(state=Artifact.State.PENDING):
            raise ArtifactNotReady(words_of(cast).artifact_pending.format(name=name), headers={"Retry-After": "5"})
    return found, found.file.open("rb")


async def file_chunks(request: HttpRequest, file: File[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await in_thread(request, file.read, FILE_CHUNK):
            yield chunk
    finally:
        file.close()
