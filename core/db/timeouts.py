"""How long a statement may take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


def bound_statements(seconds: float) -> None:
    """Have Postgres end every statement of this process that takes longer, from its next connection on; 0: none.

    SQLite has no such thing: there statements take what they take.
    """

    def bound(connection: Any, **kwargs: Any) -> None:
        if connection.vendor == "postgresql":
            bound_one(connection, seconds)

    for opened in connections.all(initialized_only=True):
        if opened.vendor == "postgresql":
            opened.close()
    connection_created.disconnect(dispatch_uid=__name__)
    if seconds:
        connection_created.connect(bound, weak=False, dispatch_uid=__name__)


def took_too_long(error: BaseException) -> bool:
    """Return whether the database ended a statement because of its time."""
    return isinstance(error.__cause__, psycopg.errors.QueryCanceled)


def bound_this_thread(seconds: float) -> None:
    """Have Postgres end statements that this thread's connection is asked from now on if they take longer."""
    if connection.vendor == "postgresql":
        bound_one(connection, seconds)


def bound_one(of: Any, seconds: float) -> None:
    with of.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, false)", [f"{round(seconds * 1000)}ms"])


@contextmanager
def impatient(of: BaseDatabaseWrapper, seconds: float) -> Iterator[None]:
    """Give up waiting for a lock after so long, on Postgres: whoever comes after would have to wait behind us."""
    if of.vendor != "postgresql":
        yield
        return
    with of.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{round(seconds * 1000)}ms"])
    try:
        yield
    finally:
        if of.connection is not None and not of.in_atomic_block:
            with of.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', '0', false)")
