"""How long a run has worked, by what is known of its jobs. Pure; a price per minute hangs on it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from casts.lifecycle.folding import beginning, beginning_of
from casts.models import Cast

Span = tuple[dt.datetime, dt.datetime]


def run_time(cast: Cast) -> dt.timedelta | None:
    """Return for how long at least one job of the run was at work on a runner; None if none is known to have begun.

    Jobs that work side by side count once; while none works, because the next ones wait for a runner or for approval,
    nothing counts. Both ends of a span are the runtime's times, so that a clock that differs from ours makes no
    difference; where it names none, ours stand in. Of an attempt after the first only its own work counts, as in
    `beginning`.
    """
    observation: dict[str, Any] = cast.observation or {}
    if beginning(cast.jobs, observation) is None:
        return None
    made = time_in(observation.get("run_started_at")) if observation.get("attempt", 1) > 1 else None
    found = (span_of(job, cast, observation) for job in cast.jobs)
    spans = sorted((max(span[0], made) if made else span[0], span[1]) for span in found if span is not None)
    worked, reached = dt.timedelta(), None
    for begun, ended in spans:
        begun = max(begun, reached) if reached else begun
        if ended > begun:
            worked += ended - begun
            reached = ended
    # Whatever runners' clocks say, it can't have worked for longer than the cast has been there.
    there = (cast.run_finished_at or timezone.now()) - cast.created_at
    return max(min(worked, there), dt.timedelta())


def span_of(job: dict[str, Any], cast: Cast, observation: dict[str, Any]) -> Span | None:
    """Return when a job began its work and when it ended it, None if it has not begun."""
    if (begun := beginning_of(job)) is None:
        return None
    began = time_in(begun.at) or cast.started_at or cast.created_at
    # A job's steps are timed by its runner's clock, which may be behind; the job itself by the runtime's.
    if (taken := time_in(job["started_at"])) is not None:
        began = max(began, taken)
    ended = time_in(job["completed_at"]) or last_seen(cast, observation)
    # That clock may be ahead as well: work does not begin after its end.
    return (taken if taken is not None and began > ended else began), ended


def last_seen(cast: Cast, observation: dict[str, Any]) -> dt.datetime:
    """Return until when a job counts whose end the runtime did not tell.

    To the end of its run, or else until the cast was to be cancelled: of what a run did after that nothing is known.
    """
    if cast.run_finished_at is None:
        return cast.cancel_requested_at or timezone.now()
    ended = time_in(observation.get("updated_at")) if observation.get("status") == "completed" else None
    return ended or cast.run_finished_at


def time_in(stamp: str | None) -> dt.datetime | None:
    return parse_datetime(stamp) if stamp else None
