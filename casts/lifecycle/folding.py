"""What an observation changes about a cast. Pure: no database, no network.

Observations come twice, late and in any order. They are ordered by (run_attempt, terminal?, status rank, updated_at);
a lower one never overwrites a higher, so any order and any repetition gives the same end.

Whether the run has begun, and when, is read from its jobs and steps alone (`beginning`): a run says `in_progress` and
`failure` also when no machine ever took a job of it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from casts.models import Cast, CastStatus
from casts.runtime import Job, JobStep, Observation, words_of
from core.limits import STEP_NAME_CHARS
from core.times import stamp

# No two have the same rank: of two with the same second it would be chance which one stays.
RANK = {"requested": 0, "queued": 1, "pending": 2, "waiting": 3, "in_progress": 4, "completed": 5}
PUBLIC = ("status", "status_reason", "message", "progress", "step_name", "run_finished_at", "started_at", "run_url")
Changes = dict[str, Any]
JOB_FIELDS = tuple(field.name for field in dataclasses.fields(Job))
STEP_FIELDS = tuple(field.name for field in dataclasses.fields(JobStep))


def fold(cast: Cast, seen: Observation) -> Changes:
    """Return the columns that `seen` changes in an open cast; empty if it tells nothing new."""
    changes: Changes = {}
    before: Changes = cast.observation or {}
    if cast.run_finished_at is not None and seen.attempt > before.get("attempt", 1):
        # Re-run while we collect: the attempt that ended counts, and this may have news of that attempt too.
        seen = up_to_attempt(seen, before.get("attempt", 1))
    jobs = merge_jobs(cast.jobs, seen)
    if jobs != cast.jobs:
        changes["jobs"] = jobs
    told = as_row(seen)
    if seen.status is not None and order_of(told) > order_of(before):
        changes |= {"observation": told, "run_attempt": seen.attempt}
        if seen.url and seen.url != cast.run_url:
            changes["run_url"] = seen.url
    public = public_state(cast, changes.get("observation", before), jobs)
    if cast.cancel_requested_at is not None and "run_finished_at" not in public:
        public = {k: v for k, v in public.items() if k not in ("status_reason", "message")}  # still cancelling
    changes |= public
    return {name: value for name, value in changes.items() if getattr(cast, name) != value}


def up_to_attempt(seen: Observation, attempt: int) -> Observation:
    jobs = tuple(job for job in seen.jobs or () if job.attempt <= attempt)
    # Without a status it is about jobs only, and does not change the observation that is kept.
    return dataclasses.replace(seen, attempt=attempt, status=None, jobs=jobs)


def as_row(seen: Observation) -> Changes:
    return {
        "attempt": seen.attempt,
        "status": seen.status,
        "conclusion": seen.conclusion,
        "title": seen.title,
        "run_started_at": stamp(seen.run_started_at),
        "updated_at": stamp(seen.updated_at),
        "remarks": seen.remarks,
    }


def order_of(row: Changes) -> tuple[int, bool, int, str]:
    """Return an observation's place in the order given above; before all others if there was none."""
    if not row:
        return (0, False, -1, "")
    status = row["status"] or ""
    return (row["attempt"], status == "completed", RANK.get(status, 0), row["updated_at"] or "")


def merge_jobs(known: list[Changes], seen: Observation) -> list[Changes]:
    """Return the jobs known so far that count, each in its furthest state, in the order of their ids.

    A job that was run again counts in its newest attempt; one that was not, in the attempt that ran it. Between
    attempts only the name stays the same.
    """
    by_id: dict[int, Changes] = {}
    for row in [*known, *(job_row(job) for job in seen.jobs or ())]:
        if row["id"] not in by_id or job_order(row) > job_order(by_id[row["id"]]):
            by_id[row["id"]] = row
    newest: dict[str, int] = {}
    for row in by_id.values():
        newest[row["name"]] = max(row["attempt"], newest.get(row["name"], 0))
    return [by_id[i] for i in sorted(by_id) if by_id[i]["attempt"] == newest[by_id[i]["name"]]]


def job_row(job: Job) -> Changes:
    # Not asdict, which copies each value of each step, too: a third of what a job's delivery cost.
    row: Changes = {name: getattr(job, name) for name in JOB_FIELDS}
    row["steps"] = [{name: getattr(step, name) for name in STEP_FIELDS} for step in job.steps]
    for holder in (row, *row["steps"]):
        holder["name"] = holder["name"][:STEP_NAME_CHARS]
        for name in ("started_at", "completed_at"):
            holder[name] = stamp(holder[name])
        if holder["completed_at"] and holder["completed_at"] < (holder["started_at"] or ""):
            holder["completed_at"] = holder["started_at"]  # said so of what was skipped or cancelled
    return row


def job_order(row: Changes) -> tuple[int, int, int, int, bool]:
    done = sum(step["status"] == "completed" for step in row["steps"])
    started = sum(step["status"] != "queued" for step in row["steps"])
    return (RANK.get(row["status"], 0), done, started, len(row["steps"]), bool(row.get("runner")))


@dataclasses.dataclass(frozen=True)
class Beginning:
    """The first work that was done for a run: when by its own clock (blank: it named no time), and where."""

    at: str
    attempt: int
    runner: str


def beginning(jobs: Iterable[Changes], observation: Changes) -> Beginning | None:
    """Return how the run's attempt began, None if nothing of it has; a cast's time and price depend on it.

    Work of an earlier attempt, which a re-run of failed jobs keeps, counts from when the later attempt was made.
    """
    # "~" sorts after every date: what names no time comes last.
    begun = sorted((one for job in jobs if (one := beginning_of(job)) is not None), key=lambda one: one.at or "~")
    made = (observation.get("run_started_at") or "") if observation.get("attempt", 1) > 1 else ""
    mine = [one for one in begun if not one.at or one.at >= made]
    if begun and not mine:
        return dataclasses.replace(begun[0], at=made)
    return mine[0] if mine else None


def beginning_of(job: Changes) -> Beginning | None:
    """Return how one job began: at its first step, or, before steps are known, when a runner took it.

    Its `started_at` alone does not show that it began: it is also the time at which a job was queued. Nor does a
    runner's name on a queued job. A job that was skipped, cancelled while it waited, or refused has neither a runner
    nor steps.
    """
    at_work = ("in_progress", "completed")
    ran = [step for step in job["steps"] if step["status"] in at_work and step["conclusion"] != "skipped"]
    runner = job.get("runner") or ""
    if not ran and not (runner and job["status"] in at_work):
        return None
    at = min((step["started_at"] for step in ran if step["started_at"]), default=job["started_at"] or "")
    return Beginning(at, job["attempt"], runner)


def public_state(cast: Cast, observation: Changes, jobs: list[Changes]) -> Changes:
    begun = beginning(jobs, observation)
    first = observation.get("attempt", 1) == 1
    runs: Changes = {"status": CastStatus.RUNNING, "started_at": started_at(cast, begun, first=first)} if begun else {}
    status = observation.get("status")
    if cast.run_finished_at is not None:
        return runs
    if status == "completed":
        conclusion = observation.get("conclusion") or "unknown"
        return runs | {
            "status_reason": "copying_artifacts",
            "message": f"The run ended ({conclusion}); copying its artifacts.",
            "progress": 95,
            "step_name": "",
            "run_finished_at": timezone.now(),
        }
    if begun:
        done, total, name = steps_done(jobs)
        # 10 once it is dispatched, up to 90 by its steps, 95 while artifacts are copied. Without steps it stays at 10:
        # a bar that jumps ahead would have to come back.
        progress = 10 + 80 * done // total if total else 10
        counted = f" ({min(done + 1, total)} of {total})" if total else ""
        return runs | {
            "status_reason": "running",
            "message": f"Running: {name}{counted}."[:500] if name else words_of(cast).running,
            "progress": max(cast.progress, progress),
            "step_name": name,
        }
    if cast.status != CastStatus.QUEUED or status is None:
        return {}
    waiting_for_approval = status == "waiting"
    return {
        "status": CastStatus.QUEUED,
        "status_reason": "waiting_for_approval" if waiting_for_approval else "waiting_for_runner",
        "message": words_of(cast).waiting_for_approval if waiting_for_approval else words_of(cast).sent,
        "progress": max(cast.progress, 10),
    }


CUT_OFF = dt.timedelta(seconds=2)  # times may be cut to whole seconds, and even good clocks differ a little


def started_at(cast: Cast, begun: Beginning, *, first: bool) -> dt.datetime:
    """Return when the run began, by the runtime's clock, but never before the cast nor after now by ours.

    An impossible time, such as one before the cast, shows that the clock is wrong; then it is the time at which we
    first saw that the run had begun. In the `first` attempt it never becomes later.
    """
    now = timezone.now()
    said = parse_datetime(begun.at) if begun.at else None
    if said is None or not cast.created_at - CUT_OFF <= said <= now:
        return cast.started_at or now
    said = max(said, cast.created_at)
    return min(said, cast.started_at) if first and cast.started_at is not None else said


def steps_done(jobs: list[Changes]) -> tuple[int, int, str]:
    """Return how many steps of the known jobs are done, how many there are, and the one at work."""
    steps = [step for job in jobs for step in job["steps"]]
    done = sum(step["status"] == "completed" for step in steps)
    at_work = next((step["name"] for step in steps if step["status"] == "in_progress"), "")
    return done, len(steps), at_work


def needs_look(cast: Cast, changes: Changes) -> bool:
    """Whether a worker should look now: the run has ended, or it has begun and somebody waits for its steps."""
    begun = cast.status == CastStatus.QUEUED and changes.get("status") == CastStatus.RUNNING
    followed = cast.watched_until is not None and cast.watched_until > timezone.now()
    return "run_finished_at" in changes or (begun and followed)
