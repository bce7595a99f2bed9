"""The worker's own life, and the deadlines that it keeps."""

from __future__ import annotations

import datetime as dt

from tests.e2e.platform import Platform, until


def test_told_to_stop_the_worker_finishes_its_step(deaf: Platform):
    deaf.faults(webhooks={"before_dispatch_answer": True, "answer_delay_ms": 1000})
    cast_id = deaf.cast("echo", {"word": "calm"})["cast_id"]
    until(lambda: deaf.runs(cast_id))
    assert not deaf.row(cast_id)["dispatched_at"]
    assert deaf.stop("worker") == 0
    row = deaf.row(cast_id)
    assert row["dispatched_at"]
    assert row["run_id"] == deaf.runs(cast_id)[0]["id"]
    assert row["lease_until"] is None
    deaf.start("worker")
    assert deaf.ended(cast_id)["output"] == {"word": "calm"}
    assert len(deaf.dispatches(cast_id)) == 1


def test_a_cast_that_nobody_could_start_in_time_expires(deaf: Platform):
    assert deaf.stop("worker") == 0
    late = deaf.cast("echo", {}, ttl_seconds=1)
    patient = deaf.cast("echo", {})
    expires_at = dt.datetime.fromisoformat(late["expires_at"])
    until(lambda: dt.datetime.now(dt.UTC) > expires_at, seconds=3)
    deaf.start("worker")
    ended = deaf.ended(late["cast_id"])
    assert (ended["status"], ended["status_reason"], ended["error"]["reason"]) == ("failed", "expired", "expired")
    assert deaf.dispatches(late["cast_id"]) == []
    assert deaf.ledger(late["cast_id"]) == [("hold", 3), ("release", 3)]
    assert deaf.ended(patient["cast_id"])["status"] == "succeeded"


def test_a_run_that_takes_too_long_is_cancelled_on_github(here: Platform):
    cast_id = here.cast("gate-for-a-second", {"gate": str(here.gate())})["cast_id"]
    ended = here.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("failed", "timed_out")
    [run] = here.runs(cast_id)
    assert (run["status"], run["conclusion"]) == ("completed", "cancelled")
    assert "cancelling" in [reason for _, reason in here.history(cast_id)]
    assert here.ledger(cast_id) == [("hold", 3), ("capture", 3)]


def test_two_workers_share_the_work(here: Platform):
    here.start("second-worker")
    until(lambda: "worker starts" in here.log("second-worker"))
    casts = [here.cast("echo", {"number": number})["cast_id"] for number in range(6)]
    for number, cast_id in enumerate(casts):
        assert here.ended(cast_id)["output"] == {"number": number}
        assert len(here.dispatches(cast_id)) == 1
    assert here.stop("second-worker") == 0
