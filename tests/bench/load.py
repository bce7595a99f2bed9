"""A closed loop of HTTP requests: so many connections, each sends its next request when it has its answer."""

from __future__ import annotations

import math
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.measures import cpu_seconds, percentile
from tests.bench.streams import Address

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass
class Load:
    """What came of it. Latencies in milliseconds."""

    seconds: float
    latencies: list[float] = field(repr=False)
    statuses: Counter[int]
    cpu_ms: float = math.nan  # of the server's processes, for each request

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def at(self, percent: float) -> float:
        return percentile(self.latencies, percent)


class Connection:
    """One keep-alive connection. Sends block, which is brief on loopback; receiving waits for epoll."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.buffer = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what has come; return the status once the answer is whole. Raise ConnectionError."""
        data = self.socket.recv(262144)
        if not data:
            raise ConnectionError("closed before the answer")
        self.buffer += data
        return status_of(self.buffer)

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and return status and body; for use without a loop."""
        self.send(request)
        while (status := self.receive()) is None:
            pass
        return status, self.buffer.split(b"\r\n\r\n", 1)[1]

    def close(self) -> None:
        self.socket.close()


def status_of(answer: bytes) -> int | None:
    """Return the status of a whole HTTP/1.1 answer, None while some of it is missing."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    status = int(head[9:12])
    length = LENGTH.search(head)
    whole = len(body) >= int(length[1]) if length else status in (204, 304) or body.endswith(b"0\r\n\r\n")
    return status if whole else None


def request(
    method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b"", host: str = "127.0.0.1"
) -> bytes:
    """Return an HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{n}: {v}" for n, v in (headers or {}).items())]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def closed_loop(
    addresses: Sequence[Address],
    next_request: Callable[[], bytes],
    *,
    concurrency: int,
    seconds: float,
    pids: Sequence[int] = (),
) -> Load:
    """Ask as fast as answers come, on `concurrency` connections spread over the addresses."""
    used = cpu_seconds(pids)
    epoll, by_fd = select.epoll(), {}
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()

    def begin(address: Address) -> None:
        connection = Connection(address)
        by_fd[connection.socket.fileno()] = connection
        epoll.register(connection.socket.fileno(), select.EPOLLIN)
        connection.send(next_request())

    for number in range(concurrency):
        begin(addresses[number % len(addresses)])
    while (now := time.perf_counter()) - began < seconds:
        for fd, _ in epoll.poll(0.2):
            connection = by_fd[fd]
            try:
                status = connection.receive()
                if status is None:
                    continue
                now = time.perf_counter()
                latencies.append((now - connection.sent_at) * 1000)
                statuses[status] += 1
                connection.send(next_request())
            except OSError:
                statuses[0] += 1
                epoll.unregister(fd)
                by_fd.pop(fd).close()
                begin(connection.address)
    took = now - began
    for connection in by_fd.values():
        connection.close()
    epoll.close()
    cpu_ms = 1000 * (cpu_seconds(pids) - used) / max(1, len(latencies)) if pids else math.nan
    return Load(took, latencies, statuses, cpu_ms)
