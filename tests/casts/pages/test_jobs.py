"""The rows of jobs on a cast's page."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from casts.pages import jobs
from casts.pages.jobs import Look
from github_integration.words import WORDS

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
BEGAN, ENDED = "2026-11-23T11:59:30.000Z", "2026-11-23T11:59:50.000Z"


def a_step(**changes: Any) -> dict[str, Any]:
    base = {"job": "Cast", "name": "Read", "status": "in_progress", "conclusion": None}
    return base | {"started_at": BEGAN, "completed_at": None} | changes


@pytest.mark.parametrize(
    ("changes", "final", "state", "word", "duration"),
    [
        ({}, False, "running", "running", "30 s"),
        ({}, True, "skipped", "not finished", ""),
        ({"status": "queued", "started_at": None}, False, "waiting", "waiting", ""),
        ({"status": "completed", "conclusion": "success", "completed_at": BEGAN}, True, "success", "done", "under 1 s"),
        ({"status": "completed", "conclusion": "action_required"}, True, "action_required", "action required", "30 s"),
    ],
)
def test_a_step_has_a_word_for_every_state(changes: dict[str, Any], final: bool, state: str, word: str, duration: str):
    line = jobs.step_line(a_step(**changes), Look(NOW, final, WORDS))
    assert (line["state"], line["word"], line["duration"]) == (state, word, duration)


def a_job(name: str = "Cast", conclusion: str | None = "success", *steps: dict[str, Any]) -> dict[str, Any]:
    """Return a job that has ended as `conclusion`, or is at work (None)."""
    done = conclusion is not None
    status = "completed" if done else "in_progress"
    job = {"id": 1, "name": name, "status": status, "conclusion": conclusion, "attempt": 1, "runner": "one"}
    steps = steps or (a_step(name="Stir", status=status, conclusion=conclusion, completed_at=ENDED if done else None),)
    return job | {"started_at": BEGAN, "completed_at": ENDED if done else None, "url": "", "steps": list(steps)}


def look(**changes: Any) -> Look:
    return dataclasses.replace(Look(NOW, False, WORDS), **changes)


def test_a_row_says_where_its_job_is():
    done = a_step(name="Stir", status="completed", conclusion="success", completed_at=ENDED)
    running, waiting = a_job("A", None, done, a_step(name="Pour")), a_job("B", None)
    waiting |= {"status": "queued", "steps": [], "runner": ""}
    rows = jobs.jobs_of([running, waiting, a_job("C"), a_job("D", "failure")], look())["rows"]
    told = [(row["name"], row["word"], row["current"], row["duration"]) for row in rows]
    assert told == [
        ("A", "running", "Pour (2 of 2)", "30 s"),
        ("B", "waiting", "", ""),
        ("C", "done", "", "20 s"),
        ("D", "failed", "Stir", "20 s"),
    ]
    assert [row["open"] for row in rows] == [
        False,
        False,
        False,
        True,
    ]
    # Of few jobs also those that are at work.
    assert jobs.jobs_of([running], look())["rows"][0]["open"]


def test_what_the_runner_does_by_itself_is_hidden_and_an_authors_step_is_not():
    names = ["Set up job", "Pre check out", "check out", "Post comments", "Post check out", "Complete job"]
    ended = {"status": "completed", "conclusion": "success", "completed_at": ENDED}
    job = a_job("Cast", "failure", *(a_step(name=name, **ended) for name in names))
    job["steps"][0]["conclusion"] = "failure"
    lines = jobs.jobs_of([job], look())["rows"][0]["steps"]
    hidden = [line["name"] for line in lines if line["machinery"]]
    assert hidden == ["Pre check out", "Post check out", "Complete job"]


def test_a_hundred_jobs_have_few_steps_and_more_when_somebody_asks():
    steps = [a_step(name=f"s{n}", status="completed", conclusion="success", completed_at=ENDED) for n in range(12)]
    many = [a_job(f"build ({n})", "success", *steps) for n in range(100)]
    many[70] = a_job("build (70)", "failure", *steps)
    shown = jobs.jobs_of(many, look(final=True))
    assert shown["count"] == "100 jobs: 99 done, 1 failed"
    assert (shown["many"], jobs.jobs_of(many[:3], look())["many"]) == (True, False)  # whether there is a way past them
    assert sum(len(row["steps"]) for row in shown["rows"]) <= jobs.SHOWN_STEPS
    assert len(shown["rows"][70]["steps"]) == 12
    assert (shown["rows"][90]["steps"], shown["rows"][90]["more"]) == ([], 12)
    assert len(jobs.jobs_of(many, look(asked=[91]))["rows"][90]["steps"]) == 12
    huge = jobs.jobs_of([a_job("build", "failure", *steps * 100)], look())["rows"][0]
    assert (len(huge["steps"]), huge["more"]) == (jobs.SHOWN_STEPS, 1200 - jobs.SHOWN_STEPS)
    assert jobs.asked_for(["3", "x", "-1", "999999999", "٣"]) == [3]
