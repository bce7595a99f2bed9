"""Every cast gets its own run, on servers that name it and on those that don't, whatever else happens beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import SPELLS, leaves_everything_in_order
from tests.e2e.platform import Platform, platform, until
from tests.e2e.test_webhooks import all_end_well, cast_some


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform on GitHub Enterprise Server 3.19, which never names the run that a dispatch started."""
    with platform(tmp_path_factory.mktemp("old"), spells=SPELLS, api="ghes-3.19") as running:
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
