"""Webhooks that never came, found in GitHub's log, with looks so rare that nothing else can bring the news."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import SPELLS, leaves_everything_in_order
from tests.e2e.platform import Platform, platform, until

RARELY = "3600"
KINDS = ("workflow_run", "workflow_job", "installation", "ping")


@pytest.fixture(scope="module")
def _blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {"CAST_LOOK_MIN_SECONDS": RARELY, "CAST_LOOK_MAX_SECONDS": RARELY, "WORKER_LEASE_SECONDS": "2"}
    folder = tmp_path_factory.mktemp("blind")
    with platform(folder, spells=SPELLS, DELIVERY_SWEEP_SECONDS="1", **settings) as running:
        until(lambda: running.rows("SELECT id FROM webhooks_deliverysweep WHERE finished_at IS NOT NULL"))
        yield running
        leaves_everything_in_order(running)


@pytest.fixture
def blind(_blind: Platform) -> Iterator[Platform]:
    """A platform that looks at a run once an hour, and into GitHub's log every second."""
    yield _blind
    _blind.faults(reset=True)


def in_the_log(where: Platform) -> dict[str, int]:
    """Return the GUIDs in GitHub's log of what we keep, with the highest line of each."""
    return {d["guid"]: d["id"] for d in where.record()["deliveries"] if d["event"] in KINDS}


def held(where: Platform) -> list[str]:
    return [row["guid"] for row in where.rows("SELECT guid FROM webhooks_delivery ORDER BY id")]


def sweep(where: Platform) -> dict[str, Any]:
    [row] = where.rows("SELECT * FROM webhooks_deliverysweep")
    return row


def all_held_once(where: Platform) -> None:
    until(lambda: set(held(where)) == set(in_the_log(where)))
    assert len(held(where)) == len(in_the_log(where))


@pytest.mark.parametrize("faults", [{"drop": 1.0}, {"drop": 0.5, "duplicate": 0.5, "reorder": True}], ids=str)
def test_casts_end_although_webhooks_are_lost(blind: Platform, faults: dict[str, float]):
    blind.faults(seed=3, webhooks=faults)
    before, were_there = sweep(blind)["recovered"], len(held(blind))
    casts = {blind.cast("echo", {"number": number})["cast_id"]: number for number in range(3)}
    for cast_id, number in casts.items():
        ended = blind.ended(cast_id)
        assert (ended["status"], ended["output"]) == ("succeeded", {"number": number})
        assert len(blind.dispatches(cast_id)) == 1
        assert blind.ledger(cast_id) == [("hold", 3), ("capture", 3)]
    all_held_once(blind)
    recovered = sweep(blind)["recovered"] - before
    assert recovered == len(held(blind)) - were_there if faults["drop"] == 1 else recovered > 0
    assert sweep(blind)["unreadable"] == 0


def test_lost_news_of_an_installation_arrives_in_order(blind: Platform):
    def suspended() -> bool:
        rows = blind.rows("SELECT suspended_at FROM github_integration_installation WHERE id = 1")
        return bool(rows and rows[0]["suspended_at"])

    blind.faults(webhooks={"drop": 1.0})
    blind.faults(suspended=True)
    until(suspended)
    blind.faults(suspended=False)
    until(lambda: not suspended())
    # Both while nobody works: the last one counts.
    blind.stop("worker")
    for now in (True, False, True, False):
        blind.faults(suspended=now)
    blind.start("worker")
    all_held_once(blind)
    assert not suspended()
    # The end of a suspension arrives, its beginning does not.
    blind.stop("worker")
    blind.faults(suspended=True)
    blind.faults(webhooks={"drop": 0.0})
    blind.faults(suspended=False)
    until(lambda: set(in_the_log(blind)) & set(held(blind)) and len(set(in_the_log(blind)) - set(held(blind))) == 1)
    was = sweep(blind)["finished_at"]
    blind.start("worker")
    until(lambda: sweep(blind)["finished_at"] != was)
    assert not suspended()


def test_worker_that_is_killed_while_it_sweeps_is_followed_by_another(blind: Platform):
    blind.faults(webhooks={"drop": 1.0}, api={"latency_ms": [100, 150], "paths": "/app/hook/deliveries/"})
    casts = [blind.cast("echo", {"number": number})["cast_id"] for number in range(2)]
    before = len(held(blind))
    until(lambda: len(held(blind)) > before)
    blind.stop("worker", how=9)  # type: ignore[arg-type]
    blind.start("worker")
    for number, cast_id in enumerate(casts):
        assert blind.ended(cast_id)["output"] == {"number": number}
    guids = held(blind)
    assert len(guids) == len(set(guids))


def test_github_that_refuses_to_show_its_log_is_waited_for(blind: Platform):
    until(lambda: not sweep(blind)["error"])
    blind.faults(api={"secondary_rate_limit": 1, "retry_after": 2, "paths": "/app/hook", "times": 1})
    until(lambda: "secondary rate limit" in sweep(blind)["error"])
    until(lambda: not sweep(blind)["error"])
