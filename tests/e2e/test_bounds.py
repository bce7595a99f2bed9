"""What the web server itself bounds: heads, bodies, and protocols that nobody speaks here."""

from __future__ import annotations

import socket
from pathlib import Path

from core import limits
from tests.e2e.platform import Platform, until

HEAD = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_what_occupies_a_server_is_refused(tmp_path: Path):
    web = Platform(tmp_path, REQUEST_HEAD_SECONDS="2")
    web.start("web")

    def told(sent: str) -> str:
        """Send this and no more; return how the answer begins."""
        with socket.create_connection(("127.0.0.1", web.web_port), timeout=60) as client:
            client.sendall(sent.encode())
            return client.recv(100).decode().split("\r\n")[0]

    def refused(path: str, most: int) -> str:
        return told(HEAD.format(path) + f"Content-Length: {most + 1}\r\n\r\n")

    try:
        until(lambda: web.answers(web.url + "/api/v1/schema"))
        assert told(HEAD.format("/api/v1/cast")) == "HTTP/1.1 408 Request Timeout"
        assert told(HEAD.replace("POST", "GET").format("/api/v1/cast") + UPGRADE) == "HTTP/1.1 403 Forbidden"
        assert refused("/admin/login/", limits.FORM_BYTES).startswith("HTTP/1.1 413 ")
        assert refused("/api/v1/cast", limits.BODY_BYTES).startswith("HTTP/1.1 413 ")
        assert refused("/api/webhooks/github", limits.WEBHOOK_BYTES).startswith("HTTP/1.1 413 ")
        assert "Traceback" not in web.log("web")
    finally:
        web.stop("web")
