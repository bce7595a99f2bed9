"""The address before the web processes: it takes turns, passes over the dead, and hides no broken connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.e2e.platform import free_port


class Backend:
    """Says its name to whoever connects, then hangs up."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self.socket.accept()
                with visitor:
                    visitor.sendall(self.name)

    def die(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    both = [Backend(b"one"), Backend(b"two")]
    yield both
    for backend in both:
        backend.die()


@pytest.fixture
def proxy(backends: list[Backend]) -> Iterator[Proxy]:
    running = Proxy(free_port(), [backend.port for backend in backends])
    running.start()
    yield running
    running.stop()


def visit(proxy: Proxy) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as visitor:
        return visitor.recv(100)


def test_it_takes_turns_and_passes_over_the_dead(proxy: Proxy, backends: list[Backend]):
    assert [visit(proxy) for _ in range(4)] == [b"one", b"two", b"one", b"two"]
    backends[0].die()
    assert [visit(proxy) for _ in range(3)] == [b"two"] * 3
    backends[1].die()
    assert visit(proxy) == b""  # a connection that ends without a word, which a client repeats
