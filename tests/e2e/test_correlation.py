"""Every cast gets its own run, on servers that name it and on those that don't, whatever else happens beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import SPELLS, leaves_everything_in_order
from tests.e2e.platform import Platform, platform, until
from tests.e2e.test_webhooks import all_end_well, cast_some

pytestmark = pytest.mark.once  # which run is whose, by what GitHub tells; that one run has one cast is tested on both


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform on GitHub Enterprise Server 3.19, which never names the run that a dispatch started."""
    patience = {"CAST_EXCLUSIVE_SECONDS": "1", "CAST_LOST_SECONDS": "3"}
    with platform(tmp_path_factory.mktemp("old"), spells=SPELLS, api="ghes-3.19", **patience) as running:
        yield running
        leaves_everything_in_order(running)


def noise(where: Platform) -> None:
    """Have runs of the same workflow, of which none is ours, started now."""
    wanted = {"n": 3, "workflow": "echo.yml"}
    where.control("POST", "noise", json=wanted)


def amid_noise(where: Platform) -> None:
    noise(where)
    inputs = cast_some(where, 3)
    until(lambda: noise(where) or all(where.runs(cast_id) for cast_id in inputs), every=0.2)
    noise(where)
    all_end_well(where, inputs)
    record = where.record()
    foreign = {run["id"] for run in record["runs"] if run["noise"]}
    assert len(foreign) >= 9
    owned = [int(row["run_key"]) for row in where.rows("SELECT run_key FROM casts_cast WHERE run_key IS NOT NULL")]
    assert len(owned) == len({*owned})
    assert not foreign & {*owned}
    same_second = {run["created_at"] for run in record["runs"] if run["cast_id"] in inputs}
    assert same_second & {run["created_at"] for run in record["runs"] if run["noise"]}


def test_casts_amid_foreign_runs_of_the_same_second_get_their_own(here: Platform):
    amid_noise(here)


def test_the_same_without_any_webhook(deaf: Platform):
    failing = deaf.cast("fail", {})["cast_id"]
    amid_noise(deaf)
    failed = deaf.ended(failing)
    assert (failed["status_reason"], failed["error"]["failed_step"]) == ("run_failed", "Break the vase")
    assert deaf.record()["deliveries"] == []


def test_an_old_server_refuses_to_name_the_run_and_is_asked_again_without(old: Platform):
    cast_id = old.cast("echo", {"word": "old"})["cast_id"]
    assert old.ended(cast_id)["output"] == {"word": "old"}
    [run] = old.runs(cast_id)
    refused, accepted = old.dispatches(cast_id)
    assert (refused["status"], refused["runs"]) == (422, [])
    assert (accepted["status"], accepted["runs"]) == (204, [run["id"]])


@pytest.mark.parametrize("lost", [0.0, 1.0], ids=["webhooks", "no-webhooks"])
def test_on_an_old_server_runs_are_found_by_their_tokens(old: Platform, lost: float):
    old.faults(reset=True, webhooks={"lose": lost})
    amid_noise(old)


def test_on_an_old_server_runs_without_a_tag_are_told_apart_by_starting_one_at_a_time(old: Platform):
    """Whatever people start of the same workflow meanwhile."""

    def started_by_people() -> None:
        old.control("POST", "noise", json={"n": 2, "workflow": "ordinary.yml", "inputs": {"word": "theirs"}})

    old.faults(reset=True)
    words = {old.cast("ordinary-alone", {"word": f"mine {n}"})["cast_id"]: f"mine {n}" for n in range(3)}
    until(lambda: started_by_people() or all(old.row(cast_id)["run_key"] for cast_id in words), every=0.5)
    ended = [old.ended(cast_id) for cast_id in words]
    assert [(cast["status"], cast["output"]["word"]) for cast in ended] == [("succeeded", w) for w in words.values()]


def test_what_can_t_be_told_apart_is_lost_and_given_back_and_the_next_one_waits(old: Platform):
    """Another service with the same App starts the workflow too."""
    old.faults(reset=True)
    first = old.cast("echo", {"word": "old"})["cast_id"]
    old.ended(first)
    [bot] = [run["actor"] for run in old.runs(first)]
    cast_id = old.cast("ordinary-alone", {"word": "mine"})["cast_id"]
    old.control("POST", "noise", json={"n": 1, "workflow": "ordinary.yml", "actor": bot, "inputs": {"word": "theirs"}})
    ended = old.ended(cast_id)
    assert (ended["status"], ended["status_reason"]) == ("failed", "dispatch_lost")
    assert old.ledger(cast_id) == [("hold", 3), ("release", 3)]
    waiting = old.cast("ordinary-alone", {"word": "next"})["cast_id"]
    old.when(waiting, status_reason="waiting_for_turn")
    assert old.row(waiting)["dispatch_attempts"] == 0
    assert old.call("POST", f"/api/v1/casts/{waiting}/cancel").status_code == 202
    assert old.ended(waiting)["status"] == "cancelled"
