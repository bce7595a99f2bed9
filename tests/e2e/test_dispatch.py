"""Dispatch: once, and provably. Lost answers, crashes, refusals, rate limits."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.e2e.platform import Platform, until
from tests.e2e.test_webhooks import all_end_well

DISPATCHES = {"paths": "/dispatches$", "methods": ["POST"]}


@pytest.fixture(params=["here", "deaf"])
def where(request: pytest.FixtureRequest) -> Platform:
    """With webhooks and without."""
    platform: Platform = request.getfixturevalue(request.param)
    return platform


def reasons(where: Platform, cast_id: str) -> list[str]:
    return [reason for _, reason in where.history(cast_id)]


def test_a_worker_killed_right_after_its_dispatch_leaves_one_run(where: Platform):
    where.faults(webhooks={"before_dispatch_answer": True, "answer_delay_ms": 3000})
    inputs = {where.cast(spell, {"spell": spell})["cast_id"]: {"spell": spell} for spell in ("echo", "echo-event")}
    until(lambda: all(where.runs(cast_id) for cast_id in inputs))
    for cast_id in inputs:
        row = where.row(cast_id)
        assert row["dispatch_started_at"]
        assert not row["dispatched_at"]
    assert where.stop("worker", how=signal.SIGKILL) == -signal.SIGKILL
    where.faults(reset=True)
    where.start("worker")
    for cast_id, input in inputs.items():
        assert where.ended(cast_id)["output"] == input
        assert where.row(cast_id)["dispatch_attempts"] == 1
        # GitHub only now notices that nobody waits for its answer any more.
        [sent] = until(lambda c=cast_id: [sent for sent in where.dispatches(c) if sent["status"]])
        [run] = where.runs(cast_id)
        assert sent["runs"] == [run["id"]]


def test_a_run_whose_dispatch_was_never_answered_is_found(where: Platform):
    where.faults(api={"reset_after": 1.0, "times": 2, **DISPATCHES})
    inputs = {where.cast(spell, {"spell": spell})["cast_id"]: {"spell": spell} for spell in ("echo", "echo-event")}
    for cast_id, input in inputs.items():
        ended = where.ended(cast_id)
        assert (ended["status"], ended["output"]) == ("succeeded", input)
        [sent] = where.dispatches(cast_id)
        [run] = where.runs(cast_id)
        assert (sent["status"], sent["runs"]) == (None, [run["id"]])
        assert where.ledger(cast_id) == [("hold", 3), ("capture", 3)]


def test_a_502_after_the_run_was_started_is_no_reason_for_a_second_one(where: Platform):
    where.faults(api={"error_5xx_after": 1.0, "times": 2, **DISPATCHES})
    for cast_id in [where.cast(spell, {})["cast_id"] for spell in ("echo", "echo-event")]:
        assert where.ended(cast_id)["status"] == "succeeded"
        [sent] = where.dispatches(cast_id)
        [run] = where.runs(cast_id)
        assert (sent["status"], sent["runs"]) == (502, [run["id"]])


def test_a_dispatch_that_started_nothing_is_sent_again_once_that_is_proved(deaf: Platform):
    # A run of each spell has been seen with its token in its title: only then does absence prove anything.
    for cast_id in [deaf.cast(spell, {})["cast_id"] for spell in ("echo", "echo-event")]:
        deaf.ended(cast_id)
    inputs = {}
    for fault in ("error_5xx", "reset_before"):
        deaf.faults(reset=True, api={fault: 1.0, "times": 2, **DISPATCHES})
        pair = {deaf.cast(s, [fault, s])["cast_id"]: [fault, s] for s in ("echo", "echo-event")}
        until(lambda casts=pair: all(deaf.dispatches(cast_id) for cast_id in casts))
        inputs |= pair
    all_end_well(deaf, inputs)
    for cast_id in inputs:
        lost, accepted = deaf.dispatches(cast_id)
        assert lost["runs"] == []
        assert len(accepted["runs"]) == 1
        assert deaf.row(cast_id)["dispatch_attempts"] == 2
        assert "confirming_dispatch" in reasons(deaf, cast_id)


def test_a_lost_dispatch_of_runs_without_token_is_never_sent_twice(deaf: Platform):
    deaf.faults(api={"error_5xx": 1.0, "times": 1, **DISPATCHES})
    nothing = deaf.cast("untitled", {})["cast_id"]
    until(lambda: deaf.dispatches(nothing))
    deaf.faults(reset=True, api={"reset_after": 1.0, "times": 1, **DISPATCHES})
    started = deaf.cast("untitled", {})["cast_id"]
    for cast_id, runs in ((nothing, 0), (started, 1)):
        ended = deaf.ended(cast_id)
        assert (ended["status"], ended["status_reason"]) == ("failed", "dispatch_lost")
        assert len(deaf.dispatches(cast_id)) == 1
        assert len(deaf.runs(cast_id)) == runs
        assert deaf.ledger(cast_id) == [("hold", 3), ("release", 3)]


@pytest.mark.parametrize(
    ("spell", "message"), [("no-such-file", "Not Found"), ("no-such-ref", "No ref found for: nowhere")]
)
def test_a_refused_dispatch_fails_with_githubs_own_words(here: Platform, spell: str, message: str):
    ended = here.ended(here.cast(spell, {})["cast_id"])
    assert (ended["status"], ended["status_reason"]) == ("failed", "dispatch_refused")
    assert message in ended["message"]
    assert message in ended["error"]["message"]
    assert ended["started_at"] is None
    assert here.runs(ended["cast_id"]) == []
    assert here.ledger(ended["cast_id"]) == [("hold", 3), ("release", 3)]


@pytest.mark.parametrize(
    "limit",
    [{"secondary_rate_limit": 1.0, "retry_after": 2, "times": 1}, {"primary_exhausted": True, "primary_reset_s": 2}],
    ids=["secondary", "primary"],
)
def test_a_rate_limit_is_waited_out_where_all_can_see_it(deaf: Platform, limit: dict[str, Any]):
    deaf.faults(api={**limit, **DISPATCHES})
    first = deaf.cast("echo", {"cast": "first"})["cast_id"]
    assert deaf.when(first, status_reason="rate_limited")["status"] == "queued"
    # The limit is the installation's: another cast is not even tried.
    second = deaf.cast("echo", {"cast": "second"})["cast_id"]
    deaf.when(second, status_reason="rate_limited")
    deaf.faults(reset=True)
    for cast_id, name in ((first, "first"), (second, "second")):
        ended = deaf.ended(cast_id)
        assert (ended["status"], ended["output"]) == ("succeeded", {"cast": name})
        assert "rate_limited" in reasons(deaf, cast_id)
        assert len(deaf.runs(cast_id)) == 1
    assert [sent["status"] for sent in deaf.dispatches(first)] == [403, 200]
    assert [sent["status"] for sent in deaf.dispatches(second)] == [200]


def test_github_out_of_reach_is_waited_for(deaf: Platform):
    deaf.stop("github")
    cast_id = deaf.cast("echo", {"word": "patience"})["cast_id"]
    deaf.when(cast_id, status_reason="waiting_for_github")
    deaf.start("github")
    deaf.up()
    assert deaf.ended(cast_id)["output"] == {"word": "patience"}
    # The new GitHub does not know the old one's tokens; a refusal of that kind starts nothing.
    assert [sent["status"] for sent in deaf.dispatches(cast_id)] in ([200], [401, 200])
    assert len(deaf.runs(cast_id)) == 1
