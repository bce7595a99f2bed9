"""A run's jobs as people read them: one row each, with its steps folded away. Pure.

From the cast's own rows, not from the `steps` that the API shows: those end after the first few hundred.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from casts.disclosure import Mask
from casts.lifecycle.folding import beginning_of
from casts.pages.texts import duration, time_text
from casts.runtime import Words
from core.numbers import counted, natural

SHOWN_JOBS = 250
SHOWN_STEPS = 200  # of all jobs together; the others are fetched when somebody opens their job
ASKED = 20  # jobs whose steps somebody may ask for at once
MANY = 10  # jobs from which on there is a way past them
FEW = 3  # jobs of which those at work are open
NAMED = 5  # failed jobs that are named above the rows

STEP_WORDS = {"success": "done", "neutral": "done", "failure": "failed", "timed_out": "timed out"}
FAILED = ("failure", "timed_out", "startup_failure", "action_required")


@dataclass(frozen=True)
class Look:
    """How the jobs are looked at: when, by what the run came to, and with which jobs opened by their reader."""

    now: dt.datetime
    final: bool
    words: Words
    mask: Mask | None = None
    asked: Collection[int] = ()


def jobs_of(jobs: list[dict[str, Any]], look: Look) -> dict[str, Any]:
    """Return what the page shows of the jobs of a cast (`Cast.jobs`)."""
    few, alone = len(jobs) <= FEW, len(jobs) == 1
    rows = [row_of(number, job, look, few=few, alone=alone) for number, job in enumerate(jobs, start=1)]
    first = sorted(rows, key=lambda row: (row["number"] not in look.asked, URGENCY.get(row["state"], 2)))
    left = SHOWN_STEPS
    for row in first:
        room = SHOWN_STEPS if row["number"] in look.asked else left
        row["steps"] = row["steps"][:room] if len(row["steps"]) <= room or row["open"] else []
        row["more"] = row["count"] - len(row["steps"])
        left = max(0, left - len(row["steps"]))
    shown = {row["number"] for row in first[:SHOWN_JOBS]}
    failed = [row for row in rows if row["state"] in FAILED]
    return {
        "rows": [row for row in rows if row["number"] in shown],
        "many": len(shown) >= MANY,
        "hidden": len(rows) - len(shown),
        "count": counted_states(rows) if not alone else "",
        "failed": failed[:NAMED] if not few else [],
        "failed_more": max(0, len(failed) - NAMED) if not few else 0,
        "machinery": any(step["machinery"] for row in rows for step in row["steps"]),
        "none": "There are no steps." if look.final else "They appear when the run has begun.",
    }


URGENCY = {**dict.fromkeys(FAILED, 0), "running": 1}


def row_of(number: int, job: dict[str, Any], look: Look, *, few: bool, alone: bool) -> dict[str, Any]:
    state, word = job_state(job, final=look.final)
    began = beginning_of(job)
    since = (began.at or job["started_at"]) if began and state not in ("waiting", "skipped") else None
    until = job["completed_at"] if state != "running" else None
    names = {step["name"] for step in job["steps"]}
    steps = [step_line(step, look) | {"machinery": is_machinery(step, names, look.words)} for step in job["steps"]]
    if all(step["machinery"] for step in steps):
        steps = [step | {"machinery": False} for step in steps]  # a job of nothing else would look empty
    asked, failed = number in look.asked, state in FAILED
    begun = few and since is not None
    ran = until or state == "running"  # a job that was cut off may have no end
    return {
        "number": number,
        "name": masked(job["name"], look.mask),
        "state": state,
        "word": word,
        "current": current(state, steps, alone=alone),
        "since": since if state == "running" else "",
        "duration": duration(since, until, look.now) if since and ran else "",
        "steps": steps,
        "count": len(steps),
        "open": failed or asked or (begun and state == "running"),
        # The script leaves a job as its reader has opened or closed it, until this changes.
        "why": "failed" if failed else "asked" if asked else "begun" if begun else "",
    }


def job_state(job: dict[str, Any], *, final: bool) -> tuple[str, str]:
    """Return a job's state and the word for it."""
    if job["status"] == "completed":
        state = job["conclusion"] or "success"
        return state, STEP_WORDS.get(state, state.replace("_", " "))
    if final:
        return "cancelled", "not finished"
    return ("running", "running") if beginning_of(job) else ("waiting", "waiting")


def current(state: str, steps: list[dict[str, Any]], *, alone: bool) -> str:
    """Return the name of the step that a job is at, or at which it failed."""
    wanted = {"running": ("running",), **dict.fromkeys(FAILED, FAILED), "cancelled": ("cancelled",)}.get(state, ())
    name = next((step["name"] for step in steps if step["state"] in wanted), "")
    if state != "running" or not name or alone:  # the cast's message counts the steps of all jobs
        return name
    plain = [step for step in steps if not step["machinery"]]
    place = next((n for n, step in enumerate(plain, start=1) if step["state"] == "running"), 0)
    return f"{name} ({place} of {len(plain)})" if place else name


def step_line(step: dict[str, Any], look: Look) -> dict[str, Any]:
    if step["status"] == "completed":
        state = step["conclusion"] or "success"
        word = STEP_WORDS.get(state, state.replace("_", " "))
    elif look.final:
        state, word = "skipped", "not finished"
    elif step["status"] == "in_progress":
        state, word = "running", "running"
    else:
        state, word = "waiting", "waiting"
    timed = step["started_at"] and state not in ("waiting", "skipped")
    since, until = (step["started_at"], step["completed_at"]) if timed else (None, None)
    return {
        "name": masked(step["name"], look.mask),
        "state": state,
        "word": word,
        "began": since,
        "began_text": time_text(since)[-12:-4],
        "since": since if state == "running" else "",
        "duration": duration(since, until, look.now) if since else "",
    }


def is_machinery(step: dict[str, Any], names: set[str], words: Words) -> bool:
    """Whether a step is the runtime's own, which tells nobody anything unless it failed."""
    if step["conclusion"] in (*FAILED, "cancelled"):
        return False
    name: str = step["name"]
    # “Post build” alone may be the author's; after a step “build” it is what the runtime does when that is over.
    beside = any(name.startswith(word) and name.removeprefix(word) in names for word in words.beside_a_step)
    return name in words.own_steps or beside


def counted_states(rows: list[dict[str, Any]]) -> str:
    """Return how many jobs there are, and how many of each state."""
    found: dict[str, int] = {}
    for row in rows:
        found[row["word"]] = found.get(row["word"], 0) + 1
    return f"{counted(len(rows), 'job')}: " + ", ".join(f"{count} {word}" for word, count in found.items())


def asked_for(values: list[str]) -> list[int]:
    """Return the numbers of jobs that a query names, the newest ASKED of them."""
    return [number for value in values if (number := natural(value, digits=5)) is not None][-ASKED:]


def masked(text: str, mask: Mask | None) -> str:
    return mask(text) if mask else text
