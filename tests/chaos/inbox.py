"""Where callbacks go: a receiver that checks their signatures, and is out of order now and then."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Told:
    """One callback that arrived well signed."""

    message_id: str
    type: str
    cast_id: str
    status: str
    status_reason: str


class Inbox:
    """Keeps what arrives. One message in ten is answered with 503 when it comes first."""

    def __init__(self, *, seed: int) -> None:
        self.told: list[Told] = []
        self.forged = 0
        self.secret = ""
        self._dice = random.Random(f"{seed} inbox")
        self._seen: set[str] = set()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(inbox.take(body, dict(self.headers)))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:  # a sender that was killed
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ended"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self, secret: str) -> None:
        """Receive what is signed with this secret."""
        self.secret = secret
        self._thread.start()

    def close(self) -> None:
        """Receive no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Keep one message; return the status to answer with."""
        try:
            message = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.forged += 1
            return 401
        message_id, data = headers["webhook-id"], message["data"]
        if message_id not in self._seen and self._dice.random() < 0.1:
            self._seen.add(message_id)
            return 503
        self._seen.add(message_id)
        self.told.append(Told(message_id, message["type"], data["cast_id"], data["status"], data["status_reason"]))
        return 204
