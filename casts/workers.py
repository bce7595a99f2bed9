"""Which workers are alive: each says so in a row of its own."""

from __future__ import annotations

import datetime as dt
import os
import socket

from django.db.models import QuerySet
from django.utils import timezone

from casts.models import WorkerProcess
from core.queue.worker import Worker

ALIVE = dt.timedelta(seconds=60)  # several beats: a busy machine may miss some
FORGOTTEN = dt.timedelta(days=1)


def alive() -> QuerySet[WorkerProcess]:
    return WorkerProcess.objects.filter(seen_at__gt=timezone.now() - ALIVE)


def missing() -> str:
    """Say that no worker is alive, for /readyz; blank if one is."""
    if alive().exists():
        return ""
    return f"none has been seen for {ALIVE.total_seconds():.0f} seconds. Start one: manage.py runworker"


def beat(worker: Worker) -> None:
    """Note that a worker is alive; one that stops takes its row along."""
    now, name = timezone.now(), f"{socket.gethostname()}:{os.getpid()}"
    if worker.stopping.is_set():
        WorkerProcess.objects.filter(name=name).delete()
        return
    changes = {"seen_at": now, "threads": worker.threads}
    if not WorkerProcess.objects.filter(name=name).update(**changes):
        WorkerProcess.objects.get_or_create(name=name, defaults=changes | {"started_at": now})
        WorkerProcess.objects.filter(seen_at__lt=now - FORGOTTEN).delete()
