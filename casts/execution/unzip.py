"""One small member out of a zip that a stranger packed.

`zipfile` makes an object of every entry before anybody can ask how many there are, and unpacks bzip2 and LZMA into
memory without a bound. So the directory is read here: its size and its number of entries are bounded before it is, one
entry of it is kept, and of that member no more is unpacked than was asked for, whatever its declared size says.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import IO

from core.limits import ZIP_DIRECTORY_BYTES, ZIP_ENTRIES

CHUNK = 16 * 1024  # bytes of packed data at a time
STORED, DEFLATED = 0, 8
NAMES = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: a password, a certificate, a masked directory
# What fields of two and of four bytes hold whose value is elsewhere, in the records of a zip64.
ELSEWHERE_2, ELSEWHERE_4 = 0xFFFF, 0xFFFFFFFF

END_MARK, ENTRY_MARK, MEMBER_MARK = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
END = Struct("<4s4H2LH")
ENTRY = Struct("<4s6H3L5H2L")
MEMBER = Struct("<4s5H3L2H")
MAX_COMMENT = 0xFFFF
ZIP64_LOCATOR_MARK, ZIP64_LOCATOR_BYTES = b"PK\x06\x07", 20


class BadZip(ValueError):
    """The zip is damaged, hostile, or packed in a way that we don't read; str() says how."""


@dataclass(frozen=True)
class Directory:
    entries: int
    size: int
    offset: int  # where it begins, and the data ends


@dataclass(frozen=True, slots=True)
class Entry:
    name: bytes
    flags: int
    method: int
    when: tuple[int, int]  # time and date, as DOS has them
    crc: int
    packed_size: int
    size: int  # unpacked, as the zip says
    offset: int

    @property
    def text(self) -> str:
        """The name; who packed it without saying that it is UTF-8 most likely did so all the same."""
        try:
            return self.name.decode()
        except UnicodeDecodeError:
            return self.name.decode("cp437")

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & ENCRYPTED)


def is_zip(stored: IO[bytes]) -> bool:
    """Return whether the file begins as a zip does, an empty one too."""
    stored.seek(0)
    return stored.read(4) in (MEMBER_MARK, END_MARK)


def member(stored: IO[bytes], name: str, *, most: int) -> bytes | None:
    """Return the first `most` bytes of the file's member, None if it has none of that name. Raise BadZip."""
    directory = directory_of(stored)
    entry = entry_of(stored, directory, name.encode())
    return None if entry is None else b"".join(unpacked(stored, directory, entry, most))


def directory_of(stored: IO[bytes]) -> Directory:
    """Return where the directory is and how large it says it is, having checked that it may be read."""
    size = stored.seek(0, os.SEEK_END)
    start = max(0, size - END.size - MAX_COMMENT - ZIP64_LOCATOR_BYTES)
    tail = at(stored, start, size - start)
    found = tail.rfind(END_MARK, 0, len(tail) - END.size + len(END_MARK))
    if found < 0:
        raise BadZip("it has no directory")
    _, disk, first_disk, here, entries, bytes_, offset, _ = END.unpack_from(tail, found)
    locator = tail[max(0, found - ZIP64_LOCATOR_BYTES) : found]
    if locator.startswith(ZIP64_LOCATOR_MARK) or entries == ELSEWHERE_2 or ELSEWHERE_4 in (bytes_, offset):
        raise BadZip("it is a zip64, which is for more or larger files than are read here")
    if disk or first_disk or here != entries:
        raise BadZip("it is one part of several")
    if entries > ZIP_ENTRIES or bytes_ > ZIP_DIRECTORY_BYTES:
        raise BadZip(f"it has {entries} files; {ZIP_ENTRIES} are read, with {ZIP_DIRECTORY_BYTES} bytes of directory")
    if offset + bytes_ != start + found:
        raise BadZip("its directory is not where it says")
    return Directory(entries, bytes_, offset)


def entries_of(stored: IO[bytes], directory: Directory) -> Iterator[Entry]:
    """Yield all entries of the directory. Raise BadZip."""
    text = at(stored, directory.offset, directory.size)
    place = 0
    for _ in range(directory.entries):
        if len(text) - place < ENTRY.size:
            raise BadZip("its directory ends too early")
        mark, _, _, flags, method, *when, crc, packed, size, name, extra, comment, _, _, _, offset = ENTRY.unpack_from(
            text, place
        )
        if mark != ENTRY_MARK:
            raise BadZip("its directory is damaged")
        place += ENTRY.size
        yield Entry(text[place : place + name], flags, method, (when[0], when[1]), crc, packed, size, offset)
        place += name + extra + comment
    if place != len(text):
        raise BadZip("its directory is damaged")


def entry_of(stored: IO[bytes], directory: Directory, name: bytes) -> Entry | None:
    """Return the entry of this name, having walked through all of the directory."""
    found = [entry for entry in entries_of(stored, directory) if entry.name == name]
    if len(found) > 1:
        raise BadZip("it holds that file more than once")
    return found[0] if found else None


def start_of(stored: IO[bytes], directory: Directory, entry: Entry) -> int:
    """Return where a member's packed bytes begin; raise BadZip if the two places that tell of it disagree."""
    head = at(stored, entry.offset, MEMBER.size)
    mark, *_, name_bytes, extra_bytes = MEMBER.unpack(head)
    start: int = entry.offset + MEMBER.size + name_bytes + extra_bytes
    if mark != MEMBER_MARK or at(stored, entry.offset + MEMBER.size, name_bytes) != entry.name:
        raise BadZip("its directory and its data don't fit together")
    if start + entry.packed_size > directory.offset:
        raise BadZip("its data runs into its directory")
    return start


def unpacked(stored: IO[bytes], directory: Directory, entry: Entry, most: int) -> Iterator[bytes]:
    """Yield the member's bytes, `most` of them at most."""
    if entry.encrypted:
        raise BadZip("it is encrypted")
    if entry.method not in (STORED, DEFLATED):
        how = NAMES.get(entry.method, f"method {entry.method}")
        raise BadZip(f"it is packed with {how}; only stored and deflated files are read")
    start = start_of(stored, directory, entry)
    crc = left = 0
    # Packed bytes may unpack to nothing, however many they are.
    packed = packed_chunks(stored, start, min(entry.packed_size, 2 * most + CHUNK))
    for chunk in opened(packed, entry.method):
        kept = chunk[: most - left]
        left += len(kept)
        crc = zlib.crc32(chunk, crc)
        yield kept
        if left == most:
            return
    if crc != entry.crc:
        raise BadZip("its checksum is wrong")


def packed_chunks(stored: IO[bytes], start: int, size: int) -> Iterator[bytes]:
    for place in range(start, start + size, CHUNK):
        yield at(stored, place, min(CHUNK, start + size - place))


def opened(chunks: Iterator[bytes], method: int) -> Iterator[bytes]:
    """Yield what packed chunks hold, CHUNK bytes at a time."""
    if method == STORED:
        yield from chunks
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            rest = chunk
            while rest and not inflater.eof:
                yield inflater.decompress(rest, CHUNK)
                rest = inflater.unconsumed_tail
        while not inflater.eof and (more := inflater.decompress(b"", CHUNK)):
            yield more
    except zlib.error as exc:
        raise BadZip("its data is damaged") from exc
    if not inflater.eof:
        raise BadZip("its data ends too early")


def at(stored: IO[bytes], place: int, size: int) -> bytes:
    """Return these bytes of the file, all of them. Raise BadZip if it ends before."""
    stored.seek(place)
    read = stored.read(size)
    if len(read) != size:
        raise BadZip("it ends too early")
    return read
