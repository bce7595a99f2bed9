"""Doubles of GitHub for these tests: its published descriptions, and a server of a few lines on a real socket."""

from __future__ import annotations

import datetime as dt
import functools
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import responses

from casts.runtime import Observation

DATA = Path(__file__).parents[1] / "data"
SAMPLES = DATA / "github" / "samples"
API = "https://api.github.com"
REPO = "demo/spells"
RUN_7 = Observation(REPO, "7", status="queued")  # what {"id": 7} says
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)  # what is to be sent before then is in time
LONG_TOKEN = ("ghs_1_" + "eyJhbGciOiJSUzI1NiJ9." * 40)[:400] + ".signature-part_" + "x" * 104  # 520, with dots


@functools.cache
def described(operation: str) -> dict[str, Any]:
    """Return GitHub's description of one operation."""
    found: dict[str, Any] = json.loads((DATA / "github" / "openapi" / f"{operation}.json").read_text())
    return found


def check_request(operation: str, body: Any) -> None:
    """Hold a request body against GitHub's description; it refuses keys that it doesn't know."""
    schema = described(operation)["requestBody"]["schema"]
    jsonschema.Draft202012Validator({**schema, "$defs": described(operation)["$defs"]}).validate(body)
    assert set(body) <= set(schema["properties"]), f"keys unknown to {operation}"


def sample(name: str) -> dict[str, Any]:
    """Return a fresh copy of one of GitHub's sample webhooks."""
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[socket.socket], bool]  # returns whether the connection is kept
Reply = bytes | Behaviour


def answer(status: int, body: Any = b"", **headers: str) -> bytes:
    """Return a whole HTTP answer, on a connection that stays open."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever"] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if "Content_Length" not in headers and status != 204:
        lines.append(f"Content-Length: {len(raw)}")
    return "\r\n".join([*lines, "", ""]).encode() + raw


def reset(connection: socket.socket) -> bool:
    """Have the connection reset, as a dying proxy does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang(connection: socket.socket) -> bool:
    """Say nothing until the other end gives up."""
    with suppress(OSError):
        connection.settimeout(5)
        connection.recv(1)
    return False


def then_close(reply: bytes) -> Behaviour:
    """Answer, and close a connection that the answer said would be kept."""

    def behave(connection: socket.socket) -> bool:
        connection.sendall(reply)
        return False

    return behave


def sent_json(call: responses.Call) -> Any:
    """Return the JSON that a request carried."""
    assert call.request.body is not None
    return json.loads(call.request.body)


class Loopback:
    """Gives each request the next reply; the last one is repeated. Remembers everything it was asked."""

    def __init__(self, *replies: Reply, wrap: Callable[[socket.socket], socket.socket] | None = None) -> None:
        self.replies, self.wrap = deque(replies), wrap
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http{'s' if wrap else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        number = 0
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                number += 1
                threading.Thread(target=self._serve, args=(number, connection), daemon=True).start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        with suppress(OSError):  # the other end went away, or did not like our certificate
            connection = self.wrap(connection) if self.wrap else connection
            with connection, connection.makefile("rb") as stream:
                while (asked := read_request(stream, number)) is not None:
                    with self._lock:
                        self.asked.append(asked)
                        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
                    if isinstance(reply, bytes):
                        connection.sendall(reply)
                    elif not reply(connection):
                        return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # or the thread would wait for one more for ever
        self._listener.close()


def read_request(stream: Any, number: int) -> Asked | None:
    """Read one HTTP request; None at the connection's end."""
    first = stream.readline().split()
    if not first:
        return None
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Asked(number, first[0].decode(), first[1].decode(), headers, body)


@contextmanager
def loopback(*replies: Reply, **options: Any) -> Iterator[Loopback]:
    """Run a Loopback."""
    server = Loopback(*replies, **options)
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
