"""Deliveries as GitHub makes them, through the real endpoint."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey
from casts.models import Cast
from github_integration.models import Installation, WorkflowTarget
from tests.casts.conftest import accept_cast
from tests.strong import WEBHOOK_SECRET
from webhooks.inbox import DeliveryWork
from webhooks.models import Delivery

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer  # with the test client's json()

ENDPOINT = "/api/webhooks/github"
SECRET = WEBHOOK_SECRET
SAMPLES = Path(__file__).parents[1] / "data" / "github" / "samples"
THREAD = threading.local()
ACTOR = "spells[bot]"  # who starts our runs
NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


@cache
def _sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


def sample(name: str) -> dict[str, Any]:
    """Return a fresh copy of one of GitHub's samples."""
    return copy.deepcopy(_sample(name))


def sign(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def own_client() -> Client:
    """Return this thread's client; a new one would load the middleware anew each time."""
    if not hasattr(THREAD, "client"):
        THREAD.client = Client()
    own: Client = THREAD.client
    return own


def deliver(event: str, body: Any, *, guid: str = "", **changes: Any) -> Answer:
    """POST one. `changes` are headers by name; None leaves one out."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(raw),
        "X-GitHub-Hook-ID": "1",
        "User-Agent": "GitHub-Hookshot/1",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    kind = headers.pop("Content-Type", "application/json")
    sent = {name: value for name, value in headers.items() if value is not None}
    return own_client().post(ENDPOINT, data=raw, content_type=kind, headers=sent)


def stored() -> Delivery:
    """Return the newest delivery."""
    found = Delivery.objects.first()
    assert found is not None
    return found


def work_off() -> int:
    """Have a worker try everything that is pending, due or not; return how many."""
    Delivery.due_rows().filter(due_at__isnull=False).update(due_at=timezone.now())
    rows = DeliveryWork().rows().claim(limit=100, lease=dt.timedelta(seconds=30))
    for row in rows:
        row.give_back(DeliveryWork().step(row))
    return len(rows)


@pytest.fixture
def make_cast(api_key: ApiKey, make_spell: Any) -> Callable[..., Cast]:
    """Accept a cast whose dispatch has begun; fields of the cast and of its spell may be given."""

    def make(*, spell: dict[str, Any] | None = None, **fields: Any) -> Cast:
        number = settings.GITHUB_APP_INSTALLATION_ID or 0
        Installation.objects.update_or_create(pk=number, defaults={"actor_login": ACTOR})
        made = accept_cast(
            api_key=api_key, spell=make_spell(f"greet{Cast.objects.count()}", **(spell or {})), input={"name": "Ada"}
        )
        now = timezone.now()
        Cast.objects.filter(pk=made.pk).update(
            **{"dispatch_started_at": now, "dispatched_at": now, "dispatch_attempts": 1} | fields
        )
        return again(made)

    return make


@pytest.fixture
def cast(make_cast: Callable[..., Cast]) -> Cast:
    """A cast whose dispatch has begun and whose run is not known yet."""
    return make_cast()


@pytest.fixture
def running(make_cast: Callable[..., Cast]) -> Cast:
    """A cast that knows its run, number 42."""
    return make_cast(run_key="42")


def again(cast: Cast) -> Cast:
    """Return the cast as it is now."""
    return Cast.objects.select_related("spell").get(pk=cast.pk)


def at(seconds: float) -> str:
    return (NOON + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(cast: Cast, *, after: float = 0) -> str:
    """Return a time on GitHub's clock, in seconds after the cast's dispatch began."""
    begun = cast.dispatch_started_at or cast.created_at
    return (begun + dt.timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_event(cast: Cast, action: str, *, title: str | None = None, run_id: int = 42, **run: Any) -> dict[str, Any]:
    """Return GitHub's sample of a run's event, made to be about this cast's run."""
    body = sample("workflow_run.in_progress.derived" if action == "in_progress" else f"workflow_run.{action}")
    body["repository"]["full_name"] = cast.run_scope
    body["workflow_run"] |= {
        "id": run_id,
        "display_title": f"greet {cast.run_tag}" if title is None else title,
        "event": cast.spell.runtime,
        "path": f".github/workflows/{WorkflowTarget.of(cast.spell).workflow_used}",
        "html_url": f"https://github.com/{cast.run_scope}/actions/runs/{run_id}",
        "actor": {"login": ACTOR},
        "created_at": made(cast),
        "run_started_at": at(1),
        "updated_at": at({"requested": 1, "in_progress": 3, "completed": 9}[action]),
    }
    body["workflow_run"] |= run
    return body


def job_event(cast: Cast, action: str, *, run_id: int = 42, number: int = 5, **job: Any) -> dict[str, Any]:
    """Return GitHub's sample of a job's event, made to be about this cast's run."""
    body = sample("workflow_job.completed.success" if action == "completed" else f"workflow_job.{action}")
    body["repository"]["full_name"] = cast.run_scope
    body["workflow_job"] |= {"id": number, "run_id": run_id, "created_at": made(cast)} | job
    return body
