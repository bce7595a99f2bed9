"""Whether this process can serve: what /readyz tells.

Each check is a function that READINESS names; it returns what is wrong in one sentence, blank if nothing is. Those that
ask the database share a thread and a connection, the storage has its own: see core.telemetry.kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.module_loading import import_string

from core.db.timeouts import bound_this_thread
from core.queue import wakeups
from core.redaction import redact
from core.storage import trouble
from core.telemetry.kept import Kept

PATIENCE = 2.0  # seconds until a check that has not ended has failed
STATEMENT_SECONDS = 1.5
KEPT, STORAGE_KEPT = 1.0, 10.0  # seconds
SILENT = 30.0  # seconds: a listener wakes up every few, whether there is news or not

Found = dict[str, str]  # what is wrong, by check; blank where nothing is


def check_all() -> Found:
    found: Found = {}
    for name, path in settings.READINESS.items():
        if found.get("database"):
            found[name] = "not looked at, without a database"
        else:
            found[name] = checked(import_string(path))
    return found


def checked(look: Callable[[], str]) -> str:
    try:
        return look()
    except Exception as exc:
        connection.close()
        return f"{type(exc).__name__}: {redact(str(exc).strip().partition(chr(10))[0])[:200]}"


def database() -> str:
    try:
        bound_this_thread(STATEMENT_SECONDS)
        connection.ensure_connection()
        if not connection.is_usable():
            connection.close()
            return "it does not answer"
    except (DatabaseError, InterfaceError) as exc:
        connection.close()
        return f"it does not answer: {redact(str(exc).strip().partition(chr(10))[0])[:200]}"
    return ""


def migrations() -> str:
    """Say which of this release's migrations are missing. Those of a later release are none of our business."""
    missing = known_migrations() - set(MigrationRecorder(connection).applied_migrations())
    return f"{len(missing)} are missing. Run: manage.py migrate" if missing else ""


@cache
def known_migrations() -> set[tuple[str, str]]:
    loader = MigrationLoader(None)
    return set(loader.graph.nodes)


def listener() -> str:
    """Say which of this process's listeners for wake-ups is silent; one that nobody needed yet is no trouble."""
    now = time.monotonic()
    silent = [channel for channel, heard in wakeups.heard.copy().items() if now - heard > SILENT]
    return f"nothing heard for {SILENT:.0f} seconds on: {', '.join(silent)}" if silent else ""


def storage() -> Found:
    """Ask where artifacts are kept whether they can be."""
    return {"storage": checked(trouble)}


DATABASE: Kept[Found] = Kept(check_all, seconds=KEPT, patience=PATIENCE)
STORAGE: Kept[Found] = Kept(storage, seconds=STORAGE_KEPT, patience=PATIENCE)


async def readiness(*, exclude: Collection[str] = ()) -> Found:
    """Return what is wrong, by check. It takes PATIENCE at most."""
    found: Found = {}
    told = await asyncio.gather(
        answered(DATABASE, [*settings.READINESS]),
        answered(STORAGE, ["storage"]),
    )
    for one in told:
        found |= one
    return {name: why for name, why in found.items() if name not in exclude}


async def answered(kept: Kept[Found], names: Collection[str]) -> Found:
    try:
        return await kept.get()
    except TimeoutError:
        return dict.fromkeys(names, f"no answer in {PATIENCE:.0f} seconds")
