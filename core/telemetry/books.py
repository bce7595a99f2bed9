"""What the processes of one machine count, in files that all of them read: VAR_DIR/metrics.

The files are prometheus-client's. How they are named and looked after is ours: its own mode for several processes names
them by process ids, which containers and restarts use again, makes them when a module is imported, and keeps those of
dead processes for ever. Here a process has a name of its own, and holds the lock of a file of that name for as long as
it lives: the kernel gives the lock back however it ends. What it has counted is then added to the books of the past.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time

from django.conf import settings
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from core.files import alone_in

logger = logging.getLogger(__name__)

FIRST_BYTES = 1 << 16
ADDED_UP = ("counter", "histogram")  # kinds whose numbers outlive the process
ALIVE, NEW, PAST = ".alive", ".new", "past"
NEW_SECONDS = 60.0  # after which a process that has not named itself died meanwhile
READ_AGAIN = 5  # times, if the past is added up at that moment


def folder() -> Path:
    return Path(settings.VAR_DIR) / "metrics"


class Book(MmapedDict):
    """One process's numbers of one kind."""

    def __init__(self, path: Path) -> None:
        with path.open("ab") as made:
            allocate(made.fileno(), FIRST_BYTES)
        super().__init__(str(path))

    def _init_value(self, key: str) -> None:
        size = self._capacity
        while self._used + len(key.encode()) + 64 > size:
            size *= 2
        if size > self._capacity:
            allocate(self._f.fileno(), size)
        super()._init_value(key)


def allocate(file: int, size: int) -> None:
    """Have a file take its place on the disk now. Raise OSError if there is none.

    To write where a mapped file has no place would end the process.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(file, 0, size)


class Here:
    """This process's books: made when it counts something, and anew after a fork."""

    def __init__(self) -> None:
        self.life = 0
        self.begin()

    def begin(self) -> None:
        self.life += 1
        self.lock = threading.Lock()
        self.books: dict[str, Book] = {}
        self.name = ""
        self.held: int | None = None
        self.failed = False

    def after_fork(self) -> None:
        if self.held is not None:
            os.close(self.held)  # the lock is the parent's, which has another handle of it
        self.begin()

    def book(self, kind: str) -> Book | None:
        """Return the book for a kind of numbers, None if none can be written. The lock is the caller's."""
        if self.failed:
            return None
        try:
            if not self.name:
                self.name, self.held = named(folder())
            if kind not in self.books:
                self.books[kind] = Book(folder() / f"{kind}_{self.name}.db")
            return self.books[kind]
        except OSError as exc:
            self.fail(exc)
            return None

    def fail(self, exc: OSError) -> None:
        self.failed = True
        logger.warning("this process's metrics are not kept", extra={"folder": str(folder()), "why": str(exc)})


here = Here()
os.register_at_fork(after_in_child=here.after_fork)


def named(where: Path) -> tuple[str, int]:
    """Return a name that no other process has, and the handle of its locked file. Raise OSError."""
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"  # no _ in it: names of files are read at these
    new = where / f"{name}{NEW}"
    held = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(where / f"{name}{ALIVE}")  # seen only now, when it is locked
    except BaseException:
        os.close(held)
        raise
    return name, held


class Value:
    """A number in this process's book: what prometheus-client calls the value behind a metric."""

    _multiprocess = True
    __slots__ = ("book", "key", "kind", "life", "value")

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **kwargs: object,
    ) -> None:
        self.kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        self.key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        self.value, self.life = 0.0, 0
        self.book: Book | None = None

    def inc(self, amount: float) -> None:
        with here.lock:
            self._write(amount + (self.value if self.life == here.life else 0.0))

    def set(self, value: float, timestamp: float | None = None) -> None:
        with here.lock:
            self._write(value)

    def _write(self, value: float) -> None:
        if self.life != here.life:
            self.life, self.book = here.life, here.book(self.kind)
        self.value = value
        if self.book is not None:
            try:
                self.book.write_value(self.key, value, 0.0)
            except OSError as exc:
                self.book = None
                here.fail(exc)

    def get(self) -> float:
        return self.value if self.life == here.life else 0.0

    def get_exemplar(self) -> None:
        return None


# --- Reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Past:
    """Which books of the past count, and which processes' are in them."""

    number: int = 0
    counted: frozenset[str] = frozenset()

    @classmethod
    def read(cls, where: Path) -> Past:
        try:
            told = json.loads((where / f"{PAST}.json").read_text())
            return cls(int(told["number"]), frozenset(told["counted"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, where: Path) -> None:
        """Have this count from now on: what was added up, and no more the books of those that are in it."""
        new = where / f"{PAST}{NEW}"
        new.write_text(json.dumps({"number": self.number, "counted": sorted(self.counted)}))
        new.replace(where / f"{PAST}.json")

    def file(self, where: Path, kind: str) -> Path:
        return where / f"{kind}_{PAST}{self.number}.db"


def numbers() -> list[Metric]:
    """Return what all processes of this machine have counted, living and dead, as families of samples."""
    where = folder()
    tidy(where)
    for _ in range(READ_AGAIN):
        past = Past.read(where)
        files = [path for path in sorted(where.glob("*.db")) if counts(path, past)]
        with suppress(FileNotFoundError):
            found = list(MultiProcessCollector.merge([str(path) for path in files if readable(path)]))
            if Past.read(where) == past:
                return found
    raise TimeoutError("the metrics of ended processes are added up all the time")


def counts(path: Path, past: Past) -> bool:
    kind, owner = kind_and_owner(path)
    if owner.startswith(PAST):
        return owner == f"{PAST}{past.number}"
    return owner not in past.counted and (kind in ADDED_UP or is_alive(path.parent, owner))


def kind_and_owner(path: Path) -> tuple[str, str]:
    kind, _, owner = path.stem.rpartition("_")
    return kind, owner


def readable(path: Path) -> bool:
    try:
        for _ in MmapedDict.read_all_values_from_file(str(path)):
            pass
    except (RuntimeError, ValueError, struct.error) as exc:  # it was cut off, as when a disk is full
        logger.warning("metrics can't be read", extra={"file": path.name, "why": str(exc)})
        return False
    return True


def is_alive(where: Path, name: str) -> bool:
    return is_locked(where / f"{name}{ALIVE}")


def is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


# --- Adding up ---------------------------------------------------------------------------------------------------


def tidy(where: Path) -> None:
    """Add up what ended processes have counted and remove their books, unless another process is at it.

    It may be killed anywhere: what counts changes in the one moment in which the new past is written.
    """
    with suppress(OSError), alone_in(where) as ours:
        if not ours:
            return
        dead = {name for name in names(where) if not is_alive(where, name)}
        past = Past.read(where)
        if fresh := dead - past.counted:
            past = add_up(where, past, fresh, still=dead)
        for path in where.glob("*.db"):
            _, owner = kind_and_owner(path)
            if owner in dead or (owner.startswith(PAST) and owner != f"{PAST}{past.number}"):
                path.unlink(missing_ok=True)
        for name in dead:
            (where / f"{name}{ALIVE}").unlink(missing_ok=True)
        for path in where.glob(f"*{NEW}"):  # of processes that were killed before they had a name
            if time() - path.stat().st_mtime > NEW_SECONDS and not is_locked(path):
                path.unlink(missing_ok=True)


def names(where: Path) -> set[str]:
    owners = {kind_and_owner(path)[1] for path in where.glob("*.db")}
    return {path.name.removesuffix(ALIVE) for path in where.glob(f"*{ALIVE}")} | {
        owner for owner in owners if not owner.startswith(PAST)
    }


def add_up(where: Path, past: Past, fresh: Iterable[str], *, still: Iterable[str]) -> Past:
    new = Past(past.number + 1, frozenset(still))
    for kind in ADDED_UP:
        sums: dict[str, float] = defaultdict(float)
        for path in (past.file(where, kind), *(where / f"{kind}_{name}.db" for name in fresh)):
            if path.exists() and readable(path):
                for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                    sums[key] += value
        if sums:
            new.file(where, kind).unlink(missing_ok=True)  # of an earlier try
            with closing(Book(new.file(where, kind))) as book:
                for key, value in sums.items():
                    book.write_value(key, value, 0.0)
    new.write(where)
    return new
