"""All artifacts of a cast as one zip, sent while it is read: nothing of it is kept in memory or on disk.

An artifact that is a zip, as most are, becomes a folder of its files, copied as they are packed. One that we
don't read (encrypted, damaged, with very many files, or hostile) is in it as it is.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

from django.core.files.base import File
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from casts.access import readable_cast
from casts.api.downloads import reading
from casts.errors import ArtifactExpired, ArtifactNotFound, ArtifactNotReady
from casts.execution import unzip
from casts.models import Artifact, Cast
from core import zip_stream
from core.api.cors import open_to_pages
from core.api.etags import is_current
from core.api.problems import of_error, problem
from core.db.threads import in_thread
from core.errors import SpellError
from core.limits import BUNDLE_FILES
from core.names import Names
from core.zip_stream import Packed, length_of

AT_ONCE = 256 * 1024  # bytes that are read in one turn of a thread
CHUNK = 64 * 1024
MISSING = "not in this zip.txt"
WHY = {"failed": "could not be copied", "expired": "is no longer kept"}

State = Artifact.State


@dataclass
class Part:
    """One artifact in the zip: its files, and where the packed bytes of each begin."""

    artifact: Artifact
    files: list[tuple[Packed, int]] = field(default_factory=list)


@dataclass
class Bundle:
    name: str
    parts: list[Part]
    note: bytes
    etag: str

    def files(self) -> Iterator[Packed]:
        for part in self.parts:
            for packed, _ in part.files:
                yield packed
        if self.note:
            yield self.packed_note()

    def packed_note(self) -> Packed:
        return Packed(MISSING, len(self.note), len(self.note))

    def written(self) -> Generator[bytes, None, None]:
        with closing(self.contents()) as contents:
            yield from zip_stream.written(contents)

    def contents(self) -> Generator[tuple[Packed, Iterator[bytes]], None, None]:
        for part in self.parts:
            with closing(part.artifact.file.open("rb")) as file:
                for packed, start in part.files:
                    yield packed, copied(file, start, packed.packed)
        if self.note:
            yield self.packed_note(), iter([self.note])


@open_to_pages
async def artifacts_zip(request: HttpRequest, cast_id: str) -> HttpResponseBase:
    """Send all stored artifacts of a cast in one zip."""
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read artifacts with GET.", headers={"Allow": "GET, HEAD"})
    try:
        cast, found = await in_thread(request, artifacts_of, request, cast_id)
        bundle = bundle_of(cast, found)
        headers = {"ETag": bundle.etag, "Cache-Control": "private, no-cache"}
        if is_current(request.headers.get("If-None-Match", ""), bundle.etag):
            return HttpResponse(status=304, headers=headers)
        names, left = Names(), BUNDLE_FILES
        for artifact in found:  # in turns, as each may have a long directory
            if artifact.state == State.STORED:
                part = await in_thread(request, part_of, artifact, names, left)
                left -= len(part.files)
                bundle.parts.append(part)
    except SpellError as exc:
        return of_error(exc)
    headers["Content-Length"] = str(length_of(bundle.files()))
    headers["Content-Disposition"] = f'attachment; filename="{bundle.name}"'
    if request.method == "HEAD":
        return HttpResponse(content_type="application/zip", headers=headers)
    return StreamingHttpResponse(sent(request, bundle), content_type="application/zip", headers=headers)


def artifacts_of(request: HttpRequest, cast_id: str) -> tuple[Cast, list[Artifact]]:
    """Return a cast and its artifacts; raise ArtifactNotFound, ArtifactNotReady or ArtifactExpired."""
    cast = readable_cast(request, cast_id).whole()
    found = sorted(cast.artifacts.all(), key=lambda one: one.name)
    states = {one.state for one in found}
    if not found:
        raise ArtifactNotFound("This cast has no artifacts.")
    if State.PENDING in states:
        waiting = sum(one.state == State.PENDING for one in found)
        raise ArtifactNotReady(
            f"{waiting} of {len(found)} artifacts are still being copied. Try again, or load the others one by one.",
            headers={"Retry-After": "5"},
        )
    if State.STORED not in states:
        raise ArtifactExpired("None of this cast's artifacts is here any more.")
    return cast, found


def bundle_of(cast: Cast, found: list[Artifact]) -> Bundle:
    missing = [f"{one.name}: {WHY[one.state]}\n" for one in found if one.state != State.STORED]
    note = "".join(missing).encode()
    told = "\n".join(f"{one.state} {one.sha256} {one.stored_at} {one.name}" for one in found)
    etag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
    return Bundle(f"artifacts-{cast.pk}.zip", [], note, etag)


def part_of(artifact: Artifact, names: Names, left: int) -> Part:
    """Return how an artifact is in the zip: a zip that is read as a folder of its files, anything else as it is."""
    with reading(artifact), closing(artifact.file.open("rb")) as file:
        try:
            entries = entries_of(file, left)
        except unzip.BadZip:
            entries = []
    if not entries:
        assert artifact.size_bytes is not None
        name = names.unique(artifact.file_name or artifact.name)
        packed = Packed(name, artifact.size_bytes, artifact.size_bytes, when=dos_time(artifact.stored_at))
        return Part(artifact, [(packed, 0)])
    folder, inside = names.unique(artifact.name), Names()
    part = Part(artifact)
    for one, start in entries:
        path = f"{folder}/{inside.unique(one.text)}"
        part.files.append((Packed(path, one.packed_size, one.size, one.method, one.crc, one.when), start))
    return part


def entries_of(file: File[bytes], left: int) -> list[tuple[unzip.Entry, int]]:
    """Return a zip's files and where their bytes begin, none if it is no zip; raise BadZip for one not to be read."""
    if not unzip.is_zip(file):
        return []
    directory = unzip.directory_of(file)
    if directory.entries > left:
        raise unzip.BadZip("it has too many files")
    found = []
    for entry in unzip.entries_of(file, directory):
        if entry.encrypted:
            raise unzip.BadZip("it is encrypted")
        if not entry.name.endswith(b"/"):
            found.append((entry, unzip.start_of(file, directory, entry)))
    end = 0
    for entry, start in sorted(found, key=lambda one: one[1]):
        if entry.offset < end:  # a few bytes that are meant to count many times over
            raise unzip.BadZip("its files overlap")
        end = start + entry.packed_size
    return found


def dos_time(at: dt.datetime | None) -> tuple[int, int]:
    if at is None:
        return 0, 33
    return at.hour << 11 | at.minute << 5 | at.second // 2, (at.year - 1980) << 9 | at.month << 5 | at.day


def copied(file: File[bytes], start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    while size and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


async def sent(request: HttpRequest, bundle: Bundle) -> AsyncIterator[bytes]:
    reading = Reading(bundle.written())
    try:
        while some := await in_thread(request, reading.some):
            yield some
    finally:
        reading.close()


class Reading:
    """A zip that is being read, by one thread at a time, and left at any moment."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self.chunks, self.left = chunks, False

    def some(self) -> bytes:
        found: list[bytes] = []
        size = 0
        for chunk in self.chunks:
            found.append(chunk)
            if (size := size + len(chunk)) >= AT_ONCE:
                break
        if self.left:
            self.close()
        return b"".join(found)

    def close(self) -> None:
        """Close what is open; if a thread reads at this moment, it does so when it has read."""
        self.left = True
        with suppress(ValueError):
            self.chunks.close()
