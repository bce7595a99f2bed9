"""What the web server itself bounds and refuses: heads, bodies, and protocols that nobody speaks here."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from core import limits
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import Platform, drop_database, prepared, until

HEAD = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# Requests whose end a proxy in front may see elsewhere than we do; what follows would be somebody's. RFC 9112, 6.3.
NEXT = "GET /api/v1/docs HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
AMBIGUOUS = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "Content-Length: +2\r\n\r\n{}",
    "Content-Length: 2,2\r\n\r\n{}",
    "Content-Length: -1\r\n\r\n{}",
    "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}",
    "Transfer-Encoding:\r\n chunked\r\nContent-Length: 2\r\n\r\n{}",
    "Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\n{}",
    "X-A: a\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "X-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "Host: example.com\r\nContent-Length: 2\r\n\r\n{}",
    "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
]


@pytest.mark.once  # the server answers before any of our code
def test_what_occupies_a_server_is_refused(tmp_path: Path):
    web = Platform(tmp_path, database=prepared(SPELLS)[0], REQUEST_HEAD_SECONDS="2")
    web.start("web")

    def told(sent: str) -> str:
        """Send this and no more; return how the answer begins."""
        with socket.create_connection(("127.0.0.1", web.web_port), timeout=60) as client:
            client.sendall(sent.encode())
            return client.recv(100).decode().split("\r\n")[0]

    def answers(sent: str) -> list[str]:
        """Send this and return the status lines of all answers, until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", web.web_port), timeout=60) as client:
            client.sendall(sent.encode())
            with client.makefile("rb") as answer:
                return re.findall(r"HTTP/1\.1 \d+", answer.read().decode())

    def refused(path: str, most: int) -> str:
        return told(HEAD.format(path) + f"Content-Length: {most + 1}\r\n\r\n")

    try:
        until(lambda: web.answers(web.url + "/api/v1/schema"))
        assert told(HEAD.format("/api/v1/cast")) == "HTTP/1.1 408 Request Timeout"
        assert told(HEAD.replace("POST", "GET").format("/api/v1/cast") + UPGRADE) == "HTTP/1.1 403 Forbidden"
        assert refused("/admin/login/", limits.FORM_BYTES).startswith("HTTP/1.1 413 ")
        assert refused("/api/v1/cast", limits.BODY_BYTES).startswith("HTTP/1.1 413 ")
        assert refused("/api/webhooks/github", limits.WEBHOOK_BYTES).startswith("HTTP/1.1 413 ")
        for ambiguous in AMBIGUOUS:
            assert answers(HEAD.format("/api/v1/cast") + ambiguous + NEXT) == ["HTTP/1.1 400"], ambiguous
        assert answers(HEAD.format("/api/v1/cast") + "Content-Length: 2\r\n\r\n{}" + NEXT) == [
            "HTTP/1.1 401",
            "HTTP/1.1 200",
        ]
        assert "Traceback" not in web.log("web")
    finally:
        web.stop("web")
        drop_database(web.database_url)
