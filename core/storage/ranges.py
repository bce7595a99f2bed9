"""A file in a bucket, read in parts: as much as is asked for comes, and little more."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

FIRST = 64 * 1024  # bytes that are asked for after a jump; who goes on reading gets four times as many each time
MOST = 8 * 1024 * 1024
DROPPED = 256 * 1024  # so many bytes are read for nothing, rather than a new connection made
TRIES = 3


class Body(Protocol):
    def read(self, amount: int) -> bytes: ...

    def close(self) -> None: ...


Ask = Callable[[int, int], tuple[Any, int]]


class Ranged(io.RawIOBase):
    """`ask` takes the first and the last byte, and returns those, to be read, and the size of the whole.

    No more than what `readinto` is given is in memory at a time: the answer is read from the connection.
    """

    def __init__(self, ask: Ask, broken: tuple[type[BaseException], ...]) -> None:
        self.ask, self.broken = ask, broken
        self.place = 0
        self.body: Body | None = None
        self.next = self.end = 0  # of the answer that is being read: its next byte, and the one behind its last
        self.window = FIRST
        self.size = 0
        self.body, self.size = ask(0, FIRST - 1)
        self.end = min(FIRST, self.size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        self.place = max(0, start + offset)
        return self.place

    def readinto(self, into: Any) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        left = min(len(into), self.size - self.place)
        if left <= 0:
            return 0
        trouble = "it is shorter than was said"
        for _ in range(TRIES):
            try:
                self.go_to_place()
                assert self.body is not None
                some = self.body.read(min(left, self.end - self.place))
                if some:
                    break
            except self.broken as exc:
                trouble = type(exc).__name__
            self.drop()  # it broke off, or is shorter than it said: what is missing is asked for anew
        else:
            raise OSError(errno.EIO, f"the file broke off: {trouble}")
        into[: len(some)] = some
        self.place = self.next = self.place + len(some)
        return len(some)

    def go_to_place(self) -> None:
        """Have the byte at our place be the next of an answer."""
        if self.body is not None and self.next == self.end and self.place == self.end:
            self.body, self.window = None, min(self.window * 4, MOST)
        elif self.body is not None and self.next <= self.place < self.end and self.place - self.next <= DROPPED:
            while self.next < self.place and (some := self.body.read(min(self.place - self.next, FIRST))):
                self.next += len(some)
        elif self.body is not None:
            self.drop()
            self.window = FIRST
        if self.body is None:
            last = min(self.place + self.window, self.size)
            self.body, _ = self.ask(self.place, last - 1)
            self.next, self.end = self.place, last

    def drop(self) -> None:
        """Let go of the answer; its connection is used again if what is left of it is little."""
        body, self.body = self.body, None
        if body is None:
            return
        try:
            if self.end - self.next <= DROPPED:
                while self.next < self.end and (some := body.read(FIRST)):
                    self.next += len(some)
        except self.broken:
            pass
        body.close()

    def close(self) -> None:
        if not self.closed:
            self.drop()
        super().close()


def opened(ask: Ask, broken: tuple[type[BaseException], ...]) -> IO[bytes]:
    """Open a file, to be read. Raise OSError."""
    file = Ranged(ask, broken)
    if file.size > FIRST:
        return cast(IO[bytes], io.BufferedReader(file, FIRST))
    with file:  # as a whole: of most zips the end, the beginning and the middle are read
        return io.BytesIO(file.readall())
