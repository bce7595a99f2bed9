"""The installation that the storm goes over: two web and two worker processes on one Postgres, behind one address."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.proxy import Proxy
from tests.e2e.platform import Platform, drop_database, fill, free_port, migrated, name_of, on_server, until

HERE = Path(__file__).parent
WORKFLOWS = [*(HERE / "workflows").glob("*.yml"), HERE.parent / "e2e" / "workflows" / "echo.yml"]
# Recovery in seconds instead of minutes.
SETTINGS = {
    "CAST_LOST_SECONDS": "15",
    "CAST_CANCEL_GRACE_SECONDS": "15",
    "CAST_LOOK_MIN_SECONDS": "1",
    "CAST_LOOK_MAX_SECONDS": "10",
    "GITHUB_TIMEOUT": "3",
    "GITHUB_POINTS_PER_MINUTE": "6000",  # the storm casts faster than one installation on github.com may
    "DELIVERY_SWEEP_SECONDS": "10",
    "WORKER_LEASE_SECONDS": "5",
    "STREAM_HEARTBEAT_SECONDS": "5",
    "CALLBACK_ALLOWED_HOSTS": "127.0.0.1",
    "LOG_LEVEL": "INFO",
}
WEBS, WORKERS = ("web-1", "web-2"), ("worker-1", "worker-2")


class Installation(Platform):
    """A platform with two of each. The local GitHub is the judge's witness: nobody kills it."""

    def __init__(self, folder: Path, *, runs_at_a_time: int, **settings: Any) -> None:
        super().__init__(folder, database=migrated(), **SETTINGS | settings)
        self.runs_at_a_time = runs_at_a_time
        self.ports = {name: free_port() for name in WEBS}
        self._signals = threading.Lock()
        self.proxy = Proxy(self.web_port, list(self.ports.values()))

    def command(self, name: str) -> list[str]:
        """Return what starts a process; both web processes are "web" to the harness."""
        if name == "github":
            # A storm asks more in an hour than GitHub allows; without its limit, what is tried is not the waiting.
            more = ["--concurrency", str(self.runs_at_a_time), "--rate-limit", "1000000"]
            return [*super().command(name), *more]
        return super().command("web" if name in WEBS else name)

    def start(self, name: str, **options: Any) -> None:
        """Start a process in a group of its own, so that its kill takes gunicorn's child along."""
        own = {"BIND": f"127.0.0.1:{self.ports[name]}"} if name in WEBS else {}
        super().start(name, own_group=True, **own, **options)

    def kill(self, name: str) -> None:
        """Kill a process without warning, with all its children, and start it again at once."""
        with self._signals:
            process = self.running.pop(name)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.start(name)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process meanwhile: to the others it looks dead, and then it goes on."""
        process = self.running[name]
        self._signal(name, process, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(name, process, signal.SIGCONT)

    def sever(self) -> None:
        """Have the database end all connections but those without a name, which are the judge's own."""
        on_server(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(self.database_url)}' "
            "AND application_name <> ''"
        )

    def _signal(self, name: str, process: subprocess.Popen[bytes], how: signal.Signals) -> None:
        with self._signals:
            if self.running.get(name) is process:  # not killed meanwhile
                os.killpg(process.pid, how)

    def up(self) -> None:
        """Wait until both web processes and the local GitHub answer."""
        until(lambda: self.answers(self.github + "/versions"))
        for port in self.ports.values():
            until(functools.partial(self.answers, f"http://127.0.0.1:{port}/api/v1/budget"))

    def down(self) -> None:
        """End what runs, all at once; what does not listen is killed."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            with contextlib.suppress(Exception):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.clear()


@contextlib.contextmanager
def installation(folder: Path, *, runs_at_a_time: int = 3, **settings: Any) -> Iterator[Installation]:
    """Start everything; end it, and drop its database, afterwards."""
    here = Installation(folder, runs_at_a_time=runs_at_a_time, **settings)
    try:
        here.key = fill(folder, here.database_url, (HERE / "spells.toml").read_text())
        here.publish(*WORKFLOWS)
        here.proxy.start()
        try:
            for name in ("github", *WEBS, *WORKERS):
                here.start(name)
            here.up()
            yield here
        finally:
            here.down()
            here.proxy.stop()
    finally:
        drop_database(here.database_url)
