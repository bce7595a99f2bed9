"""A GitHub whose runs take time: python -m tests.bench.runs '{"port": …, "hook": …, …}'. GET /_runs tells how it went.

Runs wait for a runner, work for some seconds and end; webhooks and dispatches' answers get lost as often as it is told.
Answers take as long as GitHub's do, and its list of runs lags by a second.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import itertools
import json
import random
import re
import socket
import struct
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

HOURLY = 5000
LIST_LAG = 1.0  # seconds
REPOSITORY = "demo/spells"


@dataclass
class Told:
    """What the simulation was started with."""

    port: int
    hook: str = ""  # where webhooks go; blank: none are sent
    secret: str = ""
    webhooks_lost: float = 0.0
    answers_lost: float = 0.0
    runners: int = 20
    seed: int = 1


@dataclass
class Line:
    """One run. Times are time.time()."""

    id: int
    title: str
    made_at: float
    began_at: float = 0.0
    ended_at: float = 0.0
    changes: list[tuple[float, str]] = field(default_factory=list)

    def status(self, now: float) -> str:
        if self.ended_at and self.ended_at <= now:
            return "completed"
        return "in_progress" if self.began_at and self.began_at <= now else "queued"


class World:
    """All runs, and who works on them."""

    def __init__(self, told: Told) -> None:
        self.told, self.chance = told, random.Random(told.seed)
        self.runs: dict[int, Line] = {}
        self.lock, self.numbers = threading.Lock(), itertools.count(1001)
        self.runners = ThreadPoolExecutor(told.runners)
        self.senders = ThreadPoolExecutor(16)
        self.asked: dict[str, int] = {}

    def start(self, cast_id: str) -> Line:
        run = Line(next(self.numbers), f"greet [cast:{cast_id}]", time.time())
        with self.lock:
            self.runs[run.id] = run
        self.tell(run, "workflow_run", "requested")
        self.tell(run, "workflow_job", "queued")
        self.runners.submit(self.work, run)
        return run

    def work(self, run: Line) -> None:
        time.sleep(self.chance.uniform(0.5, 2))
        run.began_at = time.time()
        self.tell(run, "workflow_run", "in_progress")
        self.tell(run, "workflow_job", "in_progress")
        time.sleep(self.chance.uniform(4, 8))
        run.ended_at = time.time()
        self.tell(run, "workflow_job", "completed")
        self.tell(run, "workflow_run", "completed")

    def tell(self, run: Line, event: str, action: str) -> None:
        if not self.told.hook or self.chance.random() < self.told.webhooks_lost:
            return
        about = self.run_of(run, time.time()) if event == "workflow_run" else self.job_of(run, time.time())
        repository = {"full_name": REPOSITORY}
        body = json.dumps(
            {"action": action, event: about, "repository": repository, "installation": {"id": 1}}
        ).encode()
        self.senders.submit(self.send, event, body, self.chance.uniform(0.1, 0.8))

    def send(self, event: str, body: bytes, delay: float) -> None:
        time.sleep(delay)
        signature = "sha256=" + hmac.new(self.told.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": event, "X-GitHub-Delivery": str(uuid.uuid4()), "X-Hub-Signature-256": signature}
        headers["Content-Type"] = "application/json"
        with contextlib.suppress(requests.RequestException):
            requests.post(self.told.hook, data=body, headers=headers, timeout=10)

    def run_of(self, run: Line, now: float) -> dict[str, Any]:
        status = run.status(now)
        changed = {"queued": run.made_at, "in_progress": run.began_at, "completed": run.ended_at}[status]
        return {
            "id": run.id,
            "run_attempt": 1,
            "status": status,
            "conclusion": "success" if status == "completed" else None,
            "display_title": run.title,
            "event": "workflow_dispatch",
            "path": ".github/workflows/spell-execution-example.yml",
            "actor": {"login": "spells[bot]"},
            "html_url": f"https://github.com/{REPOSITORY}/actions/runs/{run.id}",
            "created_at": stamp(run.made_at),
            "run_started_at": stamp(run.made_at),
            "updated_at": stamp(changed),
        }

    def job_of(self, run: Line, now: float) -> dict[str, Any]:
        status = run.status(now)
        begun, done = status != "queued", status == "completed"
        step = {"name": "work", "number": 1, "status": status, "conclusion": "success" if done else None}
        step |= {"started_at": stamp(run.began_at), "completed_at": stamp(run.ended_at) if done else None}
        return {
            "id": run.id * 10,
            "run_id": run.id,
            "run_attempt": 1,
            "name": "job",
            "status": status,
            "conclusion": "success" if done else None,
            "created_at": stamp(run.made_at),
            "started_at": stamp(run.began_at if begun else run.made_at),
            "completed_at": stamp(run.ended_at) if done else None,
            "runner_id": 1 if begun else None,
            "runner_name": "runner 1" if begun else None,
            "html_url": "",
            "steps": [step] if begun else [],
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        now = time.time()
        kind = re.sub(r"\d+", "N", path.removeprefix(f"/repos/{REPOSITORY}"))
        with self.lock:
            self.asked[f"{method} {kind}"] = self.asked.get(f"{method} {kind}", 0) + 1
        if path == "/_runs":
            runs = [{"id": run.id, "title": run.title, "ended_at": run.ended_at} for run in list(self.runs.values())]
            return 200, {"runs": runs, "asked": self.asked}
        if path.endswith("/access_tokens"):
            return 201, {"token": "ghs_bench", "expires_at": "2099-01-01T00:00:00Z"}
        if path == "/app":
            return 200, {"slug": "spells"}
        if path.endswith("/dispatches"):
            time.sleep(self.chance.uniform(0.15, 0.4))
            run = self.start(json.loads(body)["inputs"]["cast_id"])
            if self.chance.random() < self.told.answers_lost:
                raise ConnectionAbortedError
            return 200, {"workflow_run_id": run.id, "run_url": "", "html_url": "https://github.com/x"}
        time.sleep(self.chance.uniform(0.05, 0.15))
        if path.endswith("/actions/runs"):
            listed = [run for run in list(self.runs.values()) if run.made_at <= now - LIST_LAG]
            page = int(query.get("page", 1))
            some = sorted(listed, key=lambda run: -run.id)[100 * (page - 1) : 100 * page]
            return 200, {"total_count": len(listed), "workflow_runs": [self.run_of(r, now - LIST_LAG) for r in some]}
        if (found := re.search(r"/runs/(\d+)(/jobs|/artifacts)?$", path)) and int(found[1]) in self.runs:
            run = self.runs[int(found[1])]
            if found[2] == "/jobs":
                return 200, {"total_count": 1, "jobs": [self.job_of(run, now)]}
            if found[2] == "/artifacts":
                return 200, {"total_count": 0, "artifacts": []}
            return 200, self.run_of(run, now)
        return 404, {"message": "Not Found"}


def stamp(at: float) -> str:
    return dt.datetime.fromtimestamp(at, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def handler_of(world: World) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, told = world.answer(self.command, parts.path, dict(parse_qsl(parts.query)), body)
            except ConnectionAbortedError:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            text = json.dumps(told).encode()
            self.send_response(status)
            left = HOURLY - sum(count for name, count in world.asked.items() if "_runs" not in name)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(text)),
                "X-RateLimit-Limit": str(HOURLY),
                "X-RateLimit-Remaining": str(max(left, 0)),
                "X-RateLimit-Reset": str(int(time.time()) + 3000),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = serve

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


if __name__ == "__main__":
    told = Told(**json.loads(sys.argv[1]))
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", told.port), handler_of(World(told))).serve_forever()
