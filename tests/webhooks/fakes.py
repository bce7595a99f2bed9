"""A runtime without a GitHub, for what a worker does after the webhooks; and GitHub's log of deliveries."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import responses
from django.db import connection
from django.utils import timezone

from casts.runtime import Failure, Observation
from github_integration.models import WorkflowTarget
from github_integration.words import WORDS


class Quiet:
    """Every run is as the webhooks told, and left nothing."""

    words, target = WORDS, WorkflowTarget

    def book(self, cast: Any) -> dt.datetime:
        return timezone.now()

    def start(self, cast: Any, *, before: Any) -> None:
        return None

    def may_own(self, cast: Any, seen: Any) -> bool:
        return True

    def find(self, cast: Any) -> None:
        return None

    def observe(self, cast: Any, *, closely: bool) -> Observation:
        return Observation(cast.run_scope, cast.run_key)

    def cancel(self, cast: Any, *, force: bool) -> None:
        return None

    def failure(self, cast: Any) -> Failure:
        return Failure()

    def artifacts(self, cast: Any) -> list[Any]:
        return []


def depth() -> tuple[bool, int]:
    """Return how deep in transactions we are; a test is in one of its own."""
    return connection.in_atomic_block, len(connection.savepoint_ids)


class Log:
    """GitHub's delivery log: newest first, a hundred lines a page, by cursor. Remembers what it was asked."""

    def __init__(self, http: responses.RequestsMock, api: str) -> None:
        self.api, self.lines, self.payloads = api, list[Any](), dict[int, Any]()
        self.pages, self.fetched = list[str](), list[int]()
        self.trouble: dict[str, Any] = {}  # (status, headers, body) by the path's end
        self.depth = depth()
        self.after_fetch: Callable[[int], object] = lambda number: None
        http.add_callback("GET", re.compile(f"{re.escape(api)}/app/hook/deliveries"), callback=self.answer)

    def add(self, event: str, payload: Any, *, ago: dt.timedelta = dt.timedelta(0), **line: Any) -> str:
        """Write one line, as if delivered so long ago; return its GUID. Add the oldest first."""
        number = 1000 + len(self.lines)
        about = payload if isinstance(payload, dict) else {}
        self.payloads[number] = payload
        self.lines.insert(
            0,
            {
                "id": number,
                "guid": str(uuid.uuid4()),
                "delivered_at": (timezone.now() - ago).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "redelivery": False,
                "duration": 0.1,
                "status": "failed to connect to host",
                "status_code": 502,
                "event": event,
                "action": about.get("action"),
                "installation_id": (about.get("installation") or {}).get("id"),
                "repository_id": None,
                "throttled_at": None,
            }
            | line,
        )
        guid: str = self.lines[0]["guid"]
        return guid

    def answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        parts = urlsplit(request.url)
        tail = parts.path.rpartition("/")[2]
        assert request.headers["Authorization"].count(".") == 2, "a JWT"
        assert depth() == self.depth, "a network call within a transaction"
        if tail in self.trouble:
            told = self.trouble[tail]
            if isinstance(told, list):
                told = told.pop(0) if told else None
            if told is not None:
                status, headers, body = told
                return status, headers, json.dumps(body)
        if tail != "deliveries":
            return self.show(int(tail))
        query = dict(parse_qsl(parts.query))
        assert query.pop("per_page") == "100"
        cursor = query.pop("cursor", "")
        assert not query
        self.pages.append(cursor)
        lines = [line for line in self.lines if not cursor or line["id"] < int(cursor.removeprefix("v1_"))]
        head = {}
        if len(lines) > 100:
            address = f"{self.api}/app/hook/deliveries?per_page=100&cursor=v1_{lines[99]['id']}"
            head = {"Link": f'<{address}>; rel="next"'}
        return 200, head, json.dumps(lines[:100])

    def show(self, number: int) -> tuple[int, dict[str, str], str]:
        self.fetched.append(number)
        self.after_fetch(number)
        line = next((line for line in self.lines if isinstance(line, dict) and line["id"] == number), None)
        if line is None:
            return 404, {}, '{"message": "Not Found"}'
        sent = {"headers": {"X-GitHub-Delivery": line["guid"]}, "payload": self.payloads[number]}
        return 200, {}, json.dumps(line | {"url": "", "request": sent, "response": {"headers": {}, "payload": ""}})
