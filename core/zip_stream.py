"""A zip that is written as it is sent, with its length known before: what is in it is copied, never packed anew.

Sizes beyond four gibibytes are written as zip64. Names are UTF-8.
Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct, pack

UTF_8, SIZES_FOLLOW = 0x800, 0x8
ELSEWHERE_2, ELSEWHERE_4 = 0xFFFF, 0xFFFFFFFF
STORED = 0
HEAD, ENTRY, END = Struct("<4s5H3L2H"), Struct("<4s6H3L5H2L"), Struct("<4s4H2LH")
END_64, LOCATOR_64 = Struct("<4sQ2H2L4Q"), Struct("<4sLQL")
OLD, ZIP64 = 20, 45  # the version of the format that a reader must know


@dataclass(slots=True)
class Packed:
    """One file of a zip: `packed` bytes will come, packed by `method`. `crc` is None while it is unknown."""

    name: str
    packed: int
    size: int
    method: int = STORED
    crc: int | None = None
    when: tuple[int, int] = (0, 33)  # time and date, as DOS has them: 1980

    @property
    def large(self) -> bool:
        return max(self.packed, self.size) >= ELSEWHERE_4

    @property
    def follows(self) -> bool:
        return self.crc is None

    def head(self) -> bytes:
        """Return what stands before its bytes."""
        name = self.name.encode()
        flags = UTF_8 | (SIZES_FOLLOW if self.follows else 0)
        sizes = (0, 0) if self.follows else (self.packed, self.size)
        extra = b""
        if self.large:
            extra = pack("<2H2Q", 1, 16, self.size if not self.follows else 0, self.packed if not self.follows else 0)
            sizes = (ELSEWHERE_4, ELSEWHERE_4)
        version = ZIP64 if self.large else OLD
        head = HEAD.pack(
            b"PK\3\4", version, flags, self.method, *self.when, self.crc or 0, *sizes, len(name), len(extra)
        )
        return head + name + extra

    def tail(self) -> bytes:
        """Return what stands behind its bytes."""
        if not self.follows:
            return b""
        return pack("<4sL2Q" if self.large else "<4s3L", b"PK\7\10", 0, self.packed, self.size)

    def entry(self, offset: int, crc: int) -> bytes:
        name = self.name.encode()
        flags = UTF_8 | (SIZES_FOLLOW if self.follows else 0)
        elsewhere: list[int] = []
        sizes = (self.packed, self.size)
        if self.large:
            elsewhere, sizes = [self.size, self.packed], (ELSEWHERE_4, ELSEWHERE_4)
        if offset >= ELSEWHERE_4:
            elsewhere.append(offset)
        extra = pack(f"<2H{len(elsewhere)}Q", 1, 8 * len(elsewhere), *elsewhere) if elsewhere else b""
        version = ZIP64 if extra else OLD
        where = min(offset, ELSEWHERE_4)
        lengths = (len(name), len(extra), 0, 0, 0)
        entry = ENTRY.pack(b"PK\1\2", version, version, flags, self.method, *self.when, crc, *sizes, *lengths, 0, where)
        return entry + name + extra


def end_of(count: int, offset: int, size: int) -> bytes:
    """Return a zip's last bytes, behind its directory."""
    old = END.pack(b"PK\5\6", 0, 0, *[min(count, ELSEWHERE_2)] * 2, min(size, ELSEWHERE_4), min(offset, ELSEWHERE_4), 0)
    if count < ELSEWHERE_2 and max(offset, size) < ELSEWHERE_4:
        return old
    new = END_64.pack(b"PK\6\6", END_64.size - 12, ZIP64, ZIP64, 0, 0, count, count, size, offset)
    return new + LOCATOR_64.pack(b"PK\6\7", 0, offset + size, 1) + old


def length_of(files: Iterable[Packed]) -> int:
    """Return how many bytes a zip of these files has."""
    place = directory = count = 0
    for one in files:
        directory += len(one.entry(place, 0))
        place += len(one.head()) + one.packed + len(one.tail())
        count += 1
    return place + directory + len(end_of(count, place, directory))


class Damaged(ValueError):
    """What was to be copied is not what it was said to be."""


def written(files: Iterable[tuple[Packed, Iterator[bytes]]]) -> Iterator[bytes]:
    """Yield a zip of these files, each with its packed bytes. Raise Damaged if those are too many or few."""
    place = 0
    entries: list[bytes] = []
    for one, chunks in files:
        head, crc, came = one.head(), 0, 0
        yield head
        for chunk in chunks:
            came += len(chunk)
            crc = zlib.crc32(chunk, crc) if one.follows else 0
            yield chunk
        if came != one.packed:
            raise Damaged(f"{one.name} has {came} bytes, not {one.packed}")
        crc = crc if one.crc is None else one.crc
        tail = one.tail() and b"PK\7\10" + pack("<L", crc) + one.tail()[8:]
        yield tail
        entries.append(one.entry(place, crc))
        place += len(head) + one.packed + len(tail)
    directory = b"".join(entries)
    yield directory
    yield end_of(len(entries), place, len(directory))
