"""Ending processes, and asking whether Docker answers."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

LISTED_AGAIN = 20  # times at most, until none is left


def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "version"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _listed() -> list[tuple[int, int, str]]:
    # -ww: without it ps may cut long commands, and kill_below looks for a path in them.
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    rows = (line.split(None, 2) for line in listing.splitlines())
    return [(int(row[0]), int(row[1]), row[2] if len(row) > 2 else "") for row in rows]


def _below(roots: Iterable[int], listed: list[tuple[int, int, str]]) -> list[int]:
    found = list(roots)
    for one in found:
        # The list grows while it is walked: children first, then theirs.
        found += [child for child, parent, _ in listed if parent == one and child not in found]
    return found


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # or somebody else's, who only looks at what is there
            continue


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants. Process groups don't do: act gives each step one of its own."""
    _kill(_below([pid], _listed()))


def kill_below(pid: int, place: Path) -> None:
    """Kill those children of a process whose command names a file in `place`, and all their descendants."""
    listed = _listed()
    _kill(_below([child for child, parent, args in listed if parent == pid and f"{place}/" in args], listed))


def kill_left(place: Path) -> None:
    """Kill what works in `place`, or has a command that names a file there, and all their descendants.

    act leaves a step's processes to themselves when it is interrupted, and so does a step with what it has put in the
    background; GitHub's runner ends both.
    """
    for _ in range(LISTED_AGAIN):  # a loop may have started its next command since it was listed
        listed = _listed()
        left = [pid for pid, _, args in listed if f"{place}/" in args or _works_in(pid, place)]
        if not left:
            return
        _kill(_below(left, listed))


def _works_in(pid: int, place: Path) -> bool:
    """Whether it does, where the system tells (Linux)."""
    try:
        return f"{os.readlink(f'/proc/{pid}/cwd')}/".startswith(f"{place}/")
    except OSError:
        return False


def stop(process: "subprocess.Popen[str]", grace: float) -> None:
    """Interrupt a process as Ctrl-C does; after `grace` seconds kill it and all its descendants."""
    if grace:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(grace)
            return
        except subprocess.TimeoutExpired:
            pass
    if process.poll() is None:
        kill_tree(process.pid)
