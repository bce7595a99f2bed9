"""A mail server on loopback that keeps what it is handed: what a person would find in the mailbox."""

from __future__ import annotations

import contextlib
import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage


@dataclass
class Mailbox:
    """Every mail that came, oldest first."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return its address for EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.port}?tls=no"

    def to(self, address: str) -> list[EmailMessage]:
        return [one for one in self.mails if one["To"] == address]


@contextlib.contextmanager
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        """As much of SMTP as Python's client speaks (RFC 5321)."""

        def handle(self) -> None:
            self.say("220 mailbox")
            while line := self.rfile.readline():
                word = line.strip().upper()[:4]
                if word == b"DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(part.removeprefix(b".") if part.startswith(b"..") else part)
                    box.mails.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))
                self.say("221 bye" if word == b"QUIT" else "250 good")
                if word == b"QUIT":
                    return

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield box
        server.shutdown()
        thread.join()
