"""Dispatch: once, and provably. Lost answers, crashes, refusals, rate limits."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from tests.e2e.platform import Platform, until
from tests.e2e.test_webhooks import all_end_well

DISPATCHES = {"paths": "/dispatches$", "methods": ["POST"]}


def reasons(where: Platform, cast_id: str) -> list[str]:
    return [reason for _, reason in where.history(cast_id)]


def cast_both(where: Platform, word: str) -> dict[str, Any]:
    """Cast each kind of spell; return the inputs by cast."""
    return {where.cast(spell, [word, spell])["cast_id"]: [word, spell] for spell in ("echo", "echo-event")}


def all_run(where: Platform, casts: Iterable[str]) -> bool:
    return all(where.runs(cast_id) for cast_id in casts)


def answered(where: Platform, cast_id: str) -> list[dict[str, Any]]:
    return [sent for sent in where.dispatches(cast_id) if sent["status"]]


def struck(where: Platform) -> bool:
    """Whether the faults that were asked for have all happened."""
    return where.faults()["api"]["times"] == 0


def test_a_worker_killed_right_after_its_dispatch_leaves_one_run(here: Platform, deaf: Platform):
    inputs = {}
    for where in (here, deaf):
        where.faults(webhooks={"before_dispatch_answer": True, "answer_delay_ms": 3000})
        inputs[where] = cast_both(where, "killed")
    for where, casts in inputs.items():
        until(partial(all_run, where, casts))
        rows = [where.row(cast_id) for cast_id in casts]
        assert all(row["dispatch_started_at"] and not row["dispatched_at"] for row in rows)
        assert where.stop("worker", how=signal.SIGKILL) == -signal.SIGKILL
        where.faults(reset=True)
    for where in inputs:
        where.start("worker")
    for where, casts in inputs.items():
        for cast_id, input in casts.items():
            assert where.ended(cast_id)["output"] == input
            assert where.row(cast_id)["dispatch_attempts"] == 1
            # GitHub only now notices that nobody waits for its answer any more.
            [sent] = until(partial(answered, where, cast_id))
            [run] = where.runs(cast_id)
            assert sent["runs"] == [run["id"]]


def test_a_run_whose_dispatch_was_not_answered_is_found(here: Platform, deaf: Platform):
    told = {"reset_after": None, "error_5xx_after": 502}
    casts = []
    for fault in told:
        for where in (here, deaf):
            where.faults(reset=True, api={fault: 1.0, "times": 2, **DISPATCHES})
            casts += [(where, cast_id, input) for cast_id, input in cast_both(where, fault).items()]
        until(lambda: struck(here) and struck(deaf))
    for where, cast_id, input in casts:
        ended = where.ended(cast_id)
        assert (ended["status"], ended["output"]) == ("succeeded", input)
        [sent] = where.dispatches(cast_id)
        [run] = where.runs(cast_id)
        assert (sent["status"], sent["runs"]) == (told[input[0]], [run["id"]])
        assert where.ledger(cast_id) == [("hold", 3), ("capture", 3)]


def test_a_dispatch_that_started_nothing_is_sent_again_once_that_is_proved(deaf: Platform):
    # A run of each spell has been seen with its token in its title: only then does absence prove anything.
    unseen = deaf.rows("SELECT key FROM casts_spell WHERE key LIKE ? AND NOT tags_runs", "echo%")
    for cast_id in [deaf.cast(row["key"], {})["cast_id"] for row in unseen]:
        deaf.ended(cast_id)
    inputs: dict[str, Any] = {}
    for fault in ("error_5xx", "reset_before"):
        deaf.faults(reset=True, api={fault: 1.0, "times": 2, **DISPATCHES})
        inputs |= cast_both(deaf, fault)
        until(lambda: struck(deaf))
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
    until(lambda: struck(deaf))
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


def test_a_rate_limit_is_waited_out_where_all_can_see_it(deaf: Platform):
    deaf.faults(api={"secondary_rate_limit": 1.0, "retry_after": 3, "times": 1, **DISPATCHES})
    first = deaf.cast("echo", {"cast": "first"})["cast_id"]
    assert deaf.when(first, status_reason="rate_limited")["status"] == "queued"
    # The limit is the installation's: another cast is not even tried.
    second = deaf.cast("echo", {"cast": "second"})["cast_id"]
    deaf.when(second, status_reason="rate_limited")
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
