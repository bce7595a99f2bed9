"""The worker's loop: claim what is due, step it, say when to look again. It treats every kind of row alike."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import structlog
from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone
from django.utils.module_loading import import_string

from core.db.compiled import Firsts
from core.db.threads import database_kept
from core.metrics import STEP_SECONDS, STEPS
from core.queue import poison, wakeups
from core.queue.due import ALONE_FROM, GIVE_UP_AFTER, DueQuerySet, DueRow

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between looks when no wake-up comes
SWEEP_SECONDS = 600.0
BEAT_SECONDS = 15.0
STEPS_AT_ONCE = 8  # of one row, while it is due again as soon as it was stepped; then others get their turn


class Work(Protocol):
    """One kind of due row.

    With a `thread_share` it gets that part of the worker's threads at most; kinds of one `lane` share theirs.
    """

    def rows(self) -> DueQuerySet:
        """Return the queue."""

    def step(self, row: Any) -> dt.datetime | None:
        """Look, compare, move; return when to look again (None: only when woken)."""

    def give_up(self, row: Any) -> dt.datetime | None:
        """End a row whose steps fail every time, without what fails; return as `step` does. See core.queue.poison."""


class Worker:
    """Steps due rows on a pool of threads until told to stop; then finishes what it holds."""

    def __init__(self, *, threads: int, lease_seconds: float) -> None:
        self.lease = dt.timedelta(seconds=lease_seconds)
        self.threads = threads
        self.stopping = threading.Event()
        self.kinds: list[Work] = [import_string(path)() for path in settings.WORK]
        self.lanes = {kind.rows().model: lane_of(kind) for kind in self.kinds}
        # When the next row of each kind is due, and the next lease ends, whoever may claim it.
        self.next_due = Firsts(lambda: [kind.rows().next_due() for kind in self.kinds])
        self.next_ends = Firsts(lambda: [kind.rows().next_ends() for kind in self.kinds])
        self.due: list[Work] = []
        self.due_next: dt.datetime | None = None  # of the kinds that had nothing due
        self.held: dict[Future[None], tuple[DueRow, float]] = {}
        self.failing: Future[None] | None = None  # the step of a row whose last one failed
        self.failing_at = 0.0
        self.newest = True
        self.upkeep_at = 0.0
        self.sweep_at = 0.0
        self.sweeping: Future[None] | None = None
        self.beat_at = 0.0

    def stop(self) -> None:
        """Claim nothing more; `run` returns when the steps under way are done. Safe in a signal handler."""
        self.stopping.set()

    def run(self) -> None:
        listener = wakeups.listener(wakeups.DUE)
        with ThreadPoolExecutor(self.threads, thread_name_prefix="step") as pool:
            while not self.stopping.is_set():
                try:
                    if not self.claim_and_submit(pool):
                        listener.wait(self.pause())
                except Exception:  # the database may be away: it comes back, and so do we
                    logger.exception("the worker's look failed")
                    connections.close_all()
                    self.stopping.wait(LOOK_SECONDS)
            logger.info("worker stops", extra={"held": len(self.held)})
            self.beat()
            while self.held:
                self.keep_leases()
                time.sleep(0.05)
        listener.close()
        connections.close_all()

    def claim_and_submit(self, pool: ThreadPoolExecutor) -> int:
        """Fill the free threads with due rows; return how many were claimed."""
        self.keep_leases()
        if time.monotonic() > self.sweep_at and (self.sweeping is None or self.sweeping.done()):
            self.sweep_at = time.monotonic() + SWEEP_SECONDS
            # Beside the steps: one that waits for a lock must let no lease run out, nor keep rows from being claimed.
            self.sweeping = pool.submit(self.sweep)
        self.look()
        claimed = self.claim_failing(pool)
        # Oldest and newest first by turns: else a row that has just become due would wait behind a whole backlog.
        self.newest = not self.newest
        for kind in self.due:
            free = self.room(kind)
            if free <= 0:
                continue
            for row in kind.rows().claim(limit=free, lease=self.lease, newest=self.newest, failing=False):
                self.held[pool.submit(self.step, kind, row)] = (row, time.monotonic())
                claimed += 1
        return claimed

    def look(self) -> None:
        """Note which kinds have a row that is due: composing claims of all the others costs far more than to ask."""
        self.due, self.due_next = [], None
        if len(self.held) >= self.threads:
            return
        now, asked = timezone.now(), self.next_due.all()
        self.due = [kind for kind, at in zip(self.kinds, asked, strict=True) if at is not None and at <= now]
        self.due_next = min((at for at in asked if at is not None and at > now), default=None)

    def claim_failing(self, pool: ThreadPoolExecutor) -> int:
        """Claim a row whose last step failed, unless one is held: should it end us, it takes none of its like along."""
        if self.failing is not None and not self.failing.done():
            return 0
        if time.monotonic() < self.failing_at:
            return 0
        for kind in self.due:
            if self.room(kind) <= 0:
                continue
            for row in kind.rows().claim(limit=1, lease=self.lease, failing=True):
                self.failing = pool.submit(self.step, kind, row)
                self.held[self.failing] = (row, time.monotonic())
                return 1
        self.failing_at = time.monotonic() + LOOK_SECONDS
        return 0

    def room(self, kind: Work) -> int:
        """Return how many more rows of one kind may be claimed."""
        free = self.threads - len(self.held)
        share: float = getattr(kind, "thread_share", 1.0)
        if free <= 0 or share >= 1:
            return free
        lane = lane_of(kind)
        taken = sum(self.lanes[type(row)] == lane for row, _ in self.held.values())
        return min(free, max(1, int(self.threads * share)) - taken)

    def pause(self) -> float:
        """Return how long to wait for a wake-up: until the next row is due, a second at most, less while steps run."""
        if len(self.held) >= self.threads:
            return 0.01  # a thread may be free at any moment; until then nothing is asked of the database
        seconds = LOOK_SECONDS / 10 if self.held else LOOK_SECONDS
        if self.due_next is not None:
            seconds = min(seconds, (self.due_next - timezone.now()).total_seconds())
        for kind in self.due:
            if self.room(kind) <= 0:  # it has its share: what is due of it waits
                continue
            if (until := kind.rows().seconds_until_due()) is not None:
                seconds = min(seconds, until)
        return max(seconds, 0.01)

    def keep_leases(self) -> None:
        now = time.monotonic()
        for future, (row, since) in list(self.held.items()):
            if future.done():
                del self.held[future]
            # Early, so that a lease outlives a database that is away for a moment.
            elif now - since > self.lease.total_seconds() / 3:
                row.extend(self.lease)
                self.held[future] = (row, now)
        if now > self.beat_at and not self.stopping.is_set():
            self.beat_at = now + BEAT_SECONDS
            self.beat()
        if now > self.upkeep_at:
            self.upkeep_at = now + LOOK_SECONDS
            close_old_connections()
            ended = timezone.now()
            for kind, at in zip(self.kinds, self.next_ends.all(), strict=True):
                if at is not None and at <= ended:
                    kind.rows().recover()

    def sweep(self) -> None:
        """Do what SWEEPS names; one that fails is logged, and keeps no other from being done."""
        for path in settings.SWEEPS:
            with database_kept():
                try:
                    import_string(path)()
                except Exception:
                    logger.exception("a sweep failed", extra={"sweep": path})

    def beat(self) -> None:
        """Say that this worker is alive, or stops; that this can't be said is no reason to stop working."""
        for path in settings.WORKER_BEATS:
            try:
                import_string(path)(self)
            except Exception:
                logger.exception("the worker's sign of life failed")

    def step(self, kind: Work, row: DueRow) -> None:
        """Step one row on a pool thread; a bug delays that row, never the loop."""
        with database_kept(), structlog.contextvars.bound_contextvars(**row.log_ids()):
            try:
                if row.failed_steps > GIVE_UP_AFTER:
                    row.park()
                elif row.failed_steps < ALONE_FROM:
                    self.step_on(kind, row)
                elif self.stopping.is_set():
                    row.put_aside(timezone.now())
                else:
                    poison.step_alone(path_of(kind), row)
            except Exception as exc:
                failed(row, exc)

    def step_on(self, kind: Work, row: DueRow) -> None:
        """Step a row as long as it is due again at once, perhaps because it was woken meanwhile; then give it back."""
        for _ in range(STEPS_AT_ONCE - 1):
            again = measured(kind, row)
            if self.stopping.is_set():
                row.give_back(again)
                return
            if (kept := row.rest(again, lease=self.lease)) is None:
                return
            row = kept
        row.give_back(measured(kind, row))


def measured(kind: Work, row: DueRow) -> dt.datetime | None:
    began, result, queue = time.perf_counter(), "failed", queue_name(path_of(kind))
    try:
        again = kind.step(row)
        result = "ok"
        return again
    finally:
        STEPS.labels(queue, result).inc()
        STEP_SECONDS.labels(queue).observe(time.perf_counter() - began)


def queue_name(path: str) -> str:
    """Return a queue's name: casts.callbacks.delivery.CallbackWork is casts.CallbackWork."""
    return f"{path.partition('.')[0]}.{path.rpartition('.')[2]}"


def lane_of(kind: Work) -> str:
    return getattr(kind, "lane", "") or path_of(kind)


def path_of(kind: Work) -> str:
    return f"{type(kind).__module__}.{type(kind).__qualname__}"


def failed(row: DueRow, exc: Exception) -> None:
    """Log and count a step that raised. Never raises: the lease runs out by itself."""
    facts = {"kind": type(row).__name__, "id": str(row.pk), "failed_steps": row.failed_steps + 1}
    logger.error("step failed", exc_info=exc, extra=facts)
    try:
        connections.close_all()
        poison.note_failure(row, exc)
    except Exception:
        logger.exception("claim not given back", extra=facts)


def step_once(kind: Work, row: DueRow) -> None:
    """Step a claimed row once, or give it up if it has failed too often; for a process that has nothing else to do."""
    with structlog.contextvars.bound_contextvars(**row.log_ids()):
        try:
            if row.failed_steps < GIVE_UP_AFTER:
                row.give_back(measured(kind, row))
            else:
                facts = {"kind": type(row).__name__, "id": str(row.pk), "failure": row.failure}
                logger.error("row given up", extra=facts)
                row.give_back(kind.give_up(row))
        except Exception as exc:
            failed(row, exc)
