"""Waiting for SQLite's locks, in a file of the tests' own, opened as the settings say."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, transaction
from django.db.utils import ConnectionHandler

from spellplatform.settings import database

LOCKED = "database is locked"


@pytest.fixture
def connections(tmp_path, monkeypatch, django_db_blocker):
    """Each thread's connection to a file with one counter; `transaction.atomic` is about it."""
    handler = ConnectionHandler({"default": database(f"sqlite:///{tmp_path / 'own.sqlite3'}")})
    monkeypatch.setattr(transaction, "connections", handler)
    with django_db_blocker.unblock():
        with handler["default"].cursor() as cursor:
            cursor.execute("CREATE TABLE counter (n INTEGER)")
            cursor.execute("INSERT INTO counter VALUES (0)")
        yield handler
        handler["default"].close()


@pytest.fixture
def waiting(monkeypatch):
    """Set once somebody has met a lock and waits for it in Python."""
    event, sleep = threading.Event(), time.sleep

    def tell(seconds):
        event.set()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", tell)
    return event


def run(connection, sql):
    """Run a statement and return the first value of its first row, if it has rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


class Cycle:
    """Only the garbage collector ends it."""

    def __init__(self, cursor):
        self.cursor, self.me = cursor, self


def test_a_garbage_collection_by_who_has_the_lock_does_not_wait_for_who_wants_it(connections, waiting):
    """It meets a cursor of the connection that waits, which it can't reset while SQLite is busy with it."""
    left = []

    def want():
        own = connections["default"]
        cursor = own.cursor()
        cursor.execute("SELECT 1 UNION ALL SELECT 2")  # not read to the end; of no table, so it holds no snapshot
        cycle = Cycle(cursor)
        left.append(weakref.ref(cycle))
        del cycle, cursor
        with transaction.atomic(using="default"):
            run(own, "UPDATE counter SET n = n + 1")
        own.close()

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as other:
            with transaction.atomic():
                wants = other.submit(want)
                assert waiting.wait(60)
                assert left[0]() is not None
                gc.collect()
                assert left[0]() is None
                assert not wants.done()  # neither with the lock nor with an error
            wants.result(60)
    finally:
        gc.enable()
    assert run(connections["default"], "SELECT n FROM counter") == 1


def test_sqlite_itself_waits_for_no_lock(connections):
    assert run(connections["default"], "PRAGMA busy_timeout") == 0


def test_who_writes_at_the_same_time_waits_in_a_transaction_and_outside(connections, waiting):
    start = threading.Barrier(4)

    def count():
        own = connections["default"]
        start.wait()
        for _ in range(100):
            with transaction.atomic():
                n = run(own, "SELECT n FROM counter")
                run(own, f"UPDATE counter SET n = {n + 1}")
            run(own, "UPDATE counter SET n = n + 1")
        own.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(count) for _ in range(4)]:
            done.result(120)
    assert run(connections["default"], "SELECT n FROM counter") == 4 * 2 * 100


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "UPDATE counter SET n = 2"])
def test_after_the_time_that_the_settings_allow_the_error_is_sqlites(connections, waiting, statement):
    impatient = connections.create_connection("default")
    impatient.settings_dict = impatient.settings_dict | {
        "OPTIONS": impatient.settings_dict["OPTIONS"] | {"timeout": 0.05}
    }
    with transaction.atomic(), pytest.raises(OperationalError, match=LOCKED):
        run(impatient, statement)
    assert waiting.is_set()
    run(impatient, statement)  # the connection is none the worse
    impatient.close()


def test_in_a_transaction_nothing_is_repeated(connections, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    reader = connections.create_connection("default")
    run(reader, "BEGIN")
    assert run(reader, "SELECT n FROM counter") == 0
    with transaction.atomic():
        run(connections["default"], "UPDATE counter SET n = 5")
        with pytest.raises(OperationalError, match=LOCKED):  # another writes just now
            run(reader, "UPDATE counter SET n = n + 1")
    with pytest.raises(OperationalError, match=LOCKED):  # another has written since
        run(reader, "UPDATE counter SET n = n + 1")
    run(reader, "ROLLBACK")
    run(reader, "UPDATE counter SET n = n + 1")
    assert run(reader, "SELECT n FROM counter") == 6
    reader.close()


def test_who_still_reads_what_others_have_changed_since_is_told_at_once(connections, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    run(connections["default"], "INSERT INTO counter VALUES (1)")
    reader = connections.create_connection("default")
    with reader.cursor() as unread:
        unread.execute("SELECT n FROM counter")
        run(connections["default"], "UPDATE counter SET n = 5")
        with pytest.raises(OperationalError, match=LOCKED):
            run(reader, "BEGIN IMMEDIATE")
    run(reader, "BEGIN IMMEDIATE")
    reader.close()


def test_what_may_be_half_done_is_not_repeated_and_waits_in_sqlite(connections):
    own = connections["default"]
    with own.cursor() as cursor:
        cursor.executescript("INSERT INTO counter SELECT timeout FROM pragma_busy_timeout; SELECT 1;")
        cursor.executemany("INSERT INTO counter SELECT timeout + %s FROM pragma_busy_timeout", [[1], [2]])
        cursor.execute("SELECT n FROM counter ORDER BY n")
        assert cursor.fetchall() == [(0,), (20_000,), (20_001,), (20_002,)]
    assert run(own, "PRAGMA busy_timeout") == 0


def test_who_open_a_new_file_at_the_same_time_all_get_wal(tmp_path, django_db_blocker):
    """The switch to WAL takes a lock, before Django has any cursor that could wait for it."""
    start = threading.Barrier(8)

    def opened(number):
        connection = ConnectionHandler({"default": database(f"sqlite:///{tmp_path / str(number)}")})["default"]
        start.wait()
        mode = run(connection, "PRAGMA journal_mode")
        connection.close()
        return mode

    with django_db_blocker.unblock(), ThreadPoolExecutor(8) as pool:
        for number in range(20):
            assert list(pool.map(opened, [number] * 8)) == ["wal"] * 8
