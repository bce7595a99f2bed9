"""What breaks outside of us, for real: GitHub away, tokens revoked, the installation suspended or gone, no room."""

from __future__ import annotations

import pytest

from tests.e2e.platform import Platform, name_of, on_server, server, until


def waits_for(where: Platform, cast_id: str, reason: str) -> None:
    """Wait until a queued cast says that it waits for this."""
    until(lambda: where.get(cast_id)["status_reason"] == reason)


def test_casts_outlast_an_outage_of_github_wherever_it_meets_them(here: Platform, deaf: Platform):
    deaf.ended(deaf.cast("echo", ["seen once: its runs are known to carry the token"])["cast_id"])
    gates = {where: where.gate() for where in (here, deaf)}
    running = {where: where.cast("gate", {"gate": str(gate)})["cast_id"] for where, gate in gates.items()}
    for where, cast_id in running.items():
        where.at_gate(cast_id)
        where.faults(unreachable=True)
    queued = [deaf.cast("echo", [f"queued in the outage, {n}"])["cast_id"] for n in range(8)]
    until(lambda: {deaf.get(cast_id)["status_reason"] for cast_id in queued} >= {"waiting_for_github"})
    for gate in gates.values():
        gate.touch()
    [known] = deaf.rows("SELECT failures, pause_reason FROM github_integration_installation WHERE id = 1")
    assert known["failures"] >= 5
    assert known["pause_reason"] == "waiting_for_github"  # nobody asks any more, but one of them now and then
    for where in gates:
        where.faults(unreachable=False)
    for where, cast_id in [*running.items(), *((deaf, cast_id) for cast_id in queued)]:
        assert where.ended(cast_id, seconds=60)["status"] == "succeeded"
        assert len(where.runs(cast_id)) == 1
    [known] = deaf.rows("SELECT failures, pause_reason FROM github_integration_installation WHERE id = 1")
    assert known == {"failures": 0, "pause_reason": ""}


def test_revoked_tokens_are_replaced_in_the_middle_of_everything(here: Platform):
    gate = here.gate()
    running = here.cast("gate", {"gate": str(gate)})["cast_id"]
    here.at_gate(running)
    here.control("POST", "revoke")
    fresh = here.cast("echo", ["after"])["cast_id"]
    gate.touch()
    for cast_id in (running, fresh):
        assert here.ended(cast_id)["status"] == "succeeded"
        assert len(here.runs(cast_id)) == 1


def test_casts_wait_while_the_installation_is_suspended_and_go_on_when_it_is_not(here: Platform):
    here.faults(suspended=True)
    cast_id = here.cast("echo", ["patience"])["cast_id"]
    waits_for(here, cast_id, "installation_suspended")
    assert "owner must end that" in here.get(cast_id)["message"]
    [row] = here.rows("SELECT suspended_at FROM github_integration_installation WHERE id = 1")
    assert row["suspended_at"]
    here.faults(suspended=False)
    assert here.ended(cast_id)["output"] == ["patience"]
    assert len(here.runs(cast_id)) == 1


def test_casts_of_a_removed_installation_fail_and_cost_nothing(deaf: Platform):
    gate = deaf.gate()
    running = deaf.cast("gate", {"gate": str(gate)})["cast_id"]
    deaf.at_gate(running)
    deaf.faults(removed=True)
    queued = deaf.cast("echo", ["nobody's"])["cast_id"]
    try:
        for cast_id in (running, queued):
            found = deaf.ended(cast_id)
            assert (found["status"], found["status_reason"]) == ("failed", "installation_removed")
            assert deaf.ledger(cast_id) == [("hold", 3), ("release", 3)]
    finally:
        gate.touch()
        deaf.faults(removed=False)
    assert deaf.ended(deaf.cast("echo", ["installed again"])["cast_id"])["status"] == "succeeded"


def test_artifacts_that_can_not_be_stored_come_in_when_there_is_room(here: Platform):
    store = here.folder / "artifacts"
    aside = here.folder / "artifacts-aside"
    store.mkdir(exist_ok=True)
    store.rename(aside)
    store.write_text("no folder")  # whoever writes below it gets an OSError, as on a full disk
    try:
        cast_id = here.cast("leave", {})["cast_id"]
        until(lambda: "could not be stored" in here.log("worker"))
        assert not here.get(cast_id)["final"]
    finally:
        store.unlink()
        aside.rename(store)
    found = here.ended(cast_id)
    assert found["status"] == "succeeded"
    for artifact in found["artifacts"]:
        [kept] = [a for run in here.runs(cast_id) for a in run["artifacts"] if a["name"] == artifact["name"]]
        assert artifact["digest"] == f"sha256:{kept['sha256']}"


@pytest.mark.parametrize("who", ["web", "worker"])
def test_connections_that_the_database_ends_are_replaced(here: Platform, who: str):
    if not server():
        pytest.skip("SQLite has no connection to lose")
    gate = here.gate()
    running = here.cast("gate", {"gate": str(gate)})["cast_id"]
    here.at_gate(running)
    on_server(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        f"WHERE datname = '{name_of(here.database_url)}' AND application_name = '{who}'"
    )
    fresh = here.cast("echo", [who])["cast_id"]
    gate.touch()
    for cast_id in (running, fresh):
        assert here.ended(cast_id)["status"] == "succeeded"
