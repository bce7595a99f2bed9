"""What callbacks are sent to in tests: real HTTP servers on loopback, judged by the standardwebhooks library."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from standardwebhooks import Webhook

from accounts.models import ApiKey
from casts.callbacks.delivery import CallbackWork
from casts.lifecycle import ending
from casts.models import Callback, Cast, CastStatus, Spell
from tests.casts.conftest import accept_cast

LEASE = dt.timedelta(seconds=30)


@dataclass
class Received:
    """One request, as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """Return the message if the judge accepts its signature; raise WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """One server: `answers` are used up one by one, the last one for ever."""

    port: int
    scheme: str = "http"
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    body: bytes = b"thank you"
    hang: threading.Event | None = None  # set: answer nothing until it is set
    drip: bool = False  # send one header line after another, for ever
    got: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?of=mine"


def drip_into(answer: BufferedIOBase) -> None:
    """Send headers without end, slowly, until the other end has had enough."""
    with contextlib.suppress(OSError):
        for number in range(1000):
            answer.write(f"X-{number}: drip\r\n".encode())
            time.sleep(0.02)


@contextlib.contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            me.got.append(Received(self.path, dict(self.headers), body))
            if me.hang is not None:
                me.hang.wait(30)
                return
            status, headers = me.answers.pop(0) if len(me.answers) > 1 else me.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if me.drip:
                self.flush_headers()
                drip_into(self.wfile)
                return
            if status != 204:
                self.send_header("Content-Length", str(len(me.body)))
            self.end_headers()
            if status != 204:
                with contextlib.suppress(OSError):
                    self.wfile.write(me.body)

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        me = Receiver(server.server_port, scheme="https" if context else "http")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield me
        finally:
            server.shutdown()
            thread.join(5)


def ended(api_key: ApiKey, spell: Spell, status: CastStatus = CastStatus.SUCCEEDED, **fields: Any) -> Cast:
    """Cast, and end it as the worker would."""
    cast = accept_cast(api_key=api_key, spell=spell, input={"name": "Rincewind"}, **fields)
    [held] = Cast.due_rows().filter(pk=cast.pk).claim(limit=1, lease=LEASE)
    left = ending.Left(output={"greeting": "hello"})
    assert ending.end(held, status, reason="tests", message="Done.", left=left, charge=True)
    return Cast.objects.select_related("spell").get(pk=cast.pk)


def claim() -> Callback | None:
    """Claim the next due callback as the worker does."""
    rows = CallbackWork().rows().claim(limit=8, lease=LEASE)
    return rows[0] if rows else None


def work_off() -> int:
    """Step every callback that is due, as the worker does; return how many."""
    done = 0
    while row := claim():
        row.give_back(CallbackWork().step(row))
        done += 1
    return done


def make_due() -> None:
    """Let the time of the next try come."""
    Callback.due_rows().filter(due_at__isnull=False).wake()
