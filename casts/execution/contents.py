"""What is in an artifact, as far as a page shows it: pictures and PDFs, and the files of a zip.

What something is, its first bytes say, never its name. SVG and HTML are not in the list: they run scripts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from struct import unpack_from
from typing import IO, Any, NamedTuple

from casts.execution import unzip
from core.limits import CONTENTS_LOOKED_AT, CONTENTS_SHOWN, PREVIEW_BYTES, PREVIEW_PIXELS

HEAD = 64 * 1024  # bytes that are read of a file to tell what it is
NAME_CHARS = 200
PDF = "application/pdf"
ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".pdf")  # of files that are worth a look


class Kind(NamedTuple):
    media_type: str
    width: int = 0  # of a picture, as it says itself; 0 if that can't be told
    height: int = 0


class NotShown(ValueError):
    """There is no preview of it; str() says why."""


def look(stored: IO[bytes]) -> dict[str, Any]:
    """Return what is in a stored artifact, bounded, as it is kept beside it."""
    if not unzip.is_zip(stored):
        kind = kind_of(beginning(stored))
        return {"files": None, "members": [] if kind is None else [line("", size_of(stored), kind)]}
    try:
        directory = unzip.directory_of(stored)
        entries = [one for one in unzip.entries_of(stored, directory) if not one.name.endswith(b"/")]
    except unzip.BadZip:
        return {"files": None, "members": []}
    entries.sort(key=lambda one: (not one.text.lower().endswith(ENDINGS), one.text))
    members = []
    for number, entry in enumerate(entries[:CONTENTS_SHOWN]):
        worth = number < CONTENTS_LOOKED_AT and entry.text.lower().endswith(ENDINGS)
        kind = kind_of(beginning_of(stored, directory, entry)) if worth else None
        if "\0" not in entry.text and len(entry.text) <= NAME_CHARS:
            members.append(line(entry.text, entry.size, kind))
    return {"files": len(entries), "members": members}


def line(name: str, size: int, kind: Kind | None) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "size": size}
    if kind is None or too_large(kind, size):
        return told
    return told | {"type": kind.media_type, "width": kind.width, "height": kind.height}


def size_of(stored: IO[bytes]) -> int:
    return stored.seek(0, 2)


def beginning(stored: IO[bytes]) -> bytes:
    stored.seek(0)
    return stored.read(HEAD)


def beginning_of(stored: IO[bytes], directory: unzip.Directory, entry: unzip.Entry) -> bytes:
    try:
        return b"".join(unzip.unpacked(stored, directory, entry, HEAD))
    except unzip.BadZip:
        return b""


# --- One preview -------------------------------------------------------------------------------------------------


def preview(stored: IO[bytes], member: str) -> tuple[Kind, int | None, Iterator[bytes]]:
    """Return what a stored file, or a member of a zip, is, its size if it is sure, and its bytes. Raise NotShown."""
    if member:
        return preview_of_member(stored, member)
    size = size_of(stored)
    kind = shown(kind_of(beginning(stored)), size)
    stored.seek(0)
    return kind, size, iter(lambda: stored.read(unzip.CHUNK), b"")


def preview_of_member(stored: IO[bytes], member: str) -> tuple[Kind, None, Iterator[bytes]]:
    if not unzip.is_zip(stored):
        raise NotShown("it is no zip, so there are no files in it")
    try:
        directory = unzip.directory_of(stored)
        found = [one for one in unzip.entries_of(stored, directory) if one.text == member]
        if len(found) != 1:
            raise NotShown("there is no such file in it" if not found else "it holds that file more than once")
        chunks = unzip.unpacked(stored, directory, found[0], PREVIEW_BYTES)
        head = b""
        first: list[bytes] = []
        while len(head) < HEAD and (chunk := next(chunks, b"")):
            first.append(chunk)
            head += chunk
    except unzip.BadZip as exc:
        raise NotShown(f"it can't be unpacked: {exc}") from exc
    return shown(kind_of(head), found[0].size), None, itertools.chain(first, chunks)


def too_large(kind: Kind, size: int) -> bool:
    return size > PREVIEW_BYTES or kind.width * kind.height > PREVIEW_PIXELS


def shown(kind: Kind | None, size: int) -> Kind:
    if kind is None:
        raise NotShown("it is no PNG, JPEG, GIF, WebP, AVIF or PDF")
    if too_large(kind, size):
        raise NotShown(f"it is larger than {PREVIEW_BYTES:,} bytes or {PREVIEW_PIXELS:,} pixels")
    return kind


# --- Kinds -------------------------------------------------------------------------------------------------------


def kind_of(head: bytes) -> Kind | None:
    """Return what a file is by its first bytes, None if it is nothing that is shown."""
    if head.startswith(b"%PDF-"):
        return Kind(PDF)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind("image/png", *numbers(">LL", head, 16))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Kind("image/gif", *numbers("<HH", head, 6))
    if head.startswith(b"\xff\xd8\xff"):
        return Kind("image/jpeg", *jpeg_size(head))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind("image/webp", *webp_size(head))
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        place = head.find(b"ispe")
        return Kind("image/avif", *numbers(">LL", head, place + 8)) if place > 0 else Kind("image/avif")
    return None


def numbers(form: str, head: bytes, place: int) -> tuple[int, int]:
    if len(head) < place + (8 if form.endswith("LL") else 4):
        return 0, 0
    width, height = unpack_from(form, head, place)
    return width, height


def jpeg_size(head: bytes) -> tuple[int, int]:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        mark = head[place + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):  # a frame
            height, width = unpack_from(">HH", head, place + 5)
            return width, height
        place += 1 if mark == 0xFF else 2 + unpack_from(">H", head, place + 2)[0]
    return 0, 0


def webp_size(head: bytes) -> tuple[int, int]:
    form = head[12:16]
    if form == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if form == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if form == b"VP8 " and len(head) >= 30:
        width, height = unpack_from("<HH", head, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
