"""What the admin's tests share: rows as the platform itself would leave them, and pages as an operator sees them."""

from __future__ import annotations

import datetime as dt
import html
import itertools
import json
import re
import uuid
from typing import Any

from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import ApiKey
from casts.lifecycle import dispatching, ending, observing
from casts.models import Artifact, Cast, CastStatus, Spell
from casts.runtime import Job, JobStep, Observation, Run
from tests.casts.conftest import accept_cast
from webhooks import inbox
from webhooks.models import Delivery

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
run_ids = itertools.count(9_000_000_001)


def claimed(cast: Cast) -> Cast:
    """Hold a cast as a worker does."""
    lease = timezone.now() + dt.timedelta(seconds=30)
    Cast.objects.filter(pk=cast.pk).update(lease_until=lease, due_at=None, claim_number=F("claim_number") + 1)
    return Cast.objects.select_related("spell").get(pk=cast.pk)


def running_cast(api_key: ApiKey, spell: Spell, *, text: str = "Ada", url: str = "") -> Cast:
    """Accept a cast and follow its run into its first step."""
    cast = claimed(accept_cast(api_key=api_key, spell=spell, input={"name": text}, metadata={"order": text}))
    dispatching.intend_dispatch(cast)
    run_id = next(run_ids)
    url = url or f"https://github.com/{cast.run_scope}/actions/runs/{run_id}"
    dispatching.dispatched(cast, Run(str(run_id), url))
    now = timezone.now().replace(microsecond=0)
    steps = (JobStep(text, 1, "in_progress", started_at=now), JobStep("Tidy up", 2, "queued"))
    job = Job(run_id + 1, "spell", "in_progress", started_at=now, steps=steps)
    seen: dict[str, Any] = {"title": f"{text} {cast.run_tag}", "url": url, "run_started_at": now, "updated_at": now}
    observing.observe(cast.pk, Observation(cast.run_scope, str(run_id), status="in_progress", jobs=(job,), **seen))
    return claimed(cast)


def ended_cast(api_key: ApiKey, spell: Spell, *, failed: bool = False, text: str = "Ada", url: str = "") -> Cast:
    """Follow a cast to its end, with an artifact."""
    cast = running_cast(api_key, spell, text=text, url=url)
    now = timezone.now()
    assert cast.run_key is not None
    Artifact.objects.create(
        cast=cast, name="spell-result", remote_id=int(cast.run_key), state=Artifact.State.STORED, file=f"{cast.pk}/1",
        file_name="spell-result.zip", size_bytes=2048, sha256="ab" * 32, stored_at=now, expires_at=now,
    )  # fmt: skip
    Artifact.objects.create(cast=cast, name=text, remote_id=1, state=Artifact.State.FAILED, error=f"No more {text}")
    status, reason = (CastStatus.FAILED, "run_failed") if failed else (CastStatus.SUCCEEDED, "succeeded")
    error = {"reason": reason, "log_tail": [text]} if failed else None
    remark = {"level": "warning", "title": text, "message": text, "file": text, "line": 1, "job": text}
    left = ending.Left(output={"greeting": f"Hello {text}"}, summary=f"# {text}", annotations=[remark])
    assert ending.end(cast, status, reason=reason, message=f"Done: {text}", error=error, left=left, charge=True)
    return Cast.objects.get(pk=cast.pk)


def delivered(sample: dict[str, Any], *, event: str, run_id: int | None = None, **payload: Any) -> Delivery:
    """Take in one webhook delivery."""
    body = json.loads(json.dumps(sample)) | payload
    if run_id is not None:
        body["workflow_run"]["id"] = run_id
    guid = str(uuid.uuid4())
    inbox.receive_delivery(guid=guid, event=event, body=json.dumps(body).encode())
    return Delivery.objects.get(guid=guid)


def page(client: Client, path: str, **query: Any) -> str:
    """Return a page's text; it opens, holds no inline script or style (our CSP forbids them), and no hostile markup."""
    answer = client.get(path, query)
    assert answer.status_code == 200, (path, answer.status_code, answer.headers.get("Location"))
    text = answer.content.decode()
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=[\"']|<script(?![^>]*\ssrc=)", text)
    assert "<img src=x" not in text
    return text


def listed(client: Client, path: str, **query: Any) -> int:
    """Return how many rows a changelist shows."""
    table = re.search(r'<table id="result_list">.*?<tbody>(.*?)</tbody>', page(client, path, **query), re.DOTALL)
    return table[1].count("<tr>") if table else 0


def shown(text: str) -> str:
    """Return a page's text as a person reads it: no tags, entities resolved, blanks joined."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def queries(client: Client, path: str) -> int:
    """Return how many queries a page needs."""
    with CaptureQueriesContext(connection) as asked:
        page(client, path)
    return len(asked)


def refuses_changes(client: Client, model: str, pk: Any) -> None:
    """Check that nobody adds, changes or deletes rows of `model` (app_name) here."""
    app, name = model.split(".")
    base = f"/admin/{app}/{name}/"
    for path in (f"{base}add/", f"{base}{pk}/change/", f"{base}{pk}/delete/"):
        assert client.post(path, {"post": "yes"}).status_code == 403, path
    assert client.get(f"{base}add/").status_code == 403
    answer = client.post(base, {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"}, follow=True)
    assert "Successfully deleted" not in answer.content.decode()
    seen = page(client, f"{base}{pk}/change/")
    assert 'name="_save"' not in seen
    assert "deletelink" not in seen
