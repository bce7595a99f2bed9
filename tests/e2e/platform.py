"""The whole platform as real processes: web, worker and the local GitHub, over HTTP, for one test module."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import requests

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SECRET = "e2e-webhook-secret"
REPOSITORY = "demo/spells"
AGENT = {"User-Agent": "spell-platform-tests"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(what: Any, *, seconds: float = 30.0, every: float = 0.05) -> Any:
    """Return the first true value of `what()`; fail after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s")


class Platform:
    """One installation. `settings` go into the environment of web and worker."""

    def __init__(self, folder: Path, *, webhooks: bool = True, api: str = "github.com", **settings: str) -> None:
        self.folder, self.webhooks, self.api = folder, webhooks, api
        self.web_port, self.github_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.web_port}"
        self.github = f"http://127.0.0.1:{self.github_port}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{n: os.environ[n] for n in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME") if n in os.environ},
            "SECRET_KEY": "e2e",
            "DATABASE_URL": self.new_database(),
            "VAR_DIR": str(folder),
            "PUBLIC_URL": self.url,
            "BIND": f"127.0.0.1:{self.web_port}",
            "LOG_FORMAT": "console",
            "GITHUB_API_URL": self.github,
            "GITHUB_API_VERSION": "2026-03-10" if api == "github.com" else "",
            "GITHUB_APP_ID": "1",
            "GITHUB_APP_PRIVATE_KEY": str(DATA / "app.pem"),
            "GITHUB_APP_INSTALLATION_ID": "1",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_WORKFLOW_REF": "main",
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "CAST_LOOK_MIN_SECONDS": "0.5",
            **settings,
        }

    def new_database(self) -> str:
        """Return the URL of a new, empty database of the kind under test."""
        server = os.environ.get("TEST_DATABASE_URL")
        if not server:
            return f"sqlite:///{self.folder / 'e2e.sqlite3'}"
        name = f"e2e_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        head, _, tail = server.partition("?")
        return head.rsplit("/", 1)[0] + f"/{name}" + (f"?{tail}" if tail else "")

    # --- processes ---------------------------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end; return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> None:
        """Start "github", "web" or "worker"."""
        if name == "github":
            command = [
                *(sys.executable, "manage.py", "localgithub", "--port", str(self.github_port), "--blob-port", "0"),
                *(
                    "--repository",
                    f"{REPOSITORY}={self.folder / 'repository'}",
                    "--state-dir",
                    str(self.folder / "github"),
                ),
                *("--app-id", "1", "--app-public-key", str(DATA / "app.pub"), "--installation-id", "1"),
                *("--api", self.api, "--webhook-secret", SECRET),
                *(["--webhook-url", f"{self.url}/api/webhooks/github"] if self.webhooks else []),
            ]
        elif name == "web":
            command = [sys.executable, "-m", "gunicorn", "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi"]
        else:
            command = [sys.executable, "manage.py", "runworker"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self, name: str, *, how: signal.Signals = signal.SIGTERM) -> int:
        """End a process and return its exit code."""
        process = self.running.pop(name)
        process.send_signal(how)
        return process.wait(30)

    def answers(self, url: str) -> bool:
        try:
            requests.get(url, timeout=5, headers=AGENT)
        except requests.ConnectionError:
            return False
        return True

    def up(self) -> None:
        """Wait until web and the local GitHub answer."""
        until(lambda: self.answers(self.github + "/versions"))
        until(lambda: self.answers(self.url + "/api/v1/schema"))

    # --- what a client does ------------------------------------------------------------------------------------

    def call(self, method: str, path: str, *, key: str | None = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=90, **options)

    def cast(self, spell_key: str, input: Any, **more: Any) -> dict[str, Any]:
        answer = self.call("POST", "/api/v1/cast", json={"spell_key": spell_key, "input": input, **more})
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get(self, cast_id: str) -> dict[str, Any]:
        body: dict[str, Any] = self.call("GET", f"/api/v1/casts/{cast_id}").json()
        return body

    def ended(self, cast_id: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """Return the cast once it has ended."""
        return until(lambda: (found := self.get(cast_id))["final"] and found, seconds=seconds, every=0.2)

    def events(self, cast_id: str, *, after: int | None = None, **options: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (id, data) of a cast's stream until it closes."""
        headers = {"Authorization": f"Bearer {self.key}"} | ({"Last-Event-ID": str(after)} if after is not None else {})
        url = f"{self.url}/api/v1/casts/{cast_id}/events"
        with requests.get(url, headers=headers, stream=True, timeout=60, **options) as stream:
            assert stream.status_code == 200, (stream.status_code, stream.text)
            number = -1
            for line in stream.iter_lines(chunk_size=1):
                if line.startswith(b"id: "):
                    number = int(line[4:])
                elif line.startswith(b"data: "):
                    yield number, json.loads(line[6:])

    def faults(self, **faults: Any) -> None:
        """Have the local GitHub misbehave."""
        answer = requests.post(self.github + "/_local/faults", json=faults, timeout=10, headers=AGENT)
        assert answer.status_code == 200, answer.text

    def record(self) -> dict[str, Any]:
        """Return what the local GitHub did and was asked."""
        body: dict[str, Any] = requests.get(self.github + "/_local/record", timeout=10, headers=AGENT).json()
        return body


@contextlib.contextmanager
def platform(folder: Path, *, spells: str, **options: Any) -> Iterator[Platform]:
    """Start a whole platform with these spells (TOML) and an API key; end its processes afterwards.

    The repository's workflows are copied, so that a test may add its own.
    """
    here = Platform(folder, **options)
    workflows = folder / "repository" / ".github" / "workflows"
    workflows.mkdir(parents=True)
    for file in [
        *(ROOT / ".github" / "workflows").glob("spell-*.yml"),
        *(Path(__file__).parent / "workflows").glob("*.yml"),
    ]:
        (workflows / file.name).write_bytes(file.read_bytes())
    (folder / "spells.toml").write_text(spells)
    try:
        here.start("github")
        here.manage("migrate", "-v0")
        here.manage("loadspells", str(folder / "spells.toml"))
        here.key = here.manage("createapikey", "tests", "--cap-cents", "100000").strip()
        here.start("web")
        here.start("worker")
        here.up()
        yield here
    except BaseException:
        for name in ("github", "web", "worker"):
            log = folder / f"{name}.log"
            if log.exists():
                print(f"--- {name} ---\n{log.read_text(errors='replace')[-3000:]}")
        raise
    finally:
        for name in ("worker", "web", "github"):
            if name in here.running:
                here.stop(name)
