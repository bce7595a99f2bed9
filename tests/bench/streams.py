"""Ten thousand event streams held by one cheap client: plain sockets and epoll, times by the kernel's clock."""

from __future__ import annotations

import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Address = tuple[str, int]
Target = tuple[Address, bytes]  # where to, and the request

SO_TIMESTAMPNS = 35  # not in Python's socket module
IP_BIND_ADDRESS_NO_PORT = 24
AT_ONCE = 64  # connections that are being opened; servers that listen with asyncio's own backlog of 100 keep up
ROOM = socket.CMSG_SPACE(16)


def many_files() -> None:
    """Let this process and those it starts hold as many connections as the machine permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(slots=True)
class Stream:
    """One open stream. Times in nanoseconds of time.time_ns()."""

    number: int
    socket: socket.socket
    request: bytes
    began: int
    first: int = 0
    last: int = 0  # when its newest event came
    events: int = 0
    lost: bool = False


@dataclass
class Opening:
    """How opening went."""

    opened: int
    failed: int
    seconds: float
    first_byte_ms: list[float] = field(repr=False)

    @property
    def per_second(self) -> float:
        return self.opened / self.seconds if self.seconds else 0.0


class Streams:
    """All streams of one measurement."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.by_fd: dict[int, Stream] = {}
        self.all: list[Stream] = []
        self.source = 0

    def open(self, targets: Sequence[Target], *, at_once: int = AT_ONCE, patience: float = 90.0) -> Opening:
        """Open a stream to each target and wait for its first byte; give up on the rest after `patience` seconds."""
        began, deadline = time.monotonic(), time.monotonic() + patience
        waiting, new = list(reversed(targets)), []
        opening: set[int] = set()
        while (waiting or opening) and time.monotonic() < deadline:
            while waiting and len(opening) < at_once:
                stream = self._begin(*waiting.pop())
                opening.add(stream.socket.fileno())
                new.append(stream)
            for fd, what in self.epoll.poll(0.1):
                stream = self.by_fd[fd]
                if what & select.EPOLLOUT:
                    self._send(stream)
                else:
                    self._receive(stream)
                if stream.first or stream.lost:
                    opening.discard(fd)
        seconds = time.monotonic() - began
        for fd in opening:
            self._lose(self.by_fd[fd])
        good = [s for s in new if s.first and not s.lost]
        first = [(s.first - s.began) / 1e6 for s in good]
        return Opening(len(good), len(new) - len(good) + len(waiting), seconds, first)

    def _begin(self, address: Address, request: bytes) -> Stream:
        # An address of its own for every few thousand: the ports of one do not last for several measurements.
        self.source += 1
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((f"127.0.1.{1 + self.source // 4000 % 200}", 0))
        stream = Stream(len(self.all), client, request, time.time_ns())
        client.connect_ex(address)
        self.by_fd[client.fileno()] = stream
        self.all.append(stream)
        self.epoll.register(client.fileno(), select.EPOLLOUT)
        return stream

    def _send(self, stream: Stream) -> None:
        try:
            stream.socket.send(stream.request)
            self.epoll.modify(stream.socket.fileno(), select.EPOLLIN)
        except OSError:
            self._lose(stream)

    def _receive(self, stream: Stream) -> None:
        try:
            data, extra, _, _ = stream.socket.recvmsg(65536, ROOM)
        except BlockingIOError:
            return
        except OSError:
            data, extra = b"", []
        if not data:
            self._lose(stream)
            return
        now = time.time_ns()
        for level, kind, value in extra:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("qq", value[:16])
                now = seconds * 1_000_000_000 + nanoseconds
        if not stream.first:
            if not data.startswith(b"HTTP/1.1 200"):
                self._lose(stream)
                return
            stream.first = now
        came = data.count(b"\ndata: ")
        if came:
            stream.events += came
            stream.last = now

    def _lose(self, stream: Stream) -> None:
        if not stream.lost:
            stream.lost = True
            self.by_fd.pop(stream.socket.fileno(), None)
            self.epoll.unregister(stream.socket.fileno())
            stream.socket.close()

    def pump(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Read what comes, until it is enough (True) or the time is up."""
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for fd, _ in self.epoll.poll(left, 256):
                self._receive(self.by_fd[fd])
        return True

    def settle(self, events: int, *, seconds: float = 10.0) -> None:
        """Wait until every stream has had so many events."""
        self.pump(seconds, lambda: all(s.events >= events or s.lost for s in self.all))

    @property
    def held(self) -> int:
        return len(self.by_fd)

    @property
    def lost(self) -> int:
        return len(self.all) - len(self.by_fd)

    def close(self) -> None:
        for stream in list(self.by_fd.values()):
            self._lose(stream)
        self.epoll.close()
