"""What an observation changes about a cast. Pure: no database, no network.

Observations come twice, late and in any order. They are ordered by (run_attempt, terminal?, status rank, updated_at);
a lower one never overwrites a higher, so any order and any repetition gives the same end.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from casts.events import stamp
from casts.models import Cast, CastStatus
from casts.runtime import Job, Observation

# Strict: two words of one rank and one second would leave it to chance which of them stays.
RANK = {"requested": 0, "queued": 1, "pending": 2, "waiting": 3, "in_progress": 4, "completed": 5}
PUBLIC = ("status", "status_reason", "message", "progress", "step_name", "run_finished_at", "started_at", "run_url")
Changes = dict[str, Any]


def fold(cast: Cast, seen: Observation) -> Changes:
    """Return the columns that `seen` changes in an open cast; empty if it tells nothing new."""
    changes: Changes = {}
    before: Changes = cast.observation or {}
    if seen.attempt < before.get("attempt", 1):
        return changes  # about an attempt that is over
    if seen.attempt > before.get("attempt", 1) and cast.run_finished_at is not None:
        return changes  # re-run while we collect: the attempt that ended is the one that counts
    jobs = merge_jobs(cast.jobs, seen)
    if jobs != cast.jobs:
        changes["jobs"] = jobs
    told = as_row(seen)
    if seen.status is not None and order_of(told) > order_of(before):
        changes |= {"observation": told, "run_attempt": seen.attempt}
        if seen.url and seen.url != cast.run_url:
            changes["run_url"] = seen.url
    now = changes.get("observation", before)
    if cast.run_finished_at is None:
        public = public_state(cast, now, jobs)
        if cast.cancel_requested_at is not None and "run_finished_at" not in public:
            public = {k: v for k, v in public.items() if k not in ("status_reason", "message")}  # still cancelling
        changes |= public
    return {name: value for name, value in changes.items() if getattr(cast, name) != value}


def as_row(seen: Observation) -> Changes:
    """Return what is kept of an observation, as JSON."""
    return {
        "attempt": seen.attempt,
        "status": seen.status,
        "conclusion": seen.conclusion,
        "title": seen.title,
        "run_started_at": stamp(seen.run_started_at),
        "updated_at": stamp(seen.updated_at),
    }


def order_of(row: Changes) -> tuple[int, bool, int, str]:
    """Return where an observation stands in the order of truth; before everything if there was none."""
    if not row:
        return (0, False, -1, "")
    status = row["status"] or ""
    return (row["attempt"], status == "completed", RANK.get(status, 0), row["updated_at"] or "")


def merge_jobs(known: list[Changes], seen: Observation) -> list[Changes]:
    """Return the latest attempt's jobs known so far, each in its furthest state, in the order of their ids."""
    by_id: dict[int, Changes] = {}
    for row in [*known, *(job_row(job) for job in seen.jobs or ())]:
        if row["id"] not in by_id or job_order(row) > job_order(by_id[row["id"]]):
            by_id[row["id"]] = row
    latest = max([seen.attempt, *(row["attempt"] for row in by_id.values())])
    return [by_id[i] for i in sorted(by_id) if by_id[i]["attempt"] == latest]


def job_row(job: Job) -> Changes:
    """Return one job as JSON."""
    row = dataclasses.asdict(job)
    row["steps"] = [dict(step) for step in row["steps"]]
    for holder in (row, *row["steps"]):
        for name in ("started_at", "completed_at"):
            holder[name] = stamp(holder[name])
    return row


def job_order(row: Changes) -> tuple[int, int, int, int]:
    """Return how far a job has come."""
    done = sum(step["status"] == "completed" for step in row["steps"])
    started = sum(step["status"] != "queued" for step in row["steps"])
    return (RANK.get(row["status"], 0), done, started, len(row["steps"]))


def public_state(cast: Cast, observation: Changes, jobs: list[Changes]) -> Changes:
    """Return the public columns that follow from the highest observation and the jobs."""
    status = observation.get("status")
    if status == "completed":
        conclusion = observation.get("conclusion") or "unknown"
        return {
            "status": CastStatus.RUNNING,
            "status_reason": "copying_artifacts",
            "message": f"The run ended ({conclusion}); copying its artifacts.",
            "progress": 95,
            "step_name": "",
            "started_at": started_at(cast, observation),
            "run_finished_at": timezone.now(),
        }
    if status == "in_progress" or any(job["status"] in ("in_progress", "completed") for job in jobs):
        done, total, name = steps_done(jobs)
        # Until steps are known it stays where it is: a bar that jumps ahead would have to come back.
        progress = 10 + 80 * done // total if total else 10
        counted = f" ({min(done + 1, total)} of {total})" if total else ""
        return {
            "status": CastStatus.RUNNING,
            "status_reason": "running",
            "message": f"Running: {name}{counted}."[:500] if name else "Running on GitHub.",
            "progress": max(cast.progress, progress),
            "step_name": name,
            "started_at": started_at(cast, observation),
        }
    if cast.status != CastStatus.QUEUED or status is None:
        return {}
    waiting_for_approval = status == "waiting"
    return {
        "status": CastStatus.QUEUED,
        "status_reason": "waiting_for_approval" if waiting_for_approval else "waiting_for_runner",
        "message": "Waiting for an approval on GitHub."
        if waiting_for_approval
        else "Sent to GitHub; waiting for a runner.",
        "progress": max(cast.progress, 10),
    }


def started_at(cast: Cast, observation: Changes) -> dt.datetime:
    """Return when the run started by GitHub's clock, or when we first learnt of it if GitHub did not say."""
    return parse_datetime(observation.get("run_started_at") or "") or cast.started_at or timezone.now()


def steps_done(jobs: list[Changes]) -> tuple[int, int, str]:
    """Return how many steps of the known jobs are done, how many there are, and the one at work."""
    steps = [step for job in jobs for step in job["steps"]]
    done = sum(step["status"] == "completed" for step in steps)
    at_work = next((step["name"] for step in steps if step["status"] == "in_progress"), "")
    return done, len(steps), at_work[:300]


def needs_look(cast: Cast, changes: Changes) -> bool:
    """Whether a worker should look now: the run has ended, or it has begun and somebody waits for its steps."""
    begun = cast.status == CastStatus.QUEUED and changes.get("status") == CastStatus.RUNNING
    followed = cast.watched_until is not None and cast.watched_until > timezone.now()
    return "run_finished_at" in changes or (begun and followed)
