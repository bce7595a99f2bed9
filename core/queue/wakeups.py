"""Learning quickly that something changed: for streams what has news, for workers that a row has become due.

Postgres tells by LISTEN/NOTIFY. The NOTIFY goes out after the commit, because inside a transaction it takes a lock
that serializes all commits. SQLite tells by `PRAGMA data_version`, which costs microseconds. Neither is relied upon:
everything that waits here also looks by itself every few seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import select
import socket
import sqlite3
import threading
import time
import uuid
from collections import deque
from functools import cache
from typing import Any, Protocol

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, connections

logger = logging.getLogger(__name__)

NEWS, DUE = "cast_news", "due_work"
SQLITE_LOOK_SECONDS = 0.01
RECONNECT_SECONDS = 1.0
heard: dict[str, float] = {}  # time.monotonic(), by channel; when this process last heard on it, be it nothing
FLUSH_SECONDS = 1.0  # at most, for the last wake-ups when a process ends


def has_news(of: uuid.UUID) -> None:
    """Tell every listener that there is news about the row with this id. Call it after the commit."""
    _notify(NEWS, str(of))


def work_is_due() -> None:
    """Tell every worker that some row has become due. Call it after the commit."""
    _notify(DUE, "")


def _notify(channel: str, payload: str) -> None:
    if connection.vendor == "postgresql":
        if settings.KEEP_CONNECTIONS:
            _notifier().tell(channel, payload)
        else:
            _send(connection, {(channel, payload)})


def _send(through: Any, news: set[tuple[str, str]]) -> bool:
    try:
        with through.cursor() as cursor:
            # In one statement: each is a commit, and commits that notify wait for each other.
            channels, payloads = zip(*news, strict=True)
            cursor.execute(
                "SELECT pg_notify(c, p) FROM unnest(%s::text[], %s::text[]) AS news(c, p)",
                [list(channels), list(payloads)],
            )
    except (DatabaseError, psycopg.Error):  # what it announces is committed, and is found by looking
        logger.warning("wake-up not sent", exc_info=True)
        return False
    return True


class Notifier:
    """Sends this process's wake-ups from a thread of its own; those that come during one sending go out together."""

    def __init__(self) -> None:
        self.news: deque[tuple[str, str]] = deque()
        self.some, self.idle = threading.Event(), threading.Event()
        self.connection: psycopg.Connection | None = None
        threading.Thread(target=self._run, name="wake-ups", daemon=True).start()
        atexit.register(self.idle.wait, FLUSH_SECONDS)

    def tell(self, channel: str, payload: str) -> None:
        self.idle.clear()
        self.news.append((channel, payload))
        self.some.set()

    def _run(self) -> None:
        while self.some.wait():
            # Before the queue is read: what is told from here on sets it again, and is never missed.
            self.some.clear()
            news: set[tuple[str, str]] = set()
            while self.news:
                news.add(self.news.popleft())
            if news and not self._sent(news):
                self._close()
            if not self.some.is_set():
                self.idle.set()

    def _sent(self, news: set[tuple[str, str]]) -> bool:
        try:
            self.connection = self.connection or own_connection()
        except psycopg.Error:
            logger.warning("no connection for wake-ups", exc_info=True)
            return False
        return _send(self.connection, news)

    def _close(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(psycopg.Error):
                self.connection.close()
            self.connection = None


@cache
def _notifier() -> Notifier:
    return Notifier()


def own_connection() -> psycopg.Connection:
    params = connections["default"].get_connection_params()
    # Without what concerns Django's own cursors.
    kept = {k: v for k, v in params.items() if k not in ("cursor_factory", "context", "prepare_threshold")}
    return psycopg.connect(**kept, autocommit=True)


class Listener(Protocol):
    """Waits for wake-ups. Used by one thread."""

    def wait(self, timeout: float) -> set[str] | None:
        """Return the payloads that came within `timeout` seconds (maybe none), or None for "anything may be new"."""

    def interrupt(self) -> None:
        """End the wait under way now, or else the next one. May be called by any thread."""

    def close(self) -> None:
        """Close the connection."""


class PostgresListener:
    """LISTENs on a connection of its own, outside the pool; reconnects for ever."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.connection: psycopg.Connection | None = None
        self.bell, self.rope = socket.socketpair()
        self.bell.setblocking(False)
        self.rope.setblocking(False)

    def wait(self, timeout: float) -> set[str] | None:
        try:
            if self.connection is None:
                self.connection = self._connect()
                return None  # what was sent before we listened is unknown
            # With what has already arrived: a burst is one wake-up.
            if not (came := self._arrived(self.connection)):
                self._sleep(self.connection, timeout)
                came = self._arrived(self.connection)
            heard[self.channel] = time.monotonic()
            return came
        except psycopg.Error:
            logger.warning("listener lost its connection", extra={"channel": self.channel})
            self._disconnect()
            time.sleep(min(timeout, RECONNECT_SECONDS))
            return None

    def _arrived(self, through: psycopg.Connection) -> set[str]:
        return {n.payload for n in through.notifies(timeout=0)}

    def _sleep(self, through: psycopg.Connection, timeout: float) -> None:
        waiting = select.poll()  # not select(): a process with many streams has files with high numbers
        waiting.register(through.fileno(), select.POLLIN)
        waiting.register(self.bell, select.POLLIN)
        waiting.poll(max(0.0, timeout) * 1000)
        with contextlib.suppress(BlockingIOError):
            while self.bell.recv(4096):
                pass

    def interrupt(self) -> None:
        with contextlib.suppress(OSError):  # a signal is pending already, or the listener is closed
            self.rope.send(b"!")

    def _connect(self) -> psycopg.Connection:
        heard.setdefault(self.channel, time.monotonic())  # it has begun to try
        opened = own_connection()
        opened.execute(f"LISTEN {self.channel}")
        return opened

    def _disconnect(self) -> None:
        if self.connection is not None:
            with contextlib.suppress(psycopg.Error):
                self.connection.close()
            self.connection = None

    def close(self) -> None:
        self._disconnect()
        heard.pop(self.channel, None)
        self.bell.close()
        self.rope.close()


class SqliteListener:
    """Watches the file's version number, which any commit of another connection changes."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.connection = sqlite3.connect(str(connections["default"].settings_dict["NAME"]), timeout=5, uri=True)
        self.version = self._version()
        self.interrupted = threading.Event()

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def wait(self, timeout: float) -> set[str] | None:
        end = time.monotonic() + timeout
        while True:
            version = self._version()
            heard[self.channel] = time.monotonic()
            if version != self.version:
                self.version = version
                return None
            left = end - time.monotonic()
            if left <= 0 or self.interrupted.is_set():
                self.interrupted.clear()
                return set()
            time.sleep(min(left, SQLITE_LOOK_SECONDS))

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        heard.pop(self.channel, None)
        self.connection.close()


def listener(channel: str) -> Listener:
    return PostgresListener(channel) if connection.vendor == "postgresql" else SqliteListener(channel)
