"""On real processes, with webhooks and without: waiting is not running, and what never ran is never charged."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import Any

import pytest

from tests.e2e.platform import Platform, until

pytestmark = pytest.mark.once  # what GitHub tells, and when; how casts move is tested on both in tests/casts/lifecycle


@pytest.fixture(params=["here", "deaf"])
def where(request: pytest.FixtureRequest) -> Platform:
    """A platform that hears webhooks, and one that only looks."""
    platform: Platform = request.getfixturevalue(request.param)
    return platform


def moment(stamp: str) -> dt.datetime:
    return dt.datetime.fromisoformat(stamp)


def older_than(seconds: float, born: dt.datetime) -> bool:
    return (dt.datetime.now(dt.UTC) - born).total_seconds() > seconds


def in_order(cast: dict[str, Any]) -> None:
    """Check that a cast's times don't contradict each other."""
    created, ended = moment(cast["created_at"]), moment(cast["finished_at"])
    if cast["started_at"] is None:
        assert cast["duration_ms"] is None
    else:
        assert created <= moment(cast["started_at"]) <= ended
        assert cast["duration_ms"] <= (ended - created).total_seconds() * 1000 + 1


def test_with_one_runner_nobodys_time_runs_while_another_has_it(where: Platform):
    where.faults(runners={"limit": 1})
    gate, quick = where.gate(), where.gate()
    quick.touch()
    first = where.cast("gate", {"gate": str(gate)})
    where.at_gate(first["cast_id"])
    waiting = [where.cast("gate-for-five-seconds", {"gate": str(quick)}) for _ in range(2)]
    for cast in waiting:  # longer than the spell's time
        until(partial(older_than, 6, moment(cast["created_at"])))
        shown = where.get(cast["cast_id"])
        assert (shown["status"], shown["status_reason"]) == ("queued", "waiting_for_runner")
        assert (shown["started_at"], shown["duration_ms"]) == (None, None)
    gate.touch()
    begins = []
    for cast in (first, *waiting):
        ended = where.ended(cast["cast_id"])
        assert (ended["status"], ended["charged_cents"]) == ("succeeded", 3), ended
        in_order(ended)
        begins.append(ended["started_at"])
    assert begins[0] < begins[1]
    assert begins[0] < begins[2]


def test_who_gets_no_runner_in_time_expires_its_run_is_cancelled_and_it_costs_nothing(where: Platform):
    where.faults(runners={"limit": 0})
    cast = where.cast("echo", {"text": "never"}, ttl_seconds=2)
    ended = where.ended(cast["cast_id"])
    assert (ended["status"], ended["status_reason"], ended["charged_cents"]) == ("failed", "expired", 0)
    in_order(ended)
    [run] = where.runs(cast["cast_id"])
    assert (run["status"], run["conclusion"]) == ("completed", "cancelled")
    assert where.ledger(cast["cast_id"]) == [("hold", 3), ("release", 3)]


def test_who_is_cancelled_while_it_waits_for_a_runner_pays_nothing(where: Platform):
    where.faults(runners={"limit": 0})
    cast = where.cast("echo", {"text": "never"})
    where.when(cast["cast_id"], status_reason="waiting_for_runner")
    where.call("POST", f"/api/v1/casts/{cast['cast_id']}/cancel")
    ended = where.ended(cast["cast_id"])
    assert (ended["status"], ended["charged_cents"], ended["started_at"]) == ("cancelled", 0, None)


def test_what_github_never_ran_costs_nothing_and_says_why(where: Platform):
    where.faults(runners={"never_start": 1.0, "reason": "The spending limit is reached."})
    ended = where.ended(where.cast("echo", {"text": "never"})["cast_id"])
    assert (ended["status"], ended["status_reason"], ended["charged_cents"]) == ("failed", "never_ran", 0)
    assert ended["error"]["message"] == "The spending limit is reached."
    assert ended["message"].endswith(": The spending limit is reached.")
    in_order(ended)


def test_an_authors_own_sentence_is_the_error_and_the_log_shows_no_script(where: Platform):
    ended = where.ended(where.cast("stumble", {"reason": "a loose cobblestone"})["cast_id"])
    error = ended["error"]
    assert ended["status_reason"] == "run_failed"
    assert error["message"] == "a loose cobblestone"
    assert [one["message"] for one in error["annotations"]] == ["a loose cobblestone"]
    assert not [line for line in error["log_tail"] if line.startswith(("##[group]", "##[endgroup]"))]
    assert "##[error]a loose cobblestone" in error["log_tail"]


def test_a_jobs_own_limit_of_minutes_is_a_timeout_and_is_charged(deaf: Platform):
    cast = deaf.cast("limited", {})
    deaf.when(cast["cast_id"], step="Brew")
    until(lambda: deaf.get(cast["cast_id"], wait=30)["final"], seconds=150)
    ended = deaf.get(cast["cast_id"])
    assert (ended["status"], ended["status_reason"], ended["charged_cents"]) == ("failed", "timed_out", 3)
    assert "exceeded the maximum execution time of 1 minutes" in ended["error"]["message"]
    assert ended["error"]["failed_step"] == "Brew"
    in_order(ended)
