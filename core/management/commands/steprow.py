"""Step one row that a worker has claimed, in a process of its own: see core.queue.poison. Workers start it."""

import logging
import signal
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from core.queue.worker import Work, step_once
from core.telemetry import tracing

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Step one row that a worker has claimed. Workers start it for rows whose steps have failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=settings.WORK)
        parser.add_argument("id")
        parser.add_argument("claim_number", type=int)

    def handle(self, *, kind: str, id: str, claim_number: int, **options: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):  # whoever ends the worker waits for its steps
            signal.signal(number, signal.SIG_IGN)
        tracing.start("worker")
        work: Work = import_string(kind)()
        row = work.rows().filter(pk=id, claim_number=claim_number, lease_until__isnull=False).first()
        if row is None:
            raise CommandError(f"Nobody holds {kind} {id} by claim {claim_number}.")
        step_once(work, row)
