"""Webhooks as GitHub sends them: its own samples, compact and about a run of ours, signed."""

from __future__ import annotations

import hmac
import json
import uuid
from functools import cache
from typing import Any

from tests.bench.load import request
from tests.bench.seed import FIRST_RUN
from tests.e2e.platform import DATA, REPOSITORY, SECRET

SAMPLES = DATA / "github" / "samples"
RUN_ID, JOB_ID = 987_654_321_001, 987_654_321_002  # stand in for the real ids until a webhook is made
SIZE = 12_500  # bytes: job samples are smaller than those of real repositories, and are padded to this


@cache
def template(sample: str, status: str, conclusion: str | None, done: int, total: int) -> tuple[str, bytes]:
    """Return event name and body of a sample about RUN_ID, with so many of its steps done."""
    payload: dict[str, Any] = json.loads((SAMPLES / sample).read_text())
    event = "workflow_run" if "workflow_run" in payload else "workflow_job"
    payload["action"] = status
    payload["repository"]["full_name"] = REPOSITORY
    about = payload[event]
    about |= {"status": status, "conclusion": conclusion, "run_attempt": 1}
    if event == "workflow_run":
        about |= {"id": RUN_ID, "event": "workflow_dispatch", "updated_at": "2026-11-23T10:00:00Z"}
    else:
        about |= {"id": JOB_ID, "run_id": RUN_ID, "steps": [step(n, done) for n in range(1, total + 1)]}
    body = json.dumps(payload, separators=(",", ":"))
    if len(body) < SIZE:
        payload["sender"]["padding"] = "x" * (SIZE - len(body) - 13)
        body = json.dumps(payload, separators=(",", ":"))
    return event, body.encode()


def step(number: int, done: int) -> dict[str, Any]:
    status = "completed" if number <= done else "in_progress" if number == done + 1 else "queued"
    at = "2026-11-23T10:00:00Z"
    return {
        **{"name": f"Step {number}", "number": number, "status": status},
        **{"conclusion": "success" if number <= done else None, "started_at": at},
        "completed_at": at if number <= done else None,
    }


def webhook(number: int, event: str, body: bytes) -> bytes:
    """Return a signed request about the cast with this number."""
    run_id = FIRST_RUN + 1 + number
    body = body.replace(str(RUN_ID).encode(), str(run_id).encode()).replace(
        str(JOB_ID).encode(), str(run_id + 5_000_000_000).encode()
    )
    return post(event, body)


def post(event: str, body: bytes) -> bytes:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/bench",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex(),
    }
    return request("POST", "/api/webhooks/github", headers=headers, body=body)


def begun(number: int) -> bytes:
    """GitHub tells that the run of this cast is in progress: a change of status, one event."""
    return webhook(number, *template("workflow_run.in_progress.derived.json", "in_progress", None, 0, 0))


def stepped(number: int, done: int, total: int = 60) -> bytes:
    """GitHub tells that the run's job has come a step further: one event each time."""
    return webhook(number, *template("workflow_job.in_progress.json", "in_progress", None, done, total))


def life(number: int) -> list[bytes]:
    """What GitHub sends about one run with one job, in order."""
    job = "workflow_job.in_progress.json"
    return [
        webhook(number, *template("workflow_run.requested.json", "requested", None, 0, 0)),
        webhook(number, *template(job, "queued", None, 0, 0)),
        webhook(number, *template("workflow_run.in_progress.derived.json", "in_progress", None, 0, 0)),
        webhook(number, *template(job, "in_progress", None, 1, 7)),
        webhook(number, *template(job, "completed", "success", 7, 7)),
        webhook(number, *template("workflow_run.completed.json", "completed", "success", 0, 0)),
    ]
