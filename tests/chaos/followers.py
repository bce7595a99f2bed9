"""Who watches a cast: reads its stream as EventSource does, and reconnects whenever the connection breaks."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import requests

from tests.e2e.platform import AGENT

QUIET = 20.0  # seconds without even a heartbeat until a connection counts as dead


@dataclass
class Watch:
    """What one follower saw."""

    cast_id: str
    ids: list[int] = field(default_factory=list)
    final: dict[str, Any] | None = None  # the last message, if it said so
    reconnects: int = 0
    troubles: list[str] = field(default_factory=list)  # what would have ended an EventSource for good

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Follower(threading.Thread):
    """Follows one cast until its final message."""

    def __init__(self, cast_id: str, events_url: str) -> None:
        super().__init__(name=f"follower of {cast_id}", daemon=True)
        self.watch = Watch(cast_id)
        self.url = f"{events_url}&after=0"  # from the start, not from a snapshot
        self.retry = 3.0  # seconds; the server may name another time
        self.last_id = ""
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Connect, and again, as the standard says: after a broken or ended connection, not after a refusal."""
        while self.watch.final is None and not self.watch.troubles and not self.over.is_set():
            with contextlib.suppress(requests.RequestException):
                self._connect()
            if self.watch.final is None:
                self.watch.reconnects += 1
                self.over.wait(self.retry)

    def give_up(self) -> None:
        """Stop following."""
        self.over.set()

    def _connect(self) -> None:
        headers = AGENT | {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        with requests.get(self.url, headers=headers, stream=True, timeout=(5, QUIET)) as stream:
            if stream.status_code != 200:
                at = time.strftime("%H:%M:%S")
                self.watch.troubles.append(f"{stream.status_code} after event {self.last_id or 'none'}, at {at}")
                return
            rest = b""
            for chunk in stream.iter_content(chunk_size=None):
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    self._take(frame.decode())
                if self.watch.final is not None:
                    return

    def _take(self, frame: str) -> None:
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if ": " in line and not line.startswith(":"))
        if "retry" in fields:
            self.retry = int(fields["retry"]) / 1000
        if "id" in fields:
            self.last_id = fields["id"]
        if "data" in fields and "event" not in fields:  # named ones are no messages: "restarting"
            data = json.loads(fields["data"])
            self.watch.ids.append(int(self.last_id))
            if data["final"]:
                self.watch.final = {"status": data["status"], "status_reason": data["status_reason"]}
