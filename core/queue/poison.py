"""Rows whose steps don't end: they are stepped alone, and given up in the end, so that they take nobody down.

A row counts its failed steps in a row: those that raised what nobody expected, and those during which the worker died,
which shows when its lease runs out. Whoever was stepped beside it counts one as well. So of rows that count any, a
worker takes one at a time: those that had no part in it count nought after their next step, the one that had counts
two. From then on it is stepped in a process of its own, where it takes down only itself. After the fifth its kind of
work ends it; should that fail too, it is parked: nobody looks at it until an operator wants it.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import subprocess
import sys
import traceback

from django.conf import settings
from django.db import ProgrammingError
from django.utils import timezone

from core.queue.due import GIVE_UP_AFTER, DueRow

logger = logging.getLogger(__name__)

WAITS = (15, 60, 180, 600)  # seconds after a step that failed: a bug may need a release
# How a process ends that was told to: that is nobody's failure.
TOLD_TO_END = (-signal.SIGTERM, -signal.SIGINT)


def how_often(row: DueRow, what: str) -> str:
    """Return what those are told whom a row concerns that was given up; `what` was done with it, as in "Sending it"."""
    return f"{what} failed {row.failed_steps} times in a row on our side, so it was given up."


def note_failure(row: DueRow, exc: Exception) -> None:
    """Count a step that raised, and have the row stepped again after a while.

    An error that says that the database is not the one we know is no row's fault: the release is, or a migration.
    """
    place = traceback.extract_tb(exc.__traceback__)[-1:]
    at = f" in {place[0].name}, line {place[0].lineno}" if place else ""
    note(row, f"{type(exc).__name__}{at}", counted=not isinstance(exc, ProgrammingError))


def note(row: DueRow, how: str, *, counted: bool = True) -> None:
    wait = WAITS[min(row.failed_steps, len(WAITS) - 1)] if counted else WAITS[0]
    if counted and row.failed_steps + 1 >= GIVE_UP_AFTER:
        wait = 0
    row.fail(how, timezone.now() + dt.timedelta(seconds=wait), counted=counted)


def step_alone(kind: str, row: DueRow) -> None:
    """Step a claimed row in a process of its own."""
    ended = run(kind, row)
    if ended in TOLD_TO_END:
        row.put_aside(timezone.now())
    elif ended != 0:
        extra = {"kind": kind, "id": str(row.pk), "ended": ended, "failed_steps": row.failed_steps + 1}
        logger.error("step ended its process", extra=extra)
        note(row, f"its process ended with {ended}")


def run(kind: str, row: DueRow) -> int:
    """Step a claimed row in a process of its own, by `manage.py steprow`; return its exit code."""
    paths = os.pathsep.join(filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "django", "steprow", kind, str(row.pk), str(row.claim_number)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL).returncode
