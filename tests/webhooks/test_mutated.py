"""Samples with parts missing or replaced: taken in or refused as malformed, and never a crash."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casts.models import Cast
from webhooks.inbox import receive_delivery
from webhooks.models import Delivery
from webhooks.reading import Malformed

from .conftest import SAMPLES, job_event, run_event, sample

pytestmark = pytest.mark.django_db

EVENTS = ("workflow_run", "workflow_job", "ping", "installation", "installation_repositories")
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json") if path.stem.split(".")[0] in EVENTS)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**31, 2**70),
    st.floats(),
    st.text(max_size=6),
    st.text(min_size=600, max_size=700),
    st.sampled_from(["\x00", "\ud800", "completed", "2026-11-23T10:00:00Z", "9999-12-31T23:59:59-23:00"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.integers()), max_size=2),
)
CAREFULLY = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(body: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to what we may read: two levels deep, and the steps of a job."""
    keys = body if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else ()
    below = [(*at, key) for key in keys]
    deep = len(at) < 1 or at[-1] == "steps" or (len(at) == 2 and at[1] == "steps") or at[-1:] == ("installation",)
    wanted = ("workflow_run", "workflow_job", "installation", "repository", "account", "steps")
    return below + [p for path in below for p in places(body[path[-1]], path) if deep or path[-1] in wanted]


@st.composite
def mutated(draw: st.DrawFn, body: dict[str, Any]) -> dict[str, Any]:
    """Replace or remove one to four parts of a body."""
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(places(body) or [("action",)]))
        holder = body
        for key in path[:-1]:
            holder = holder[key]
        if draw(st.booleans()):
            holder[path[-1]] = draw(JUNK)
        elif isinstance(holder, dict):
            holder.pop(path[-1], None)
    return body


def offer(event: str, body: dict[str, Any]) -> None:
    """Take a body in; it is stored with an outcome, or was malformed and left nothing."""
    guid = str(uuid.uuid4())
    try:
        assert receive_delivery(guid=guid, event=event, body=json.dumps(body).encode())
    except Malformed:
        assert not Delivery.objects.filter(guid=guid).exists()
        return
    row = Delivery.objects.get(guid=guid)
    assert json.loads(row.body) == body
    assert (row.due_at is not None) == (row.outcome == Delivery.Outcome.PENDING)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(CAREFULLY, max_examples=8)
def test_mutated_sample_is_taken_in_or_malformed(name: str, data: st.DataObject) -> None:
    offer(name.split(".")[0], data.draw(mutated(sample(name))))


@given(data=st.data(), action=st.sampled_from(["requested", "in_progress", "completed"]))
@CAREFULLY
def test_mutated_news_of_our_own_run_never_crash(running: Cast, data: st.DataObject, action: str) -> None:
    offer("workflow_run", data.draw(mutated(run_event(running, action))))
    Cast.objects.filter(pk=running.pk).update(run_finished_at=None, observation=None)


@given(data=st.data(), action=st.sampled_from(["queued", "in_progress", "completed"]))
@CAREFULLY
def test_mutated_news_of_our_own_job_never_crash(running: Cast, data: st.DataObject, action: str) -> None:
    offer("workflow_job", data.draw(mutated(job_event(running, action))))
    Cast.objects.filter(pk=running.pk).update(jobs=[], observation=None)


@given(data=st.data(), action=st.sampled_from(["requested", "in_progress", "completed"]))
@CAREFULLY
def test_mutated_news_never_crash_while_the_run_is_not_known(cast: Cast, data: st.DataObject, action: str) -> None:
    offer("workflow_run", data.draw(mutated(run_event(cast, action))))
    Cast.objects.filter(pk=cast.pk).update(run_key=None, run_finished_at=None, observation=None)
