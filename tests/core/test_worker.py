"""The worker: takes what is due, keeps what it holds, survives what fails, and stops in order."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from casts.models import Cast
from casts.runtime import Observation
from core.queue import poison, wakeups, worker
from core.queue.due import DueQuerySet
from core.queue.worker import Worker
from tests import warm
from tests.casts.conftest import history, ledger
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.django_db(transaction=True)


class Scripted:
    """A kind of work on casts whose step is a test's function."""

    step_with = staticmethod(lambda row: None)

    def rows(self):
        return Cast.due_rows()

    def step(self, row):
        return type(self).step_with(row)


@pytest.fixture
def working(settings, monkeypatch):
    """Start workers with a scripted step; all are stopped, and must stop, at the end."""
    settings.WORK = ["tests.core.test_worker.Scripted"]
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.1)
    started: list[tuple[Worker, threading.Thread]] = []

    def start(step=None, *, threads=2, lease=30.0):
        if step is not None:
            monkeypatch.setattr(Scripted, "step_with", staticmethod(step))
        made = Worker(threads=threads, lease_seconds=lease)
        thread = threading.Thread(target=made.run, name="worker")
        thread.start()
        started.append((made, thread))
        return made, thread

    yield start
    for one, _ in started:
        one.stop()
    for _, thread in started:
        thread.join(15)
        assert not thread.is_alive()
    connections.close_all()


def until(what, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s")


def test_a_cast_goes_from_accepted_to_ended(make_cast, settings, working, runtime):
    runtime.answers["observe"] = lambda cast: Observation(
        cast.run_scope, cast.run_key, status="completed", conclusion="success"
    )
    settings.CAST_LOOK_MIN_SECONDS = 0.01
    casts = [make_cast() for _ in range(5)]
    settings.WORK = ["casts.execution.steps.CastWork", "casts.execution.artifacts.ArtifactWork"]
    working(threads=4)
    until(lambda: Cast.objects.filter(status="succeeded").count() == 5)
    for cast in casts:
        assert history(cast) == ["accepted", "dispatched", "run_finished", "ended"]
        assert ledger(cast) == [("hold", 5), ("capture", 5)]
    assert runtime.count("start") == 5


def test_a_cast_accepted_while_the_worker_waits_is_taken_at_once(make_cast, working, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 3.0)
    taken = []
    working(lambda row: taken.append(row.pk))
    time.sleep(0.3)
    cast = make_cast()
    assert until(lambda: taken, 1.5) == [cast.pk]  # by a wake-up: its own look is later


def test_a_row_is_looked_at_again_when_its_step_said(cast, working):
    times = []

    def step(row):
        times.append(time.monotonic())
        return timezone.now() + dt.timedelta(seconds=0.2) if len(times) < 3 else None

    working(step)
    until(lambda: len(times) == 3)
    assert all(0.15 < b - a < 2 for a, b in itertools.pairwise(times))
    time.sleep(0.3)
    assert len(times) == 3


def test_a_row_that_is_due_at_once_is_stepped_on_within_its_claim(cast, working, monkeypatch):
    monkeypatch.setattr(worker, "LOOK_SECONDS", 3.0)
    held = []

    def step(row):
        held.append((row.claim_number, row.attempts, time.monotonic()))
        return timezone.now() if len(held) < 5 else None

    working(step)
    until(lambda: len(held) == 5 and Cast.objects.get().lease_until is None)
    assert {number for number, _, _ in held} == {1}
    assert [attempts for _, attempts, _ in held] == [1, 2, 3, 4, 5]
    assert sorted(after - before for (_, _, before), (_, _, after) in itertools.pairwise(held))[1] < 0.1
    assert Cast.objects.get().due_at is None


def test_a_row_that_is_woken_while_it_is_stepped_is_stepped_on(cast, working):
    held = []

    def step(row):
        held.append((row.claim_number, row.due_at))
        if len(held) == 1:
            Cast.due_rows().wake(pk=row.pk)
        return timezone.now() + dt.timedelta(hours=1) if len(held) < 3 else None

    working(step)
    until(lambda: len(held) == 2 and Cast.objects.get().lease_until is None)
    time.sleep(0.2)
    assert held == [(1, None), (1, None)]
    due_at = Cast.objects.get().due_at
    assert due_at is not None
    assert due_at > timezone.now() + dt.timedelta(minutes=50)


def test_a_row_that_is_always_due_lets_others_have_their_turn(make_cast, working):
    rows = {make_cast().pk, make_cast().pk}
    stepped = []

    def step(row):
        stepped.append(row.pk)
        return timezone.now()

    working(step, threads=1)
    until(lambda: len(stepped) >= 4 * worker.STEPS_AT_ONCE and set(stepped) == rows)
    turns = [len(list(turn)) for _, turn in itertools.groupby(stepped)]
    assert all(turn % worker.STEPS_AT_ONCE == 0 for turn in turns[:-1])


def test_a_row_whose_claim_is_lost_is_not_stepped_on(cast, working):
    held = []

    def step(row):
        held.append(row.claim_number)
        Cast.objects.filter(pk=row.pk).update(claim_number=row.claim_number + 1)
        return timezone.now()

    working(step)
    until(lambda: held)
    time.sleep(0.3)
    assert held == [1]


def test_a_worker_that_stops_steps_no_row_on(cast, working):
    held: list[int] = []
    stopping: list[Worker] = []

    def step(row):
        held.append(row.claim_number)
        stopping[0].stop()
        return timezone.now()

    Cast.objects.update(due_at=None)
    stopping.append(working(step)[0])
    Cast.due_rows().wake(pk=cast.pk)
    until(lambda: held and Cast.objects.get().lease_until is None)
    assert held == [1]
    due_at = Cast.objects.get().due_at
    assert due_at is not None
    assert due_at <= timezone.now()


def test_a_step_that_raises_costs_its_row_some_time_and_nobody_else_anything(make_cast, working, caplog):
    bad, good = make_cast(), make_cast()
    done = []

    def step(row):
        if row.pk == bad.pk:
            raise RuntimeError("a bug in a step")
        done.append(row.pk)

    working(step, threads=1)
    until(lambda: done == [good.pk])
    until(lambda: Cast.objects.get(pk=bad.pk).lease_until is None)
    bad.refresh_from_db()
    assert dt.timedelta(seconds=5) < bad.due_at - timezone.now() <= dt.timedelta(seconds=poison.WAITS[0])
    assert (bad.failed_steps, bad.failure.split(",")[0]) == (1, "RuntimeError in step")
    assert "a bug in a step" in caplog.text


def test_a_database_that_goes_away_does_not_end_the_worker(cast, working, monkeypatch, caplog):
    done, failures = [], iter(range(2))
    claim, until_due = DueQuerySet.claim, DueQuerySet.seconds_until_due

    def sometimes(method):
        def call(self, **given):
            if next(failures, None) is not None:
                raise connection.Database.OperationalError("the database is away")  # type: ignore[attr-defined]  # not in the stubs
            return method(self, **given)

        return call

    monkeypatch.setattr(DueQuerySet, "claim", sometimes(claim))
    working(lambda row: done.append(row.pk))
    until(lambda: done)
    failures = iter(range(2))
    monkeypatch.setattr(DueQuerySet, "claim", claim)
    monkeypatch.setattr(DueQuerySet, "seconds_until_due", sometimes(until_due))
    time.sleep(0.5)
    Cast.due_rows().wake(pk=cast.pk)
    until(lambda: len(done) == 2)
    assert "the database is away" in caplog.text


swept: list[str] = []


def broken_sweep():
    raise RuntimeError("a bug")


def last_sweep():
    swept.append("last")


def slow_sweep():
    assert stepped.wait(10), "no row is stepped while it lasts"


stepped = threading.Event()


def test_a_sweep_that_takes_long_holds_up_no_row(cast, working, settings):
    settings.SWEEPS = [f"{__name__}.slow_sweep", f"{__name__}.last_sweep"]
    swept.clear()
    stepped.clear()
    working(lambda row: stepped.set())
    until(lambda: swept)
    assert stepped.is_set()


def test_a_sweep_that_fails_keeps_no_other_from_being_done(working, settings, caplog):
    settings.SWEEPS = [f"{__name__}.{name}" for name in ("broken_sweep", "last_sweep")]
    swept.clear()
    working()
    until(lambda: swept)
    told = [record for record in caplog.records if record.getMessage() == "a sweep failed"]
    assert [record.sweep for record in told] == [settings.SWEEPS[0]]


def test_a_worker_with_nothing_to_do_asks_once_for_all_kinds(db):
    idle = Worker(threads=2, lease_seconds=30)
    with ThreadPoolExecutor(1) as pool:
        idle.sweep_at = idle.upkeep_at = idle.beat_at = math.inf
        with CaptureQueriesContext(connection) as asked:
            assert idle.claim_and_submit(pool) == 0
            assert idle.pause() == worker.LOOK_SECONDS
        assert len(asked) == 1
        idle.upkeep_at = 0.0
        with CaptureQueriesContext(connection) as asked:
            idle.keep_leases()
        assert len(asked) == 1


@pytest.mark.parametrize("failed", [False, True])
def test_only_kinds_that_have_a_row_that_is_due_are_asked_for_it(cast, failed):
    """A row that another worker holds is no reason to look; one that has failed is."""
    looking = Worker(threads=2, lease_seconds=30)
    soon = timezone.now() + dt.timedelta(seconds=0.5)
    Cast.objects.update(due_at=soon, failed_steps=1 if failed else 0)
    looking.look()
    assert (looking.due, looking.due_next) == ([], soon)
    assert 0 < looking.pause() <= 0.5
    Cast.objects.update(due_at=timezone.now())
    looking.look()
    assert [type(kind).__name__ for kind in looking.due] == ["CastWork"]
    assert looking.pause() == (worker.LOOK_SECONDS if failed else 0.01)
    Cast.objects.update(lease_until=timezone.now())
    looking.look()
    assert (looking.due, looking.due_next) == ([], None)
    looking.keep_leases()
    assert Cast.objects.get().lease_until is None


def test_a_worker_whose_threads_are_all_busy_asks_nothing(cast):
    busy = Worker(threads=1, lease_seconds=30)
    busy.held = {Future(): (cast, time.monotonic())}
    with CaptureQueriesContext(connection) as asked:
        busy.look()
        assert busy.pause() == 0.01
    assert (len(asked), busy.due) == (0, [])


def test_a_stopped_worker_finishes_what_it_holds_and_takes_nothing_more(make_cast, working):
    make_cast(), make_cast()
    begun, finish, finished = threading.Event(), threading.Event(), []

    def step(row):
        begun.set()
        finish.wait(10)
        finished.append(row.pk)

    worker, thread = working(step, threads=1)
    assert begun.wait(10)
    worker.stop()
    time.sleep(0.1)
    assert thread.is_alive()
    finish.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(finished) == 1
    assert Cast.objects.filter(lease_until=None).count() == 2
    assert Cast.objects.filter(due_at__isnull=False).count() == 1


def test_a_long_steps_lease_is_kept_up_and_nobody_takes_it_over(cast, working):
    holders, finish = [], threading.Event()

    def step(row):
        holders.append(row.claim_number)
        finish.wait(10)

    working(step, lease=0.6)
    working(step, lease=0.6)
    time.sleep(1.8)
    assert len(holders) == 1
    finish.set()
    until(lambda: Cast.objects.get().lease_until is None)


def test_a_dead_workers_row_is_taken_over(cast, working):
    [dead] = Cast.due_rows().claim(limit=1, lease=dt.timedelta(seconds=0.3))
    taken = []
    working(lambda row: taken.append(row.claim_number))
    assert until(lambda: taken)[0] > dead.claim_number


def test_no_more_rows_are_held_than_there_are_threads(make_cast, working):
    for _ in range(8):
        make_cast()
    at_work, most, lock = [], [], threading.Lock()

    def step(row):
        with lock:
            at_work.append(row)
            most.append(len(at_work))
        most.append(Cast.objects.filter(lease_until__isnull=False).count())
        time.sleep(0.02)
        with lock:
            at_work.remove(row)

    working(step, threads=3)
    until(lambda: Cast.objects.filter(attempts=1, lease_until=None).count() == 8)
    assert max(most) <= 3


@pytest.mark.processes
def test_the_command_waits_for_its_tables_and_stops_on_sigterm_with_exit_code_zero(tmp_path):
    environment = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ} | {
        "SECRET_KEY": SECRET_KEY,
        "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'worker.sqlite3'}",
        "VAR_DIR": str(tmp_path),
    }
    command = [sys.executable, "manage.py", "runworker"]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        worker = warm.Popen(command, cwd=ROOT, env=environment, stderr=stderr)
    until(lambda: "Run: manage.py migrate" in log.read_text(), 60)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    told = log.read_text()
    assert "worker stops" in told
    assert told.count("worker waits for the database") == 1
    assert "Traceback" not in told


@pytest.mark.processes
def test_the_command_starts_when_its_tables_are_there(tmp_path):
    environment = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ} | {
        "SECRET_KEY": SECRET_KEY,
        "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'worker.sqlite3'}",
        "VAR_DIR": str(tmp_path),
    }
    log = tmp_path / "log"
    with log.open("w") as stderr:
        worker = warm.Popen([sys.executable, "manage.py", "runworker"], cwd=ROOT, env=environment, stderr=stderr)
    try:
        until(lambda: "worker waits for the database" in log.read_text(), 60)
        warm.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
        until(lambda: "worker starts" in log.read_text(), 60)
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


# --- wake-ups --------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener():
    made = wakeups.listener(wakeups.NEWS)
    made.wait(0)
    yield made
    made.close()


def test_a_listener_hears_of_news_soon_after_the_commit(listener, make_cast):
    cast = make_cast()
    began = time.monotonic()
    told = listener.wait(5)
    assert told is None or str(cast.pk) in told
    assert time.monotonic() - began < 1


def test_a_listener_that_hears_nothing_says_so_when_its_time_is_over(listener):
    while listener.wait(0.1) != set():  # what the fixtures committed
        pass
    began = time.monotonic()
    assert listener.wait(0.2) == set()
    assert 0.1 < time.monotonic() - began < 2


def test_a_burst_of_news_is_one_wake_up(listener, make_cast):
    casts = {str(make_cast().pk) for _ in range(5)}
    time.sleep(0.05)
    told = listener.wait(5)
    assert told is None or casts <= told | (listener.wait(0) or set())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to lose")
def test_a_listener_whose_connection_is_cut_comes_back_and_looks_everywhere(listener, make_cast):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [listener.connection.info.backend_pid])
    assert until(lambda: listener.wait(0.1) is None)
    until(lambda: listener.wait(0.1) is None or listener.connection)
    listener.wait(0.1)
    cast = make_cast()
    assert str(cast.pk) in (listener.wait(5) or ())


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite needs no telling")
def test_a_wake_up_that_can_not_be_sent_is_no_error(monkeypatch, make_cast, caplog):
    from django.db import OperationalError

    def refuse(*args):
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        wakeups.has_news(Cast().pk)
        wakeups.work_is_due()
    assert "wake-up not sent" in caplog.text


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite needs no telling")
@pytest.mark.django_db(transaction=True)
def test_wake_ups_that_come_together_are_sent_together_and_none_is_lost(monkeypatch):
    sent = []
    send = wakeups._send
    monkeypatch.setattr(wakeups, "_send", lambda through, news: sent.append(news) or send(through, news))
    heard = wakeups.PostgresListener(wakeups.NEWS)
    heard.wait(1)
    notifier = wakeups.Notifier()
    expected = {str(number) for number in range(500)}
    threads = [
        threading.Thread(target=lambda k=k: [notifier.tell(wakeups.NEWS, str(n)) for n in range(k, 500, 5)])
        for k in range(5)
    ]
    for thread in threads:
        thread.start()
    got = set()
    for _ in range(100):
        got |= heard.wait(0.1) or set()
        if got >= expected:
            break
    assert got == expected
    assert len(sent) < 100
    assert notifier.connection is not None
    notifier.connection.close()  # the server went away
    notifier.tell(wakeups.NEWS, "lost")
    assert notifier.idle.wait(5)
    notifier.tell(wakeups.NEWS, "after")
    assert notifier.idle.wait(5)
    assert "after" in (heard.wait(2) or set())
    notifier._close()
    heard.close()
