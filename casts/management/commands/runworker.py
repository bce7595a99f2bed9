"""Run the worker: due casts, artifact copies, deliveries that failed to apply."""

import logging
import signal
from argparse import ArgumentParser
from types import FrameType

from django.conf import settings

from accounts.commands import DatabaseCommand
from casts.work import Worker

logger = logging.getLogger(__name__)


class Command(DatabaseCommand):
    help = "Step due casts, artifacts and deliveries until SIGTERM or SIGINT; then finish the steps under way."
    requires_system_checks = "__all__"  # an unsafe configuration must not work either

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the number of threads."""
        parser.add_argument("--threads", type=int, default=settings.WORKER_THREADS, help="steps at a time")

    def handle(self, *, threads: int, **options: object) -> None:
        """Run until told to stop."""
        worker = Worker(threads=threads, lease_seconds=settings.WORKER_LEASE_SECONDS)

        def stop(signum: int, frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        logger.info("worker starts", extra={"threads": threads})
        worker.run()
