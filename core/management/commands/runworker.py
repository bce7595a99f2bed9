"""Run the worker: it steps the kinds of rows that the setting WORK names."""

import logging
import signal
import threading
from argparse import ArgumentParser
from types import FrameType

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core.commands import why_unready
from core.queue.worker import Worker
from core.telemetry import serving, tracing

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0  # between looks at a database that is not ready


class Command(BaseCommand):
    help = "Step what is due, until SIGTERM or SIGINT; then finish the steps under way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--threads", type=int, default=settings.WORKER_THREADS, help="steps at a time")

    def handle(self, *, threads: int, **options: object) -> None:
        tracing.start("worker")
        worker = Worker(threads=threads, lease_seconds=settings.WORKER_LEASE_SECONDS)

        def stop(signum: int, frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        if settings.WORKER_BIND:
            answer(settings.WORKER_BIND)
        if wait_for_database(worker.stopping):
            logger.info("worker starts", extra={"threads": threads})
            worker.run()


def answer(bind: str) -> None:
    """Serve health and metrics on host:port, before the database is there, too. Raise CommandError."""
    host, _, port = bind.rpartition(":")
    try:
        serving.start(host.strip("[]"), int(port))
    except (OSError, OverflowError) as exc:
        raise CommandError(f"WORKER_BIND: {bind} can't be had: {exc}") from None


def wait_for_database(stopping: threading.Event) -> bool:
    """Return True once the database is there with its tables, False when told to stop; log each reason once.

    The worker may be started before the database, or before `migrate`.
    """
    said = ""
    while not stopping.is_set():
        why = why_unready()
        if not why:
            return True
        if why != said:
            logger.warning("worker waits for the database", extra={"why": why})
        said = why
        stopping.wait(LOOK_SECONDS)
    logger.info("worker stops", extra={"held": 0})
    return False
