"""Files that no artifact has: what killed workers have left, and what artifacts have given up."""

from __future__ import annotations

import datetime as dt
import logging

from django.utils import timezone

from casts.models import LooseFile
from core import storage
from core.queue.due import DueQuerySet

logger = logging.getLogger(__name__)

RETRY_SECONDS = (30, 300, 3600)
GIVE_UP = dt.timedelta(days=1)


class FileWork:
    """Deletes them."""

    thread_share = 0.25  # of the worker's threads at most: nobody waits for it

    def rows(self) -> DueQuerySet:
        return LooseFile.due_rows()

    def step(self, row: LooseFile) -> dt.datetime | None:
        # First, and committed: an artifact that would still get the file now finds that it can't.
        if not row.mine().update(doomed=True):
            return None
        try:
            storage.discard(row.name)
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            logger.warning("a file could not be deleted", extra={"file": row.name, "why": why})
            wait = RETRY_SECONDS[min(row.attempts, len(RETRY_SECONDS)) - 1]
            return timezone.now() + dt.timedelta(seconds=wait)
        row.mine().delete()
        return None

    def give_up(self, row: LooseFile) -> dt.datetime | None:
        logger.error("a file can't be deleted", extra={"file": row.name})
        return timezone.now() + GIVE_UP
