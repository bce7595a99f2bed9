"""A backup, work that goes on, the loss of everything, and the restore: of real processes, on both databases."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.casts.receivers import Receiver, receiver
from tests.e2e.conftest import leaves_everything_in_order
from tests.e2e.platform import Platform, drop_database, platform, server, until
from tests.recovery.backup import dump, restore

pytestmark = [pytest.mark.processes, pytest.mark.database]
SPELLS = (Path(__file__).parent / "spells.toml").read_text()
SETTINGS = {"CALLBACK_ALLOWED_HOSTS": "127.0.0.1", "CAST_LOST_SECONDS": "3", "WORKER_LEASE_SECONDS": "5"}


def once(where: Platform, key: str, spell: str, input: Any, **more: Any) -> dict[str, Any]:
    headers = {"Idempotency-Key": key}
    body = {"spell_key": spell, "input": input, **more}
    answer = where.call("POST", "/api/v1/cast", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def of(inbox: Receiver, cast_id: str) -> list[str]:
    """Return the ids of the messages about a cast."""
    return [got.headers["webhook-id"] for got in inbox.got if cast_id.encode() in got.body]


def test_what_was_acknowledged_before_the_backup_goes_on_after_the_restore_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    artifacts = tmp_path / "artifacts"
    with receiver() as inbox, platform(tmp_path, spells=SPELLS, ARTIFACT_ROOT=str(artifacts), **SETTINGS) as where:
        told: dict[str, Any] = {"callback_url": inbox.url}
        done = where.ended(once(where, "done", "echo", {"n": 1}, **told)["cast_id"])
        open_gate, held_gate = where.gate(), where.gate()
        at_work = once(where, "at-work", "gate", {"gate": str(open_gate)}, **told)["cast_id"]
        holder = once(where, "holder", "gate-one-at-a-time", {"gate": str(held_gate)})["cast_id"]
        where.at_gate(at_work)
        where.at_gate(holder)
        until(lambda: of(inbox, done["cast_id"]))
        where.stop("worker")
        sent_later = once(where, "sent-later", "echo", {"n": 2}, **told)["cast_id"]  # which nobody has dispatched yet
        never_sent = once(where, "never-sent", "gate-one-at-a-time", {"gate": str(held_gate)})["cast_id"]

        # The backup: the database first, so that no row of it names a file that is not in the copy.
        dump(where.database_url, tmp_path / "dump")
        shutil.copytree(artifacts, tmp_path / "copy")

        where.start("worker")
        assert where.ended(sent_later)["status"] == "succeeded"
        gone = where.ended(once(where, "gone", "echo", {"n": 3})["cast_id"])["cast_id"]
        open_gate.touch()
        assert where.ended(at_work)["status"] == "succeeded"
        until(lambda: of(inbox, sent_later) and of(inbox, at_work))
        heard = {cast: of(inbox, cast) for cast in (sent_later, at_work)}

        # Everything is lost, but what GitHub has.
        where.stop("web", "worker", how=signal.SIGKILL)
        drop_database(where.database_url)
        shutil.rmtree(artifacts)
        if not server():
            for file in tmp_path.glob("e2e.sqlite3*"):
                file.unlink()

        old = where.database_url
        where.database_url = restore(tmp_path / "dump", tmp_path / "copy", kind=old if not server() else server())
        where.environment |= {"DATABASE_URL": where.database_url, "ARTIFACT_ROOT": str(tmp_path / "copy")}
        said = where.manage("restored", "--stopped")  # workers were there a moment before the dump
        assert gone in said, said
        for name in ("web", "worker"):
            where.start(name)
        where.up()

        same = ("status", "output", "finished_at", "callback_url")
        found = where.get(done["cast_id"])
        assert {name: found[name] for name in same} == {name: done[name] for name in same}
        assert where.artifact(done["cast_id"], "spell-result").content
        again = where.call(
            "POST",
            "/api/v1/cast",
            json={"spell_key": "echo", "input": {"n": 1}, **told},
            headers={"Idempotency-Key": "done"},
        )
        assert (again.status_code, again.json()["cast_id"]) == (201, done["cast_id"])
        assert where.call("GET", f"/api/v1/casts/{gone}").status_code == 404
        for cast_id in (sent_later, at_work):
            found = where.ended(cast_id)
            assert found["status"] == "succeeded", found
            assert where.artifact(cast_id, "spell-result").content
            until(lambda: len(of(inbox, cast_id)) == 2)  # noqa: B023 - called at once
            assert set(of(inbox, cast_id)) == set(heard[cast_id])  # to the receiver it is a repetition
        held_gate.touch()
        assert where.ended(holder)["status"] == "succeeded"
        assert where.ended(never_sent)["status"] == "succeeded"
        for cast_id in (done["cast_id"], at_work, holder, sent_later, never_sent):
            assert len(where.dispatches(cast_id)) == 1, cast_id
        assert len(of(inbox, done["cast_id"])) == 1
        leaves_everything_in_order(where)
        assert "agree with the ledger" in where.manage("verifyledger")
        assert requests.get(where.get(done["cast_id"])["progress_url"], timeout=30).status_code == 200
