"""The worker's own life, and the deadlines that it keeps."""

from __future__ import annotations

import datetime as dt
import signal

import pytest

from tests.e2e.platform import Platform, server, until


def test_told_to_stop_the_worker_finishes_its_step_and_what_comes_too_late_expires(deaf: Platform):
    deaf.faults(webhooks={"before_dispatch_answer": True, "answer_delay_ms": 700})
    under_way = deaf.cast("echo", {"word": "calm"})["cast_id"]
    until(lambda: deaf.runs(under_way))
    assert not deaf.row(under_way)["dispatched_at"]
    assert deaf.stop("worker") == 0
    row = deaf.row(under_way)
    assert row["dispatched_at"]
    assert row["run_key"] == str(deaf.runs(under_way)[0]["id"])
    assert row["lease_until"] is None
    # Nobody works now.
    short, patient = deaf.cast("echo", {}, ttl_seconds=1), deaf.cast("echo", {"word": "late"})
    expires_at = dt.datetime.fromisoformat(short["expires_at"])
    until(lambda: dt.datetime.now(dt.UTC) > expires_at)
    deaf.start("worker")
    assert deaf.ended(under_way)["output"] == {"word": "calm"}
    assert deaf.ended(patient["cast_id"])["output"] == {"word": "late"}
    expired = deaf.ended(short["cast_id"])
    assert (expired["status"], expired["status_reason"], expired["error"]["reason"]) == ("failed", "expired", "expired")
    assert deaf.ledger(short["cast_id"]) == [("hold", 3), ("release", 3)]
    assert [len(deaf.dispatches(i)) for i in (under_way, patient["cast_id"], short["cast_id"])] == [1, 1, 0]


def test_a_run_that_takes_too_long_is_cancelled_on_github(here: Platform):
    cast_id = here.cast("gate-for-a-second", {"gate": str(here.gate())})["cast_id"]
    ended = here.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("failed", "timed_out")
    [run] = here.runs(cast_id)
    assert (run["status"], run["conclusion"]) == ("completed", "cancelled")
    assert "cancelling" in [reason for _, reason in here.history(cast_id)]
    assert here.ledger(cast_id) == [("hold", 3), ("capture", 3)]


@pytest.mark.skipif(not server(), reason="on SQLite there is one worker")
def test_two_workers_share_the_work(here: Platform):
    here.start("second-worker")
    until(lambda: "worker starts" in here.log("second-worker"))
    casts = [here.cast("echo", {"number": number})["cast_id"] for number in range(6)]
    for number, cast_id in enumerate(casts):
        assert here.ended(cast_id)["output"] == {"number": number}
        assert len(here.dispatches(cast_id)) == 1
    assert here.stop("second-worker") == 0


def test_a_cast_that_kills_every_worker_ends_and_takes_no_other_down(deaf: Platform):
    assert deaf.stop("worker") == 0
    deadly = deaf.cast("echo", {"word": "die"})["cast_id"]
    others = [deaf.cast("echo", {"word": f"live {number}"})["cast_id"] for number in range(6)]
    deaths = 0  # one of which may leave it unknown whether another cast was sent: here that is soon proved

    def kept_up() -> bool:
        """Start the worker again whenever it was killed, as a supervisor does; whether the cast has ended."""
        nonlocal deaths
        if "deadly" in deaf.running and deaf.running["deadly"].poll() is not None:
            assert deaf.running.pop("deadly").returncode == -signal.SIGKILL
            deaths += 1
        if "deadly" not in deaf.running:
            deaf.start("deadly", DJANGO_SETTINGS_MODULE="tests.e2e.deadly")
        return deaf.row(deadly)["status"] == "failed"

    until(kept_up, seconds=300)
    # The later three times it took down a process of its own.
    assert deaths == 2
    assert deaf.stop("deadly") == 0
    deaf.start("worker")
    ended = deaf.get(deadly)
    assert (ended["status_reason"], ended["charged_cents"]) == ("internal_error", 0)
    assert deaf.ledger(deadly) == [("hold", 3), ("release", 3)]
    assert deaf.dispatches(deadly) == []
    for number, cast_id in enumerate(others):
        assert deaf.ended(cast_id)["output"] == {"word": f"live {number}"}
        assert len(deaf.dispatches(cast_id)) == 1
        assert deaf.row(cast_id)["failed_steps"] == 0
    told = deaf.log("deadly")
    assert told.count("step ended its process") == 3
    assert told.count("row given up") == 1
