"""A GitHub that answers at once and counts: python -m tests.bench.github PORT. GET /_seen tells what it was asked."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from typing import Any

REPOSITORY = r"/repos/[^/]+/[^/]+"
HOURLY = 5000  # what an installation may ask in an hour; told in every answer


class Seen:
    """What was asked so far."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.dispatched: dict[str, int] = {}  # cast id: time.time_ns() at which its request was read
        self.next_run = 1
        self.reset_at = int(time.time()) + 3600

    def answer(self, method: str, path: str, body: bytes) -> Any:
        came = time.time_ns()
        path = path.partition("?")[0]
        if path == "/_seen":
            return {"calls": self.calls, "dispatched": self.dispatched}
        if path.endswith("/access_tokens"):
            self.calls["token"] += 1
            return {"token": "ghs_bench", "expires_at": "2099-01-01T00:00:00Z"}
        if path.endswith("/dispatches"):
            self.calls["dispatch"] += 1
            self.dispatched[json.loads(body)["inputs"]["cast_id"]] = came
            self.next_run += 1
            return {
                "workflow_run_id": self.next_run,
                "html_url": f"https://github.com/x/y/actions/runs/{self.next_run}",
            }
        if found := re.fullmatch(REPOSITORY + r"/actions/runs/(\d+)", path):
            self.calls["run"] += 1
            about = {"id": int(found[1]), "status": "in_progress", "conclusion": None, "run_attempt": 1}
            return about | {"event": "workflow_dispatch", "updated_at": "2026-11-23T10:00:00Z", "display_title": "x"}
        if path.endswith("/actions/runs"):
            self.calls["list"] += 1
            return {"total_count": 0, "workflow_runs": []}
        if path.endswith("/jobs"):
            self.calls["jobs"] += 1
            return {"total_count": 0, "jobs": []}
        self.calls[f"{method} {path}"] += 1
        return {}

    def remaining(self) -> int:
        return HOURLY - sum(self.calls[name] for name in ("run", "list", "jobs", "dispatch"))


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, seen: Seen) -> None:
        self.seen, self.buffer = seen, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self.buffer = b""
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        text = json.dumps(self.seen.answer(method, path, body)).encode()
        told = {
            "Content-Type": "application/json",
            "Content-Length": len(text),
            "X-RateLimit-Limit": HOURLY,
            "X-RateLimit-Remaining": self.seen.remaining(),
            "X-RateLimit-Reset": self.seen.reset_at,
        }
        head_lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        status = "201 Created" if path.endswith("/access_tokens") else "200 OK"
        self.transport.write(f"HTTP/1.1 {status}\r\n{head_lines}\r\n".encode() + text)


async def serve(port: int) -> None:
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(seen), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
