"""Starting the demo's processes, waiting until they answer, and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import requests

from spellplatform.demo.environment import ROOT

START_SECONDS = 60.0
STOP_SECONDS = 15.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class NotStarted(Exception):
    """A process ended, or did not answer in time; str() shows the end of its log."""


def end_with_parent() -> None:
    """Run in the child: on Linux, have it ended when the demo itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """The local GitHub, a web process and a worker, and the local Stripe if accounts pay.

    A context manager: they end with it in any case.
    """

    def __init__(self, folder: Path, repositories: Mapping[str, Path]) -> None:
        self.folder, self.repositories = folder, repositories
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start_stripe(self) -> None:
        """Start the local Stripe and wait until it answers; raise NotStarted."""
        port = os.environ["DEMO_STRIPE_PORT"]
        # What takes Stripe minutes, so that nobody cheats by it, takes seconds here.
        paces = ["--search-lag", "2", "--meter-lag", "2"]
        self._start("localstripe", [sys.executable, str(ROOT / "manage.py"), "localstripe", "--port", port, *paces])
        self._await("localstripe", os.environ["STRIPE_API_URL"] + "/v1/charges")

    def start(self) -> None:
        """Start the other three and wait until they answer; raise NotStarted."""
        manage = [sys.executable, str(ROOT / "manage.py")]
        public = os.environ["PUBLIC_URL"]
        self._start(
            "localgithub",
            [
                *manage,
                "localgithub",
                *("--port", os.environ["DEMO_GITHUB_PORT"], "--blob-port", os.environ["DEMO_BLOB_PORT"]),
                *("--state-dir", str(self.folder / "github")),
                *(f"--repository={name}={tree}" for name, tree in self.repositories.items()),
                *("--app-id", "1", "--app-public-key", str(self.folder / "app.pub"), "--installation-id", "1"),
                *("--webhook-url", f"{public}/api/webhooks/github", "--watch-pushes"),
            ],
        )
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "spellplatform" / "gunicorn.conf.py")]
        self._start("web", [*gunicorn, "spellplatform.asgi"])
        self._start("worker", [*manage, "runworker"])
        self._await("localgithub", os.environ["GITHUB_API_URL"] + "/versions")
        self._await("web", public + "/api/v1/schema")

    def _start(self, name: str, command: list[str]) -> None:
        log = (self.logs / f"{name}.log").open("wb")
        with log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
                preexec_fn=end_with_parent,
            )

    def _await(self, name: str, url: str) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            self.check()
            try:
                requests.get(url, timeout=5, headers={"User-Agent": "spell-platform-demo"})
            except requests.RequestException:  # not there yet, or too busy starting to answer
                time.sleep(0.05)
            else:
                return
        raise NotStarted(f"{name} did not answer at {url} within {START_SECONDS:.0f} s.\n{self.tail(name)}")

    def check(self) -> None:
        """Raise NotStarted if a process has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise NotStarted(f"{name} ended with code {process.returncode}.\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines()[-15:] if path.exists() else []
        return "\n".join([f"The end of {path}:", *lines])

    def stop(self) -> None:
        """Ask all to end, the newest first; kill those that have not ended in time."""
        for process in reversed(self.running.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        for process in self.running.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
