"""What a delivery says, before anything is done with it: pure."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from github_integration import wire
from webhooks.handlers import HANDLERS, is_kept, misfit, repository_of, run_of
from webhooks.models import Delivery

# By event and action: where a delivery has the time of what it tells of.
HAPPENED = {
    "workflow_run": dict.fromkeys(("requested", "in_progress", "completed"), ("updated_at",)),
    "workflow_job": {
        "queued": ("created_at",),
        "in_progress": ("started_at",),
        "completed": ("completed_at",),
    },
}
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Malformed(ValueError):
    """The body is not what GitHub sends for this event."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A verified delivery, as it came."""

    guid: str
    event: str
    body: bytes
    swept: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A delivery that is to be stored, and what its body says."""

    row: Delivery
    payload: dict[str, Any]


def read_delivery(one: Arrived) -> Read | None:
    """Return what is to be stored, None for what is not kept. Raise Malformed."""
    if one.event not in HANDLERS:
        return None
    text, payload = parse(one.body)
    if (why := misfit(one.event, payload)) is not None:
        raise Malformed(why)
    if not is_kept(one.event, payload):
        return None
    try:
        action, repository = wire.plain(payload.get("action")), repository_of(payload)
        run_id = run_of(one.event, payload)
    except (TypeError, KeyError, ValueError, AttributeError) as exc:
        raise Malformed(f"The body is not that of a {one.event} event: {exc!r}") from exc
    row = Delivery(
        guid=one.guid.lower(),
        event=one.event,
        action=action[:40],
        repository=repository[:140],
        run_id=run_id,
        body=text,
        received_at=timezone.now(),
        happened_at=happened(one.event, payload),
        swept=one.swept,
    )
    return Read(row, payload)


def happened(event: str, payload: dict[str, Any]) -> dt.datetime | None:
    """Return when that happened which a run's or a job's delivery tells of, None of others."""
    about = payload.get(event)
    names = HAPPENED.get(event, {}).get(str(payload.get("action")), ())
    if not isinstance(about, dict):
        return None
    return next((at for name in names if (at := time_of(about.get(name))) is not None), None)


def time_of(value: Any) -> dt.datetime | None:
    try:
        return wire.parse_time(value)
    except (ValueError, TypeError, OverflowError):
        return None


def parse(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return a body as text and as JSON object. Raise Malformed."""
    try:
        text = body.decode()
        payload = json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"The body is not JSON: {exc}") from exc
    if not isinstance(payload, dict):
        raise Malformed("The body is not a JSON object")
    if "\x00" in text:
        raise Malformed("The body holds NUL characters")
    return text, payload


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
