"""The Postgres of the bench, with fsync on, and what it was asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from tests.e2e.platform import until
from tests.postgres import embedded, find_system_postgres, system_postgres

# Nothing that trades safety for speed: fsync and synchronous_commit stay on, as in production.
OPTIONS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "max_connections": "300",
    "shared_preload_libraries": "pg_stat_statements",
}


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Yield the URL of a server: the one that TEST_DATABASE_URL names, the system's, or the embedded one."""
    with ExitStack() as cleaning:
        url = os.environ.get("TEST_DATABASE_URL") or cleaning.enter_context(
            system_postgres(folder, **OPTIONS) if find_system_postgres() else embedded(folder)
        )
        until(lambda: starts_sessions(url))
        yield url


def starts_sessions(url: str) -> bool:
    """Whether a server takes connections: it listens some time before it does."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def execute(url: str, command: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement; return its rows, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(command, values or None)
        return cursor.fetchall() if cursor.description else []


def create(server: str, name: str) -> str:
    """Make an empty database; return its URL."""
    execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(server, f"CREATE DATABASE {name}")
    url = f"{server.rsplit('/', 1)[0]}/{name}"
    try:
        execute(url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    except psycopg.Error:
        return url  # then transactions are counted instead
    return url


def drop(server: str, url: str) -> None:
    execute(server, f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")


def asked(url: str) -> tuple[int, str]:
    """Return how many statements this database was asked so far, or transactions if those are not counted."""
    try:
        # BEGIN and the like count as well; what the bench itself asks is left out.
        query = (
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
            "WHERE datname = current_database() AND query NOT LIKE '%pg_stat%'"
        )
        [(count,)] = execute(url, query)
        return int(str(count)), "statements"
    except psycopg.Error:
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        [(count,)] = execute(url, query)
        return int(str(count)), "transactions"


def statements(url: str, limit: int = 12) -> list[tuple[object, ...]]:
    """Return what took longest in all, with calls and milliseconds; nothing where that is not counted."""
    try:
        return execute(url, STATEMENTS, limit)
    except psycopg.Error:
        return []


STATEMENTS = """
SELECT calls, round(total_exec_time::numeric, 1), left(query, 110) FROM pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid WHERE datname = current_database() ORDER BY 2 DESC LIMIT %s
"""


class NoPgbench(Exception):
    """It is not installed, or does not run."""


def pgbench(url: str, script: str, folder: Path, *, clients: int, seconds: int) -> float:
    """Return the transactions a second of a pgbench script."""
    file = folder / "pgbench.sql"
    file.write_text(script)
    command = ["pgbench", "-n", "-c", str(clients), "-j", "2", "-T", str(seconds), "-f", str(file), url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise NoPgbench(str(exc)) from exc
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps ="))
    return float(line.split()[2])
