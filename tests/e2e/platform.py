"""The whole platform as real processes: web, worker and the local GitHub, over HTTP."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import jwt
import psycopg
import requests

from tests import warm
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SECRET = WEBHOOK_SECRET
REPOSITORY = "demo/spells"
MINUTE = "10"  # seconds; what has a minute here really takes two at most
EVERY_SCOPE = "casts:read,casts:write,spells:read,budget:read,budget:write,callbacks,keys"
# Of a database of the kind under test that is given all tables: its URL, and a file that says when it has them, and how
# that went.
MIGRATED, TABLES_MADE = "TEST_MIGRATED_DATABASE", "TEST_TABLES_MADE"
TABLES_SECONDS, MADE = 300, "well"
AGENT = {"User-Agent": "spell-platform-tests"}
T = TypeVar("T")


def free_port() -> int:
    """Return a port that nobody has, and that the system gives nobody who asks for any: those begin at 32768."""
    for port in random.sample(range(15_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def until(what: Callable[[], T | Literal[False] | None], *, seconds: float = 60.0, every: float = 0.05) -> T:
    """Return the first true value of `what()`; fail after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s")


# --- databases -----------------------------------------------------------------------------------------------------


def server() -> str:
    """Return the Postgres under test, blank for SQLite."""
    return os.environ.get("TEST_DATABASE_URL", "")


def on_server(command: str) -> None:
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(command)


def new_database(folder: Path, *, like: str = "") -> str:
    """Return the URL of a new database of the kind under test, empty or a copy of another."""
    if not server():
        file = folder / "e2e.sqlite3"
        if like:
            shutil.copy(like.removeprefix("sqlite:///"), file)
        return f"sqlite:///{file}"
    url = beside(server(), f"e2e_{uuid.uuid4().hex[:12]}")
    on_server(f"CREATE DATABASE {name_of(url)}" + (f" TEMPLATE {name_of(like)}" if like else ""))
    return url


def beside(url: str, name: str) -> str:
    """Return the URL of a database with this name on the same server."""
    head, _, tail = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{tail}" if tail else "")


def name_of(url: str) -> str:
    return url.partition("?")[0].rsplit("/", 1)[1]


def drop_database(url: str) -> None:
    if server():
        on_server(f"DROP DATABASE {name_of(url)} WITH (FORCE)")


def fill(folder: Path, url: str, spells: str) -> str:
    """Put these spells and an account into a database that has its tables; return the account's API key."""
    environment = environment_for(folder, url)
    (folder / "spells.toml").write_text(spells)
    manage(environment, "loadspells", str(folder / "spells.toml"))
    return manage(environment, "createapikey", "tests", "--cap-cents", "100000", "--scopes", EVERY_SCOPE).strip()


def kept_database(*, like: str = "") -> tuple[Path, str]:
    """Return a database that is there until we end, to be copied, and a folder beside it."""
    folder = Path(tempfile.mkdtemp(prefix="spell-e2e-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = new_database(folder, like=like)

    @atexit.register
    def leave_nothing() -> None:
        with contextlib.suppress(psycopg.OperationalError):  # its server was ours, and has ended
            drop_database(url)

    return folder, url


def given_tables() -> str:
    """Wait for the database that the whole suite makes for its pytest processes (tests/__main__.py); return its URL.

    Return an empty text where nobody makes one.
    """
    if url := os.environ.get(MIGRATED, ""):
        made = Path(os.environ[TABLES_MADE])
        until(lambda: made.exists() and made.stat().st_size, seconds=TABLES_SECONDS)
        assert made.read_text() == MADE, "manage.py migrate failed; it is said above all lanes why"
    return url


@functools.cache
def migrated() -> str:
    """Return a database with all tables and nothing in them. Making one takes longer than most tests."""
    if url := given_tables():
        return url
    folder, url = kept_database()
    manage(environment_for(folder, url), "migrate", "-v0")
    return url


@functools.cache
def prepared(spells: str) -> tuple[str, str]:
    """Return a database with these spells, and an API key."""
    folder, url = kept_database(like=migrated())
    return url, fill(folder, url, spells)


# --- processes -----------------------------------------------------------------------------------------------------


def environment_for(folder: Path, database_url: str, **settings: str) -> dict[str, str]:
    """Return what web, worker and commands are started with."""
    return {
        **{n: os.environ[n] for n in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if n in os.environ},
        "SECRET_KEY": SECRET_KEY,
        "DATABASE_URL": database_url,
        "VAR_DIR": str(folder),
        "LOG_FORMAT": "console",
        "GITHUB_API_VERSION": "2026-03-10",
        "GITHUB_APP_ID": "1",
        "GITHUB_APP_PRIVATE_KEY": str(DATA / "app.pem"),
        "GITHUB_APP_INSTALLATION_ID": "1",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_WORKFLOW_REF": "main",
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "CAST_LOOK_MIN_SECONDS": "0.5",
        # At work, but out of the way of tests that ask for whatever they wait for, and of load.
        "ACCOUNT_MAX_OPEN": "10000000",
        **{f"STREAMS_PER_{whose}": "10000000" for whose in ("KEY", "ACCOUNT", "LINK", "ADDRESS")},
        **{f"RATION_PER_{whose}": "10000000" for whose in ("KEY", "ACCOUNT", "LINK", "ADDRESS")},
        **{f"RATION_{what}": "0" for what in ("BAD_KEYS", "BAD_SIGNATURES", "FAILED_LOGINS")},  # all from one address
        **settings,
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run a management command to its end; return what it printed."""
    done = warm.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def collecting_nothing(code: str) -> str:
    """Return a script for one that migrates: to collect its many short-lived models would be a third of its work."""
    return f"import gc\ngc.disable()\n{code}"


class Platform:
    """One installation. `settings` go into the environment of web and worker."""

    def __init__(
        self, folder: Path, *, database: str = "", webhooks: bool = True, api: str = "github.com", **settings: str
    ) -> None:
        self.folder, self.webhooks, self.api = folder, webhooks, api
        self.web_port, self.github_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.github = f"http://127.0.0.1:{self.github_port}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.gates: list[Path] = []
        self.key = ""
        self.database_url = new_database(folder, like=database)
        self.environment = environment_for(
            folder,
            self.database_url,
            **{
                "PUBLIC_URL": self.url,
                "BIND": f"127.0.0.1:{self.web_port}",
                "GITHUB_API_URL": self.github,
                "GITHUB_API_VERSION": "2026-03-10" if api == "github.com" else "",
                **settings,
            },
        )

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end; return what it printed."""
        return manage(self.environment, *arguments)

    def publish(self, *workflows: Path) -> None:
        """Put copies of workflow files into the repository, before its GitHub starts."""
        folder = self.folder / "repository" / ".github" / "workflows"
        folder.mkdir(parents=True, exist_ok=True)
        for file in workflows:
            (folder / file.name).write_bytes(file.read_bytes())
        shutil.copytree(ROOT / ".github" / "actions", folder.parent / "actions", dirs_exist_ok=True)

    def command(self, name: str) -> list[str]:
        """Return what starts "github", "web", or a worker of any other name."""
        repository = self.folder / "repository"
        if name == "github":
            return [
                *(sys.executable, "manage.py", "localgithub", "--port", str(self.github_port), "--blob-port", "0"),
                *("--repository", f"{REPOSITORY}={repository}", "--state-dir", str(self.folder / "github")),
                *("--app-id", "1", "--app-public-key", str(DATA / "app.pub"), "--installation-id", "1"),
                *(
                    "--environment",
                    f"{REPOSITORY}=staging,production",
                    "--api",
                    self.api,
                    "--webhook-secret",
                    SECRET,
                    "--minute",
                    MINUTE,
                ),
                *(["--webhook-url", f"{self.url}/api/webhooks/github"] if self.webhooks else []),
            ]
        if name == "web":
            return [sys.executable, "-m", "gunicorn", "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi"]
        return [sys.executable, "manage.py", "runworker"]

    def start(self, name: str, *, own_group: bool = False, **settings: str) -> None:
        """Start a process, with settings for it alone; in a group of its own it can be killed with all its children."""
        # PGAPPNAME: whose a connection is shows in pg_stat_activity.
        environment = self.environment | {"PGAPPNAME": name} | settings
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = warm.Popen(
                self.command(name),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=own_group,
            )

    def stop(self, *names: str, how: signal.Signals = signal.SIGTERM) -> int:
        """End processes, all at once, and return the last one's exit code."""
        ending = [self.running.pop(name) for name in names]
        for process in ending:
            process.send_signal(how)
        codes = [process.wait(30) for process in ending]
        if how == signal.SIGKILL and "web" in names:  # its child serves until it notices, within a second
            until(lambda: not self.answers(self.url + "/livez"))
        return codes[-1] if codes else 0

    def answers(self, url: str) -> bool:
        try:
            requests.get(url, timeout=5, headers=AGENT)
        except requests.RequestException:  # not there yet, or too busy starting to answer
            return False
        return True

    def up(self) -> None:
        """Wait until web and the local GitHub answer; they will, however busy the machine is, unless one has ended."""
        wanted = (self.github + "/versions", self.url + "/api/v1/budget")
        until(lambda: all(map(self.answers, wanted)) or self.ended_early(), seconds=300)
        assert not self.ended_early(), self.ended_early()

    def ended_early(self) -> dict[str, str]:
        """Return what processes wrote that should be at work, and are not."""
        return {name: self.log(name) for name, process in self.running.items() if process.poll() is not None}

    def log(self, name: str) -> str:
        """Return what a process wrote so far; blank if it was never started."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def web_process(self) -> int:
        """Return the id of the process that serves: gunicorn's only child."""
        [child] = Path(f"/proc/{self.running['web'].pid}/task/{self.running['web'].pid}/children").read_text().split()
        return int(child)

    # --- what a client does ------------------------------------------------------------------------------------

    def call(self, method: str, path: str, *, key: str | None = None, **options: Any) -> requests.Response:
        """Send a request with an API key ("" for none)."""
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        return requests.request(
            method, self.url + path, headers={**headers, **options.pop("headers", {})}, timeout=90, **options
        )

    def cast(self, spell_key: str, input: Any, **more: Any) -> dict[str, Any]:
        answer = self.call("POST", "/api/v1/cast", json={"spell_key": spell_key, "input": input, **more})
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get(self, cast_id: str, *, wait: int = 0) -> dict[str, Any]:
        prefer = {"Prefer": f"wait={wait}"} if wait else {}
        answer = self.call("GET", f"/api/v1/casts/{cast_id}", headers=prefer)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def ended(self, cast_id: str, *, seconds: int = 60) -> dict[str, Any]:
        """Return the cast once it has ended."""
        found = self.get(cast_id, wait=seconds)
        assert found["final"], found
        return found

    def events(self, cast_id: str, *, after: int | None = None, key: str | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (id, data) of a cast's stream until it closes, and (0, text) for comments and named events."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        headers |= {"Last-Event-ID": str(after)} if after is not None else {}
        url = f"{self.url}/api/v1/casts/{cast_id}/events"
        with requests.get(url, headers=headers, stream=True, timeout=60) as stream:
            assert stream.status_code == 200, (stream.status_code, stream.text)
            number, name = -1, ""
            for line in stream.iter_lines(chunk_size=1):
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"event: "):
                    name = line[7:].decode()
                elif line.startswith(b"data: "):
                    yield (0, name) if name else (number, json.loads(line[6:]))
                    name = ""
                elif line.startswith(b":"):
                    yield 0, line[1:].decode().strip()

    def when(self, cast_id: str, **facts: Any) -> dict[str, Any]:
        """Follow a cast until these facts hold; return its state then."""
        for _, data in self.events(cast_id):
            if isinstance(data, dict) and all(data[name] == value for name, value in facts.items()):
                return data
        raise AssertionError(f"{cast_id} ended without {facts}: {self.get(cast_id)}")

    def artifact(self, cast_id: str, name: str) -> requests.Response:
        """Download one artifact."""
        answer = self.call("GET", f"/api/v1/casts/{cast_id}/artifacts/{quote(name, safe='')}")
        assert answer.status_code == 200, answer.text
        return answer

    # --- what is behind it -------------------------------------------------------------------------------------

    def gate(self) -> Path:
        """Return the path of a file that is not there: what gate.yml waits for."""
        self.gates.append(self.folder / f"gate-{uuid.uuid4().hex}")
        return self.gates[-1]

    def open_gates(self) -> None:
        """Let all runs go on that wait at a gate, also those of a test that failed: they would hold their runners."""
        while self.gates:
            self.gates.pop().touch()

    def at_gate(self, cast_id: str) -> dict[str, Any]:
        """Return the cast's state once its run waits at the gate."""
        return self.when(cast_id, step="Wait at the gate")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Read the database; write `?` for values, and give ids as UUIDs."""
        if not server():
            file = self.database_url.removeprefix("sqlite:///")
            plain = [v.hex if isinstance(v, uuid.UUID) else v for v in values]
            with contextlib.closing(sqlite3.connect(file, timeout=20)) as connection:
                connection.row_factory = sqlite3.Row
                return [dict(row) for row in connection.execute(query, plain)]
        with psycopg.connect(self.database_url, row_factory=psycopg.rows.dict_row) as connection:
            return connection.execute(query.replace("?", "%s"), values).fetchall()

    def row(self, cast_id: str) -> dict[str, Any]:
        """Return a cast's own row."""
        [row] = self.rows("SELECT * FROM casts_cast WHERE id = ?", uuid.UUID(cast_id))
        return row

    def ledger(self, cast_id: str) -> list[tuple[str, int]]:
        """Return what a cast moved, in order."""
        query = "SELECT kind, cents FROM accounts_ledgerentry WHERE cast_id = ? ORDER BY id"
        return [(entry["kind"], entry["cents"]) for entry in self.rows(query, uuid.UUID(cast_id))]

    def history(self, cast_id: str) -> list[tuple[int, str]]:
        """Return (seq, status_reason) of every event of an ended cast, as streamed from the start."""
        return [(number, data["status_reason"]) for number, data in self.events(cast_id, after=0)]

    # --- what GitHub does --------------------------------------------------------------------------------------

    def faults(self, **faults: Any) -> dict[str, Any]:
        """Have the local GitHub misbehave; return how it misbehaves now."""
        return self.control("POST", "faults", json=faults)

    def record(self) -> dict[str, Any]:
        """Return what the local GitHub did and was asked."""
        return self.control("GET", "record")

    def control(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Call one of the local GitHub's control paths."""
        token = (self.folder / "github" / "control-token").read_text()
        headers = AGENT | {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, f"{self.github}/_local/{path}", headers=headers, timeout=20, **options)
        assert answer.ok, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def runs(self, cast_id: str) -> list[dict[str, Any]]:
        """Return the runs that carry a cast's id."""
        return [run for run in self.record()["runs"] if run["cast_id"] == cast_id]

    def dispatches(self, cast_id: str) -> list[dict[str, Any]]:
        """Return the dispatch requests for a cast."""
        return [sent for sent in self.record()["dispatches"] if sent["cast_id"] == cast_id]

    @property
    def github_token(self) -> str:
        """An installation token that we minted ourselves, to act as somebody else with rights on GitHub."""
        now = int(time.time())
        proof = jwt.encode({"iat": now - 60, "exp": now + 300, "iss": "1"}, (DATA / "app.pem").read_text(), "RS256")
        made = requests.post(
            f"{self.github}/app/installations/1/access_tokens",
            headers=AGENT | {"Authorization": f"Bearer {proof}"},
            timeout=10,
        )
        assert made.status_code == 201, made.text
        token: str = made.json()["token"]
        return token

    def on_github(self, method: str, path: str) -> Any:
        """Call GitHub's API about our repository."""
        answer = requests.request(
            method,
            f"{self.github}/repos/{REPOSITORY}{path}",
            headers=AGENT | {"Authorization": f"Bearer {self.github_token}"},
            timeout=10,
        )
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None


class Follower(threading.Thread):
    """Reads a cast's stream in the background, as a browser would, until it closes."""

    def __init__(self, where: Platform, cast_id: str, *, after: int | None = None) -> None:
        super().__init__(name=f"follower of {cast_id}", daemon=True)
        self.where, self.cast_id, self.after = where, cast_id, after
        self.events: list[tuple[int, dict[str, Any]]] = []
        self.comments: list[str] = []
        self.error: Exception | None = None
        self.ended_at = 0.0  # time.monotonic()
        self.start()

    def run(self) -> None:
        try:
            for number, data in self.where.events(self.cast_id, after=self.after):
                if number:
                    self.events.append((number, data))
                else:
                    self.comments.append(data)
        except (requests.RequestException, AssertionError) as exc:
            self.error = exc
        self.ended_at = time.monotonic()

    def at_the_gate(self) -> bool:
        """Whether it has been told that the run waits at its gate."""
        return any(data["step"] == "Wait at the gate" for _, data in self.events)

    @property
    def ids(self) -> list[int]:
        return [number for number, _ in self.events]

    def closed(self, *, seconds: float) -> None:
        """Wait for the stream's end, which must be in order: not a broken connection."""
        self.join(seconds)
        assert not self.is_alive(), f"still open after {seconds} s"
        assert self.error is None, self.error


@contextlib.contextmanager
def platform(folder: Path, *, spells: str, **options: Any) -> Iterator[Platform]:
    """Start a whole platform with these spells (TOML) and an API key; end its processes afterwards.

    The repository's workflows are copied, so that a test may add its own.
    """
    database, key = prepared(spells)
    here = Platform(folder, database=database, **options)
    here.key = key
    ours = (ROOT / ".github" / "workflows").glob("spell-*.yml")
    here.publish(*ours, *(Path(__file__).parent / "workflows").glob("*.yml"))
    try:
        for name in ("github", "web", "worker"):
            here.start(name)
        here.up()
        yield here
    except BaseException:
        for name in ("github", "web", "worker"):
            print(f"--- {name} ---\n{here.log(name)[-3000:]}")
        raise
    finally:
        here.stop(*here.running)
        drop_database(here.database_url)
