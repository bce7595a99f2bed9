"""Two machines on one database, each with a web process and a worker: either can vanish."""

from __future__ import annotations

import copy
import hashlib
import io
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests import s3
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import Follower, Platform, free_port, platform, server, until

pytestmark = pytest.mark.skipif(not server(), reason="on SQLite there is one web process and one worker")
FIRST, SECOND = ("web", "worker"), ("other-web", "other-worker")


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Platform]:
    """The machine that GitHub's webhooks reach, while it is there. Looks are rare: without webhooks a cast waits."""
    rare = {"CAST_LOOK_MIN_SECONDS": "3", "CAST_LOOK_WATCHED_SECONDS": "3", "WORKER_LEASE_SECONDS": "2"}
    with platform(tmp_path, spells=SPELLS, **rare) as where:
        yield where


@pytest.fixture
def second(first: Platform) -> Platform:
    """The other machine, with an address of its own; what it shares with the first is the database."""
    return beside(first)


def beside(first: Platform, **settings: str) -> Platform:
    other = copy.copy(first)
    port = free_port()
    other.url = f"http://127.0.0.1:{port}"
    other.command = lambda name: Platform.command(first, name.removeprefix("other-"))  # type: ignore[method-assign]
    other.start("other-web", own_group=True, BIND=f"127.0.0.1:{port}", **settings)
    other.start("other-worker", own_group=True, **settings)
    until(lambda: other.answers(other.url + "/api/v1/budget"))
    return other


def vanish(where: Platform, names: tuple[str, ...]) -> None:
    """Kill processes with all that they have started, at once and without a word."""
    for name in names:
        process = where.running.pop(name)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for pid in [process.pid, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        process.wait(30)


def test_a_client_of_one_machine_sees_what_a_webhook_told_the_other(first: Platform, second: Platform) -> None:
    gate = first.gate()
    cast_id = second.cast("gate", {"gate": str(gate)})["cast_id"]
    followers = [Follower(where, cast_id, after=0) for where in (first, second)]
    for follower in followers:
        until(follower.at_the_gate)
    gate.touch()
    for follower in followers:
        follower.closed(seconds=30)
    assert followers[0].ids == followers[1].ids == list(range(1, len(followers[0].ids) + 1))
    assert followers[1].events[-1][1]["status"] == "succeeded"
    deliveries = first.rows("SELECT count(*) AS n FROM webhooks_delivery WHERE outcome = 'applied'")
    assert deliveries[0]["n"] > 0


@pytest.mark.parametrize("gone", ["first", "second"])
def test_either_machine_can_vanish_in_the_middle_of_a_cast(first: Platform, second: Platform, gone: str) -> None:
    lost, left, names = (first, second, FIRST) if gone == "first" else (second, first, SECOND)
    gate = first.gate()
    cast_id = lost.cast("gate", {"gate": str(gate)})["cast_id"]
    before = Follower(lost, cast_id, after=0)
    until(lambda: any(data["step"] == "Wait at the gate" for _, data in before.events))
    vanish(lost, names)
    before.join(10)
    assert not before.is_alive()
    after = Follower(left, cast_id, after=before.ids[-1])
    gate.touch()
    assert left.ended(cast_id)["status"] == "succeeded"
    after.closed(seconds=30)
    ids = before.ids + after.ids
    assert ids == list(range(1, len(ids) + 1))
    assert left.ledger(cast_id) == [("hold", 3), ("capture", 3)]
    assert left.ended(left.cast("gate", {"gate": str(gate)})["cast_id"])["status"] == "succeeded"


def test_with_a_bucket_they_share_no_folder_and_each_hands_out_what_the_other_stored(tmp_path: Path) -> None:
    bucket = {"STORAGE_URL": s3.storage_url(), "AWS_ACCESS_KEY_ID": s3.KEY, "AWS_SECRET_ACCESS_KEY": s3.SECRET}
    with platform(tmp_path / "first", spells=SPELLS, **bucket) as first:
        second = beside(first, VAR_DIR=str(tmp_path / "second"))
        cast_ids = [where.cast("greet", {"name": "Zoë"})["cast_id"] for where in (first, second) * 3]
        for number, cast_id in enumerate(cast_ids):
            asked, other = (first, second) if number % 2 else (second, first)
            ended = asked.ended(cast_id)
            assert (ended["status"], ended["output"] is not None) == ("succeeded", True)
            [told] = [one for one in ended["artifacts"] if one["name"] == "spell-result"]
            by_key, link = other.artifact(cast_id, "spell-result"), urlsplit(told["url"])
            by_link = requests.get(f"{other.url}{link.path}?{link.query}", timeout=30)
            for answer in (by_key, by_link):
                assert [one.status_code for one in answer.history] == [302]
                assert answer.url.startswith(s3.service())
                assert "Authorization" not in answer.request.headers
                assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == told["digest"]
            whole = other.call("GET", f"/api/v1/casts/{cast_id}/artifacts.zip")
            with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
                assert "spell-result/result.json" in archive.namelist()
        assert first.manage("storage", "check").count("ok: ") == 6
        logs = "".join(first.log(name) for name in (*FIRST, *SECOND))
    assert s3.SECRET not in logs
    assert "X-Amz-Signature=" not in logs
    assert not list(tmp_path.glob("*/artifacts"))
