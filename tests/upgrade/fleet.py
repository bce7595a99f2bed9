"""Two web processes and two workers on one Postgres, each of this release or of the one before."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import warm
from tests.e2e.platform import EVERY_SCOPE, ROOT, Platform, drop_database, until

HERE = Path(__file__).parent
ACTIVATED = (HERE / "activated.py").read_text()
WEBS, WORKERS = ("web-1", "web-2"), ("worker-1", "worker-2")
PASSWORD = "a-long-and-boring-password"


class Listening:
    """A listening socket that outlives the processes that serve it, as systemd holds one. Who comes meanwhile waits."""

    def __init__(self, folder: Path, name: str) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.way = folder / f"{name}.socket"
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(str(self.way))
        self._asked.listen()
        threading.Thread(target=self._hand_out, daemon=True).start()

    def _hand_out(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                asking, _ = self._asked.accept()
                with asking:
                    socket.send_fds(asking, [b"1"], [self.socket.fileno()])

    def close(self) -> None:
        self._asked.close()
        self.socket.close()


class Fleet(Platform):
    """`old` is a folder with the release before. Both web processes serve one socket, which nobody ever closes."""

    def __init__(self, folder: Path, old: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.old = old
        self.listening = Listening(folder, "web")
        self.url = self.listening.url
        self.environment |= {"PUBLIC_URL": self.url, "ALLOWED_HOSTS": "127.0.0.1"}

    def command(self, name: str) -> list[str]:
        # A load asks more in an hour than GitHub allows.
        return [*super().command(name), *(["--rate-limit", "1000000"] if name == "github" else [])]

    def manage_in(self, release: Path, *arguments: str, **more: str) -> str:
        """Run a management command of one release to its end; return what it printed."""
        done = warm.run(
            [sys.executable, "manage.py", *arguments], cwd=release, env=self.environment | more, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, name: str, release: Path) -> None:
        """Start a process of one release."""
        if name in WEBS:
            serve = [str(self.listening.way), "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi"]
            command = [sys.executable, "-c", ACTIVATED, *serve]
        else:
            command = self.command("worker")
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = warm.Popen(
                command,
                cwd=release,
                env=self.environment | {"PGAPPNAME": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def restart(self, release: Path, *names: str) -> None:
        """End processes in order, all of them at once, and start them in one release."""
        before = {name: self.begins(name) for name in names}
        assert self.stop(*names) == 0, [self.log(name)[-2000:] for name in names]
        for name in names:
            self.run(name, release)
        until(lambda: all(self.begins(name) > before[name] for name in names), seconds=120)

    def begins(self, name: str) -> int:
        """Return how often a process has begun to work."""
        return self.log(name).count("ASGI server listening" if name in WEBS else "worker starts")


@contextlib.contextmanager
def fleet(folder: Path, old: Path, *, spells: str, **settings: Any) -> Iterator[Fleet]:
    """Start all of it in the release before, on its own tables."""
    here = Fleet(folder, old, **settings)
    try:
        (folder / "spells.toml").write_text(spells)
        here.manage_in(old, "migrate", "-v0")
        here.manage_in(old, "loadspells", str(folder / "spells.toml"))
        arguments = ("createapikey", "tests", "--cap-cents", "1000000", "--scopes", EVERY_SCOPE)
        here.key = here.manage_in(old, *arguments).strip()
        boss = ("createsuperuser", "--noinput", "--username", "boss", "--email", "boss@example.com")
        here.manage_in(old, *boss, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
        here.publish(*(ROOT / "tests" / "e2e" / "workflows").glob("*.yml"))
        here.start("github")
        for name in (*WEBS, *WORKERS):
            here.run(name, old)
        for name in (*WEBS, *WORKERS):
            until(lambda: here.begins(name))  # noqa: B023 - called at once
        until(lambda: here.answers(here.github + "/versions"))
        yield here
    finally:
        here.stop(*here.running)
        here.listening.close()
        drop_database(here.database_url)
