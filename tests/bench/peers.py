"""Starting the anchors. What they need comes into a cache folder of the bench; nothing is installed on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import request
from tests.bench.processes import NotStarted, Server, running
from tests.bench.streams import Target
from tests.e2e.platform import SECRET, free_port

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spell-platform-bench"
NCHAN = """
load_module {modules}/ngx_nchan_module.so;
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ ^/publish/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_store_messages off; }}
    location ~ ^/events/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; }}
  }}
}}
"""


@dataclass
class StreamPeer:
    """A server that streams. `largest`: more streams than this would only take time."""

    name: str
    start: Callable[[Path], AbstractContextManager[Server]]
    largest: int = 10_000
    pause: float = 0.05  # seconds between two published events
    events: int = 60


def subscribe(server: Server, topic: str) -> Target:
    return server.address, request("GET", f"/events/{topic}", headers={"Accept": "text/event-stream"})


def publish(topic: str) -> bytes:
    return request("POST", f"/publish/{topic}", body=b"news", headers={"Content-Type": "text/plain"})


def debian(*packages: str) -> Path:
    """Return a folder with Debian packages unpacked in it: they need not be installed, and no root."""
    folder = CACHE / "debian"
    marker = folder / "-".join(packages)
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", "-q", *packages], cwd=folder, check=True, capture_output=True)
            for package in packages:
                [*_, newest] = sorted(folder.glob(f"{package}_*.deb"))
                subprocess.run(["dpkg", "-x", str(newest), str(folder)], check=True, capture_output=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as exc:
            said = getattr(exc, "stderr", b"") or b""
            raise NotStarted(f"no Debian package: {said.decode(errors='replace').strip()[-150:] or exc}") from exc
        marker.touch()
    return folder


def python_with(*packages: str) -> str:
    """Return the Python of a virtual environment of the bench's own that has these packages."""
    folder = CACHE / "venv"
    marker = folder / "-".join(packages)
    if not marker.exists():
        try:
            if not folder.exists():
                venv.create(folder, with_pip=True)
            pip = [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *packages]
            subprocess.run(pip, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            said = getattr(exc, "stderr", b"") or b""
            raise NotStarted(f"pip install failed: {said.decode(errors='replace').strip()[-150:] or exc}") from exc
        marker.touch()
    return str(folder / "bin" / "python")


@contextmanager
def nchan(folder: Path) -> Iterator[Server]:
    home, port = debian("nginx", "libnginx-mod-nchan"), free_port()
    config = folder / "nginx.conf"
    config.write_text(NCHAN.format(modules=home / "usr/lib/nginx/modules", folder=folder, port=port))
    # This nginx makes folders in /var/lib/nginx; in a mount namespace of its own they touch nothing of the machine.
    start = 'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$@"'
    private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", start, "nginx"]
    nginx = [str(home / "usr/sbin/nginx"), "-p", str(folder), "-c", str(config), "-g", "user root;"]
    command = [*private, *nginx]
    with running("nginx + nchan", command, address=("127.0.0.1", port), folder=folder) as server:
        yield server


@contextmanager
def gunicorn(
    name: str,
    module: str,
    folder: Path,
    *,
    python: str = sys.executable,
    processes: int = 1,
    threads: int = 0,
    **environment: str,
) -> Iterator[Server]:
    """Run an anchor on gunicorn: on its ASGI worker, or with `threads` on the threaded one."""
    port = free_port()
    kind = ["-k", "gthread", "--threads", str(threads)] if threads else ["-k", "asgi"]
    command = [
        *(python, "-m", "gunicorn", *kind, "-w", str(processes), "-b", f"127.0.0.1:{port}", "--log-level", "warning"),
        *("--worker-connections", "20000", "--no-control-socket", f"tests.bench.anchors.{module}"),
    ]
    with running(
        name, command, address=("127.0.0.1", port), folder=folder, environment={**os.environ, **environment}
    ) as server:
        yield server


def bare(folder: Path) -> AbstractContextManager[Server]:
    return gunicorn("bare ASGI", "bare:application", folder)


def plain_django(folder: Path) -> AbstractContextManager[Server]:
    return gunicorn("Django", "plain_django:application", folder)


def eventstream(folder: Path) -> AbstractContextManager[Server]:
    python = python_with("gunicorn==27.0.1", "django==5.2.19", "django-eventstream==5.3.4")
    return gunicorn("django-eventstream", "eventstream:application", folder, python=python)


def polling(folder: Path) -> AbstractContextManager[Server]:
    return gunicorn("polling", "polling:application", folder, ANCHOR_SQLITE=str(folder / "polling.sqlite3"))


STREAM_PEERS = [
    StreamPeer("nginx + nchan", nchan),
    StreamPeer("bare ASGI", bare),
    StreamPeer("Django StreamingHttpResponse", plain_django),
    StreamPeer("django-eventstream", eventstream),
    StreamPeer("original: polling every 2 s", polling, largest=1000, pause=0.0, events=5),
]


@contextmanager
def minimal(
    name: str, folder: Path, database_url: str, key: str, *, processes: int, threads: int = 0
) -> Iterator[Server]:
    """The minimal Django views, on the database given."""
    environment = {"DATABASE_URL": database_url, "ANCHOR_SECRET": SECRET, "ANCHOR_KEY": key}
    what = "minimal:threaded" if threads else "minimal:application"
    with gunicorn(name, what, folder, processes=processes, threads=threads, **environment) as server:
        yield server


def prepare_minimal(database_url: str, key: str) -> None:
    """Make the minimal views' tables."""
    environment = {**os.environ, "DATABASE_URL": database_url, "ANCHOR_SECRET": SECRET, "ANCHOR_KEY": key}
    subprocess.run([sys.executable, "-m", "tests.bench.anchors.minimal"], env=environment, check=True, cwd=Path.cwd())


@contextmanager
def webhook_program(folder: Path) -> Iterator[Server]:
    """Debian's `webhook`: verifies the signature and runs a program that does nothing."""
    program, port = debian("webhook") / "usr/bin/webhook", free_port()
    hooks = folder / "hooks.json"
    hooks.write_text(
        '[{"id": "github", "execute-command": "/bin/true", "trigger-rule": {"match": {"type": "payload-hmac-sha256", '
        f'"secret": "{SECRET}", "parameter": {{"source": "header", "name": "X-Hub-Signature-256"}}}}}}}}]'
    )
    command = [str(program), "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port), "-urlprefix", "api/webhooks"]
    with running("webhook", command, address=("127.0.0.1", port), folder=folder) as server:
        yield server
