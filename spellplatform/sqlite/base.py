"""Django's SQLite backend, except that waiting for a lock is done in Python, with the connection's mutex free.

SQLite's own wait (its busy timeout) holds the connection's mutex all the time. Python's garbage collector may meet a
cursor of a waiting connection, in the very thread that has the write lock: to reset the cursor it needs the mutex.
Then each waits for the other, and all writing stops until the timeout is over.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from django.db.backends.sqlite3 import base

T = TypeVar("T")

RETRY_SECONDS = (0.0005, 0.003)  # between two tries; random, so that waiting connections don't keep in step


def run_unlocked(run: Callable[[], T], connection: sqlite3.Connection, lock_seconds: float) -> T:
    """Run a statement; while the database is locked, repeat it for up to `lock_seconds`, then raise SQLite's error."""
    give_up_at = time.monotonic() + lock_seconds
    while True:
        try:
            return run()
        except sqlite3.OperationalError as error:
            if not may_repeat(error, connection) or time.monotonic() >= give_up_at:
                raise
        time.sleep(random.uniform(*RETRY_SECONDS))  # noqa: S311 - no secret


def may_repeat(error: sqlite3.OperationalError, connection: sqlite3.Connection) -> bool:
    """Return whether a statement failed because another connection has the lock, and has done nothing yet.

    Not in a transaction: what it has read would have to be read again. Nor while rows are being read that others have
    changed since (BUSY_SNAPSHOT): the lock is not available before they are read to the end.
    Source: https://www.sqlite.org/rescode.html#busy_snapshot
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)  # errors of Python's module have none
    locked = code & 0xFF == sqlite3.SQLITE_BUSY and code != sqlite3.SQLITE_BUSY_SNAPSHOT
    return locked and not connection.in_transaction


class Cursor(base.SQLiteCursorWrapper):
    """Waits for locks in Python, but in SQLite where a part may be done already and can't be repeated."""

    connection: sqlite3.Connection
    lock_seconds: float

    def execute(self, query: str, params: Any = None) -> Any:
        return run_unlocked(lambda: super(Cursor, self).execute(query, params), self.connection, self.lock_seconds)

    def executemany(self, query: str, param_list: Any) -> Any:
        with self._sqlite_waits():
            return super().executemany(query, param_list)

    def executescript(self, script: str) -> Any:
        with self._sqlite_waits():
            return super().executescript(script)

    @contextmanager
    def _sqlite_waits(self) -> Iterator[None]:
        self.connection.execute(f"PRAGMA busy_timeout = {self.lock_seconds * 1000:.0f}").close()
        try:
            yield
        finally:
            self.connection.execute("PRAGMA busy_timeout = 0").close()


class DatabaseWrapper(base.DatabaseWrapper):
    """`timeout` in OPTIONS means what it means in Django: for how many seconds a statement waits for a lock."""

    init_commands: list[str]

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        self.lock_seconds = float(params.get("timeout", 5.0))
        self.first_commands, self.init_commands = self.init_commands, []
        # SQLite itself does not wait.
        return params | {"timeout": 0.0}

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        connection: sqlite3.Connection = super().get_new_connection(conn_params)
        try:
            # Switching a new file to WAL takes a lock, which another process may want at the same time.
            for command in self.first_commands:
                run_unlocked(partial(connection.execute, command), connection, self.lock_seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def create_cursor(self, name: str | None = None) -> Cursor:
        cursor: Cursor = self.connection.cursor(factory=Cursor)
        cursor.lock_seconds = self.lock_seconds
        return cursor
