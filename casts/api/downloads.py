"""Our copies of artifacts, as they were stored: sent by us, or by the storage itself, at an address that we sign."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

from casts.access import readable_cast
from casts.errors import ArtifactExpired, ArtifactNotFound, ArtifactNotReady, StorageUnavailable
from casts.models import Artifact
from casts.runtime import words_of
from core.api.cors import open_to_pages
from core.api.etags import is_current
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import SpellError
from core.names import safe_name
from core.storage import signed_url

logger = logging.getLogger(__name__)
FILE_CHUNK = 256 * 1024  # bytes
NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@open_to_pages
async def artifact(request: HttpRequest, cast_id: str, name: str) -> HttpResponseBase:
    """Send our copy of one artifact, byte for byte, with its digest."""
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read artifacts with GET.", headers={"Allow": "GET, HEAD"})
    try:
        found = await in_thread(request, stored_artifact, request, cast_id, name)
        etag = f'"{found.sha256}"'
        if is_current(request.headers.get("If-None-Match", ""), etag):
            return HttpResponse(status=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
        sent = await in_thread(request, address_or_file, found)
    except SpellError as exc:
        return of_error(exc)
    if request.method == "HEAD":  # or the whole file would be read only to be dropped
        if not isinstance(sent, str):
            sent.close()
        return with_facts(HttpResponse(content_type="application/octet-stream"), found)
    if isinstance(sent, str):
        return HttpResponse(status=302, headers={"Location": sent, "Cache-Control": "no-store"})
    chunks = file_chunks(request, sent)
    return with_facts(StreamingHttpResponse(chunks, content_type="application/octet-stream"), found)


def with_facts(response: HttpResponseBase, found: Artifact) -> HttpResponseBase:
    digest = bytes.fromhex(found.sha256)
    response["Content-Length"] = str(found.size_bytes)
    response["Content-Disposition"] = content_disposition_header(True, safe_name(found.file_name)) or "attachment"
    response["Repr-Digest"] = f"sha-256=:{b64encode(digest).decode()}:"  # RFC 9530
    response["ETag"] = f'"{found.sha256}"'
    response["Cache-Control"] = "private, no-cache"
    return response


def stored_artifact(request: HttpRequest, cast_id: str, name: str) -> Artifact:
    """Return a stored artifact; raise ArtifactNotFound, ArtifactExpired or ArtifactNotReady."""
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
    return found


def address_or_file(found: Artifact) -> str | File[bytes]:
    """Return the storage's own address of a stored artifact, or its open file. Raise what `reading` does."""
    assert found.file.name is not None
    with reading(found):
        return signed_url(found.file.name, save_as=safe_name(found.file_name)) or found.file.open("rb")


@contextmanager
def reading(found: Artifact) -> Iterator[None]:
    """Raise ArtifactNotFound if the file of a stored artifact is missing, StorageUnavailable if it can't be read."""
    facts = {"cast_id": str(found.cast_id), "artifact": found.name, "file": found.file.name}
    try:
        yield
    except NO_FILE as exc:
        logger.error("the file of an artifact is missing", exc_info=exc, extra=facts)
        raise ArtifactNotFound(
            f"The file of artifact {found.name!r} is missing in the service's storage. That is a failure of the "
            "service, not of your request: ask its operator, who may bring it back. If it is lost, cast again."
        ) from exc
    except OSError as exc:
        logger.error("storage unavailable", exc_info=exc, extra=facts)
        why = "The service can't reach its storage of artifacts at the moment. Try again."
        raise StorageUnavailable(why, headers={"Retry-After": "5"}) from exc


async def file_chunks(request: HttpRequest, file: File[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await in_thread(request, file.read, FILE_CHUNK):
            yield chunk
    finally:
        file.close()
