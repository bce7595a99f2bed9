"""`python -m tests [pytest arguments]`: the whole suite on SQLite and, beside it, on a real Postgres.

Without arguments both are cut in lanes, one pytest process each: those that compute get the time that is left by those
that wait for other processes. With FAST=1 only the tests that start no process and do not take long (thorough.txt) run,
on SQLite.

Tables are made once for each kind of database; the lanes, and the platforms that their tests start, begin with copies.

A test that failed runs once more when all lanes have ended. If it passes then, it was the crowd: the suite passes and
names it as unsteady, which is a fault of the test or of the code, to be found before the next.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg

from tests.e2e.platform import MADE, MIGRATED, ROOT, TABLES_MADE, beside, collecting_nothing, environment_for, name_of
from tests.postgres import a_postgres

E2E, BROWSER = ["tests/e2e"], ["tests/browser"]
OTHERS = ["tests", "--ignore=tests/e2e"]
IN_PROCESS, PROCESSES = ["-m", "not processes"], ["-m", "processes"]
ON_POSTGRES = ["--database-only", "-m", "not once"]
QUICK = [*IN_PROCESS, "--quick"]
# What computes, cut in parts that take about as long.
PARTS = {
    "casts": ["tests/casts"],
    "webhooks, core and accounts": ["tests/webhooks", "tests/core", "tests/accounts"],
    "payments and GitHub": ["tests/payments", "tests/github_integration"],
}
PARTS["all else"] = [*OTHERS, *(f"--ignore={folder}" for folders in PARTS.values() for folder in folders)]
COMPUTING_MOST = 3  # at a time; on two cores two keep both busy, and one more does while they wait for Postgres
MIGRATE = """
import runpy, sys
sys.argv[1:] = ["migrate", "-v0"]
said = "badly"
try:
    runpy.run_path("manage.py", run_name="__main__")
    said = {well!r}
finally:
    open({made!r}, "w").write(said)
"""
CACHES = Path(__file__).resolve().parents[1] / ".pytest_cache"
TESTS_FAILED, NO_TESTS = 1, 5  # pytest's exit codes
UNSTEADY_MOST = 3  # more failures in a lane are no bad luck


@dataclass
class Lane:
    """One pytest process."""

    title: str
    arguments: list[str]
    url: str | None
    computes: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    number: int = 0
    output: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start it, with its output kept for later."""
        # What one lane compiles the others need as well, and most processes that tests start.
        mine = ("TEST_DATABASE_URL", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if name not in mine}
        environment["TEST_DATABASE_NAME"] = f"test_spells_{self.number}"
        if self.url:
            environment["TEST_DATABASE_URL"] = self.url
        environment |= self.environment
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={self.cache}", *self.arguments, *more]
        if self.computes:
            command = ["nice", "-n", "10", *command]
        self.output.seek(0)
        self.output.truncate()
        self.process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=subprocess.STDOUT)

    @property
    def cache(self) -> Path:
        return CACHES / f"lane-{self.number}"

    def failed(self) -> list[str]:
        """Return the tests that failed, by their names."""
        try:
            return list(json.loads((self.cache / "v" / "cache" / "lastfailed").read_text()))
        except FileNotFoundError:
            return []

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def end(self) -> int:
        """Wait for its end and show what it printed; return its exit code."""
        assert self.process is not None
        code = self.process.wait()
        print(f"\n=== {self.title} ===", flush=True)
        self.output.seek(0)
        sys.stdout.buffer.write(self.output.read())
        sys.stdout.flush()
        return code


@contextlib.contextmanager
def a_hasty_postgres() -> Iterator[str]:
    """Yield the URL of a Postgres; our own one forgets everything in a power cut, and waits for no disk."""
    with a_postgres() as url:
        if "TEST_DATABASE_URL" not in os.environ:
            with psycopg.connect(url, autocommit=True) as connection:
                for name in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {name} = off")
                connection.execute("SELECT pg_reload_conf()")
        yield url


@contextlib.contextmanager
def tables_for(lanes: list[Lane]) -> Iterator[None]:
    """Make all tables in one database of each kind, for the lanes to copy; they collect their tests meanwhile."""
    with tempfile.TemporaryDirectory(prefix="spell-tables-") as name, contextlib.ExitStack() as cleaning:
        folder = Path(name)
        under_way = []
        for number, url in enumerate({lane.url for lane in lanes}):
            made = folder / f"made-{number}"
            database = cleaning.enter_context(a_database(folder, url))
            command = [sys.executable, "-c", collecting_nothing(MIGRATE.format(made=str(made), well=MADE))]
            environment = environment_for(folder, database, LOG_LEVEL="WARNING")
            under_way.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            for lane in lanes:
                if lane.url == url:
                    lane.environment = {MIGRATED: database, TABLES_MADE: str(made)}
        try:
            yield
        finally:
            codes = [process.wait() for process in under_way]
        if any(codes):
            raise SystemExit("The lanes had no tables: manage.py migrate failed.")


@contextlib.contextmanager
def a_database(folder: Path, server: str | None) -> Iterator[str]:
    """Yield the URL of an empty database of its own, on SQLite in the folder; drop it afterwards."""
    if server is None:
        yield f"sqlite:///{folder / 'tables.sqlite3'}"
        return
    url = beside(server, f"test_spells_tables_{os.getpid()}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name_of(url)}")
        try:
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


def lanes_of(given: list[str], url: str) -> list[Lane]:
    """Return the lanes, those that wait for other processes first; of what computes, what takes longest first.

    Every test is in one lane on SQLite and, if it may find something else there, in one on Postgres.
    """
    if given:
        return [Lane("SQLite", given, None), Lane("Postgres", [*given, ON_POSTGRES[0]], url)]
    waiting = [
        Lane("SQLite, whole platforms", E2E, None),
        Lane("Postgres, whole platforms", [*E2E, *ON_POSTGRES], url),
        Lane("SQLite, browser", [*BROWSER, *PROCESSES], None),
        Lane("SQLite, other processes", [*OTHERS, f"--ignore={BROWSER[0]}", *PROCESSES], None),
    ]
    # On Postgres all else has storms in it, which take long and little of the cores.
    names = ["all else", *(name for name in PARTS if name != "all else")]
    postgres = [Lane(f"Postgres, {name}", [*PARTS[name], *ON_POSTGRES], url, computes=True) for name in names]
    sqlite = [Lane(f"SQLite, {name}", [*PARTS[name], *IN_PROCESS], None, computes=True) for name in names]
    return [*waiting, *(lane for pair in zip(postgres, sqlite, strict=True) for lane in pair)]


def fast_lanes() -> list[Lane]:
    """Return what starts no process, on SQLite; all parts at once, as each waits now and then."""
    return [Lane(f"SQLite, {name}", [*folders, *QUICK], None) for name, folders in PARTS.items()]


def side_by_side(lanes: list[Lane]) -> list[int]:
    """Run all lanes, of those that compute some at a time, and show each when it has ended; return their exit codes."""
    codes: dict[int, int] = {}
    queued, under_way = lanes.copy(), list[Lane]()
    while queued or under_way:
        for lane in queued.copy():
            if not lane.computes or sum(other.computes for other in under_way) < COMPUTING_MOST:
                queued.remove(lane)
                under_way.append(lane)
                lane.start()
        for lane in under_way.copy():
            if lane.ended():
                under_way.remove(lane)
                codes[lane.number] = lane.end()
        time.sleep(0.1)
    return [codes[lane.number] for lane in lanes]


def run(lanes: list[Lane], *, again: bool) -> int:
    """Run lanes side by side, and if `again` failed tests once more by themselves; return 0 only if all passed."""
    began = time.monotonic()
    print("Testing side by side: each is shown when it has ended.", flush=True)
    unsteady: list[str] = []
    try:
        for number, lane in enumerate(lanes):
            lane.number = number
            (lane.cache / "v" / "cache" / "lastfailed").unlink(missing_ok=True)
        codes = side_by_side(lanes)
        if not again and set(codes) == {0, NO_TESTS}:  # what was given knows no database, so once was enough
            codes = [0] * len(codes)
        for number, lane in enumerate(lanes):
            failed = lane.failed()
            if again and codes[number] == TESTS_FAILED and len(failed) <= UNSTEADY_MOST:
                lane.title += ", what failed once more"
                lane.start("--last-failed", "--last-failed-no-failures=none")
                codes[number] = lane.end()
                unsteady += failed if codes[number] == 0 else []
    finally:
        for lane in lanes:
            if lane.process is not None:
                lane.process.terminate()
    print(f"\nIn {time.monotonic() - began:.0f} s:", end=" ")
    print(", ".join(f"{lane.title} {'FAILED' if code else 'passed'}" for lane, code in zip(lanes, codes, strict=True)))
    for name in unsteady:
        print(f"UNSTEADY: {name} failed in the crowd and passed alone. Find out why.")
    return max(map(abs, codes))  # one that was killed has a negative one


def main() -> int:
    """Run what is asked for."""
    if os.environ.get("FAST") and not sys.argv[1:]:
        with tables_for(lanes := fast_lanes()):
            code = run(lanes, again=False)
        print("Left out: Postgres, what starts processes (browser, act, …), and what takes long (tests/thorough.txt).")
        return code
    with a_hasty_postgres() as url:
        lanes = lanes_of(sys.argv[1:], url)
        with tables_for(lanes):
            return run(lanes, again=not sys.argv[1:])


if __name__ == "__main__":
    # A shell has what it starts in the background ignore it, and so would all that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    sys.exit(main())
