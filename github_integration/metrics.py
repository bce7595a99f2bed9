"""What is measured of our calls to GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterator

import requests

from core.telemetry.metrics import Sample, counter, figure, histogram
from github_integration import errors
from github_integration.models import Installation

REQUESTS = counter(
    "spell_github_requests_total",
    "Calls to GitHub's API: ok, unchanged (304), rate_limited, refused (4xx), failed (5xx), unanswered, unsent.",
    "operation",
    "result",
)
REQUEST_SECONDS = histogram("spell_github_request_seconds", "How long GitHub's API took to answer.", "operation")
REMAINING = figure(
    "spell_github_quota_remaining", "Requests of the hour's that GitHub last said are left.", "installation"
)
LIMIT = figure("spell_github_quota_limit", "How many requests an hour GitHub gives.", "installation")

REPOSITORY = r"/repos/[^/]+/[^/]+"
OPERATIONS = [
    (re.compile(f"{method} {path}"), name)
    for method, path, name in (
        ("POST", rf"{REPOSITORY}/actions/workflows/[^/]+/dispatches", "dispatch_workflow"),
        ("POST", rf"{REPOSITORY}/dispatches", "dispatch_event"),
        ("GET", rf"{REPOSITORY}/actions/runs/\d+", "run"),
        ("GET", rf"{REPOSITORY}/actions/runs", "runs"),
        ("GET", rf"{REPOSITORY}/actions/workflows/[^/]+/runs", "runs"),
        ("GET", rf"{REPOSITORY}/actions/runs/\d+/.*jobs", "jobs"),
        ("GET", rf"{REPOSITORY}/actions/jobs/\d+/logs", "job_log"),
        ("GET", rf"{REPOSITORY}/actions/runs/\d+/artifacts", "artifacts"),
        ("GET", rf"{REPOSITORY}/actions/artifacts/.*", "artifact"),
        ("POST", rf"{REPOSITORY}/actions/runs/\d+/(force-)?cancel", "cancel"),
        (".*", rf"{REPOSITORY}/check-.*", "checks"),
        ("POST", r"/app/installations/\d+/access_tokens", "access_token"),
        (".*", r"/app/hook/deliveries.*", "hook_deliveries"),
    )
]


def operation_of(method: str, path: str) -> str:
    """Return which of our operations a call is; "other" for those of setting up and checking."""
    asked = f"{method} {path.partition('?')[0]}"
    return next((name for pattern, name in OPERATIONS if pattern.fullmatch(asked)), "other")


def answered(method: str, path: str, result: str, seconds: float) -> None:
    operation = operation_of(method, path)
    REQUESTS.labels(operation, result).inc()
    REQUEST_SECONDS.labels(operation).observe(seconds)


def result_of(answer: requests.Response) -> str:
    if answer.status_code == 304:
        return "unchanged"
    if answer.status_code >= 500:
        return "failed"
    if answer.status_code == 429 or (answer.status_code == 403 and is_limit(answer)):
        return "rate_limited"
    return "refused" if answer.status_code >= 400 else "ok"


def is_limit(answer: requests.Response) -> bool:
    return "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"


def result_of_error(error: errors.GitHubError) -> str:
    return "unsent" if isinstance(error, errors.NotSent) else "unanswered"


def quota() -> Iterator[Sample]:
    known = Installation.objects.filter(rate_limit__isnull=False, removed_at=None)
    for number, limit, remaining in known.values_list("pk", "rate_limit", "rate_remaining")[:1000]:
        yield LIMIT.is_(limit or 0, str(number))
        yield REMAINING.is_(remaining or 0, str(number))
