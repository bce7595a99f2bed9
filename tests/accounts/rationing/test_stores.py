"""Both stores count alike: the database's, and Redis where there is a server (TEST_REDIS_URL, or `redis-server`)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connections

from accounts.rationing.models import FailedTries, Ration, Refusal
from accounts.rationing.refusals import note, purge
from accounts.rationing.store import DatabaseStore
from core.rationing import Allowance, Failed, RateLimited, Taken, allowances, stores
from core.rationing.redis import RedisStore
from spellplatform import checks
from tests.accounts.rationing.conftest import BEGIN
from tests.casts.lifecycle.test_money_races import database_url
from tests.casts.racer import racers

LOTS = Allowance("lots", "This test")
MINUTE = int(BEGIN // 60)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    if url := os.environ.get("TEST_REDIS_URL"):
        yield url
        return
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server here, and no TEST_REDIS_URL")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.processes)])
def store(request: Any, db: None) -> Any:
    if request.param == "database":
        return DatabaseStore()
    store = RedisStore(request.getfixturevalue("redis_url"))
    store._client.flushdb()
    return store


def test_a_block_is_a_sixteenth_of_what_is_left_and_all_of_it_is_handed_out(store):
    assert store.take("key:1", MINUTE, 100) == Taken(MINUTE, 6, 6)
    assert store.take("key:1", MINUTE, 100) == Taken(MINUTE, 5, 11)
    assert store.take("key:2", MINUTE, 100) == Taken(MINUTE, 6, 6)
    granted: list[int] = []
    while not granted or granted[-1]:
        granted.append(store.take("key:1", MINUTE, 100).granted)
    assert (sum(granted), max(granted), granted[-20:]) == (89, 5, [1] * 19 + [0])
    # Whose clock is behind counts with the others; a new minute begins anew; a lower limit holds at once.
    assert store.take("key:1", MINUTE + 1, 100) == Taken(MINUTE + 1, 6, 6)
    assert store.take("key:1", MINUTE, 100) == Taken(MINUTE + 1, 5, 11)
    assert store.take("key:1", MINUTE + 1, 10) == Taken(MINUTE + 1, 0, 11)


def test_failed_tries_wait_twice_as_long_each_time_and_are_forgotten(store):
    def fail(at, **how):
        given = {"free": 2, "longest": 10, "forgotten": 100, "least": 0, "blocks": True} | how
        return store.fail("bad:1", at, **given)

    assert fail(1000) == Failed(True, 1, 0, 1000)
    assert fail(1000) == Failed(True, 2, 1, 1001)
    assert fail(1000.5) == Failed(False, 2, 1, 1001)
    assert fail(1001) == Failed(True, 3, 2, 1003)
    assert [fail(at).delay for at in (1003, 1007, 1015, 1025)] == [4, 8, 10, 10]
    store.undo("bad:1")
    assert fail(1026) == Failed(True, 7, 10, 1036)
    assert fail(1027, blocks=False) == Failed(True, 8, 10, 1037)
    assert fail(1300) == Failed(True, 1, 0, 1300)
    assert fail(1300, least=7) == Failed(True, 2, 7, 1307)
    store.forget("bad:1")
    store.undo("bad:1")  # nothing is there
    assert fail(1300) == Failed(True, 1, 0, 1300)


@pytest.mark.django_db(transaction=True)
def test_eight_threads_are_given_exactly_the_allowance(clock):
    def one(_):
        try:
            allowances.spend(LOTS, "all", 100)
        except RateLimited:
            return 0
        finally:
            connections.close_all()
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(240))) == 100


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_processes_together_never_pass_an_allowance_and_leave_little_of_it():
    with racers(2, database_url()) as started:
        for number in range(6):
            for one, tries in zip(started, ([120, 120], [1, 240], [240, 5])[number % 3], strict=True):
                one.tell(do="spend", subject=f"race {number}", quota=100, tries=tries, threads=4, at=BEGIN)
            admitted = [one.hear() for one in started]
            assert 100 - 6 <= sum(admitted) <= 100, (number, admitted)  # 6: a sixteenth


@pytest.mark.django_db
def test_most_requests_ask_nobody(clock, django_assert_max_num_queries):
    # The first makes the row: two more, and a savepoint's two.
    with django_assert_max_num_queries(60):
        for _ in range(1000):
            allowances.spend(LOTS, "all", 1200)
    with django_assert_max_num_queries(4):
        for _ in range(100):
            allowances.spend(LOTS, "other", 10_000)


@pytest.mark.django_db
def test_blocks_in_memory_are_bounded(clock, monkeypatch):
    monkeypatch.setattr(allowances, "MOST_BLOCKS", 10)
    for subject in range(30):
        allowances.spend(LOTS, subject, 100)
    assert len(allowances._blocks) <= 10
    clock.now += 60
    allowances.spend(LOTS, "new", 100)
    assert len(allowances._blocks) <= 10


@pytest.mark.django_db
def test_what_is_over_is_deleted_and_refusals_are_kept_for_a_week(clock):
    for minute in (MINUTE - 2, MINUTE - 1, MINUTE):
        Ration.objects.create(name=f"key:{minute}", minute=minute)
    FailedTries.objects.create(name="old", last_ms=1000 * (BEGIN - 90_000))
    FailedTries.objects.create(name="new", last_ms=1000 * (BEGIN - 10_000))
    for _ in range(3):
        note(allowance="key", subject="7" * 500)
    assert Refusal.objects.get().count == 3
    assert purge() == 2
    assert set(Ration.objects.values_list("minute", flat=True)) == {MINUTE - 1, MINUTE}
    Refusal.objects.update(last_at="2020-01-01T00:00:00Z")
    assert purge() == 1


def test_redis_that_is_away_is_told_as_a_database_that_is():
    with pytest.raises(OperationalError, match="Redis"):
        RedisStore("redis://127.0.0.1:9/0").take("key:1", MINUTE, 100)


def test_the_setting_says_where_is_counted(settings):
    assert isinstance(stores.store(), DatabaseStore)
    settings.RATION_URL = "redis://127.0.0.1:9/0"
    assert isinstance(stores.store(), RedisStore)


@pytest.mark.parametrize(
    ("url", "installed", "problem"),
    [
        ("", False, None),
        ("redis://127.0.0.1:6379/0", True, None),
        ("redis://127.0.0.1:6379/0", False, "spell.E031"),
        ("127.0.0.1:6379", True, "spell.E030"),
    ],
)
def test_a_ration_url_that_can_not_be_used_does_not_serve(url, installed, problem, settings, monkeypatch):
    settings.RATION_URL = url
    monkeypatch.setattr(checks, "find_spec", lambda name: object() if installed else None)
    assert [found.id for found in checks.ration_url(None)] == ([problem] if problem else [])
