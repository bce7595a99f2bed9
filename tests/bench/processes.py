"""Starting servers, and ending them with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measures import family
from tests.bench.streams import Address
from tests.e2e.platform import ROOT


class NotStarted(Exception):
    """A server could not be started; the text says why."""


@dataclass
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    address: Address

    def pids(self) -> list[int]:
        return family(self.process.pid)


def answers(address: Address) -> bool:
    with suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    address: Address,
    folder: Path,
    environment: dict[str, str] | None = None,
    ready: Callable[[], bool] | None = None,
    seconds: float = 40.0,
) -> Iterator[Server]:
    """Run a server until the block ends. Ready when it accepts connections, or when `ready` says so."""
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment or dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + seconds
        while not (ready() if ready else answers(address)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{name}: {last_line(log)}")
            time.sleep(0.05)
        yield Server(name, process, address)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process politely, then for certain; with its children."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
