"""How long to wait for other transactions."""

from __future__ import annotations

from django.db import connection

from core.db.compiled import execute, own_connection


def wait_for_locks(milliseconds: int) -> None:
    """Limit how long a statement waits for a lock, until the transaction ends. SQLite has one limit for everything.

    A statement that has waited longer raises OperationalError with "lock timeout" in its text.
    """
    if connection.vendor == "postgresql":
        execute(f"SET LOCAL lock_timeout = {milliseconds:d}", (), own_connection()).close()
