"""A cast's history: what each line holds, and how it is appended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from django.db import transaction
from django.utils import timezone

from casts import pricing
from casts.models import OPEN, Artifact, Cast, CastEvent
from core.db import months
from core.db.compiled import Insert, Param, Select
from core.limits import STEPS_SHOWN
from core.queue import wakeups
from core.times import stamp

ENDED_BY = "ended"  # the kind of the last event that streams deliver
ADD_EVENT = Insert(CastEvent)
ARTIFACTS = Select(lambda: Artifact.objects.filter(cast=Param(Artifact, "cast")).order_by())


def snapshot(cast: Cast, artifacts: Iterable[Artifact] | None = None) -> dict[str, Any]:
    """Return the cast's public state as one event holds it: all but links, which are made for each reader.

    `artifacts`: the cast's, if they have been read already.
    """
    if artifacts is None:
        artifacts = artifacts_of(cast) if cast.run_finished_at else ()
    return {
        "cast_id": str(cast.pk),
        "spell_key": cast.spell.key,
        "status": cast.status,
        "status_reason": cast.status_reason,
        "progress": cast.progress,
        "message": cast.message,
        "step": cast.step_name or None,
        "run_url": cast.run_url or None,
        "started_at": stamp(cast.started_at),
        "finished_at": stamp(cast.finished_at),
        "duration_ms": cast.duration_ms,
        "steps": steps_of(cast.jobs),
        # Sorted here, by code points: databases differ in how they order text.
        "artifacts": [artifact_line(a) for a in sorted(artifacts, key=lambda artifact: artifact.name)],
        "charged_cents": cast.charged_cents,
        "charge": pricing.how_charged(cast),
        "output": cast.output,
        "summary": cast.summary or None,
        "annotations": cast.annotations,
        "error": cast.error,
        "final": cast.final,
    }


def artifacts_of(cast: Cast) -> Iterable[Artifact]:
    # What was prefetched is not asked for again.
    prefetched: dict[str, Any] = getattr(cast, "_prefetched_objects_cache", {})
    return cast.artifacts.all() if "artifacts" in prefetched else ARTIFACTS.all(cast_id=cast.pk)


def artifact_line(artifact: Artifact) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "file_name": artifact.file_name or artifact.name,
        "state": artifact.state,
        "size_bytes": artifact.size_bytes,
        "digest": f"sha256:{artifact.sha256}" if artifact.sha256 else None,
        "expires_at": stamp(artifact.expires_at),
    }


def steps_of(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    all_steps = (
        {
            "job": job["name"],
            "name": step["name"],
            "status": step["status"],
            "conclusion": step["conclusion"],
            "started_at": step["started_at"],
            "completed_at": step["completed_at"],
        }
        for job in jobs
        for step in job["steps"]
    )
    return list(islice(all_steps, STEPS_SHOWN))


def line(cast: Cast, kind: str, *, at: dt.datetime, by: str = "") -> CastEvent:
    """Return the event numbered `cast.last_seq`, to be added. `by`: the operator who caused it."""
    return CastEvent(cast=cast, seq=cast.last_seq, kind=kind, data=snapshot(cast), at=at, by=by)


def append(cast: Cast, kind: str, *, at: dt.datetime, by: str = "") -> None:
    """Add the event numbered `cast.last_seq`, which the caller has just counted up under the cast's row lock.

    `by`: the operator who caused it.
    """
    append_all([line(cast, kind, at=at, by=by)])


def append_all(lines: Sequence[CastEvent]) -> None:
    """Add events of casts whose rows are locked, each cast's in their order."""
    ADD_EVENT.all(lines)
    for cast_id in dict.fromkeys(event.cast_id for event in lines):
        # Not sooner: whoever is woken must find the events.
        transaction.on_commit(partial(wakeups.has_news, cast_id))


def append_to_each(casts: Iterable[Cast], kind: str, *, at: dt.datetime, by: str) -> None:
    append_all([line(cast, kind, at=at, by=by) for cast in casts])


def drop_months() -> None:
    """Drop past months of events that rules of retention have emptied, and whose casts have all ended; a sweep."""

    def stays(part: months.Part) -> bool:
        return (
            part.of(CastEvent.objects.order_by()).exists()
            or part.of(Cast.objects.filter(status__in=OPEN), "pk").exists()
        )

    months.drop_months(CastEvent, timezone.now(), stays=stays)
