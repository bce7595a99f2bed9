"""Noting who is refused, and deleting what rationing has kept and nobody needs any more."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.db.models import F
from django.utils import timezone

from accounts.rationing.models import FailedTries, Ration, Refusal
from core import rationing
from core.db.purging import purge_some
from core.rationing import MINUTE

logger = logging.getLogger(__name__)

KEPT = dt.timedelta(days=7)
FORGOTTEN = dt.timedelta(days=1)  # longer than any wait, and than failed tries are remembered


def note(*, allowance: str, subject: str, **kwargs: Any) -> None:
    """Note that somebody is refused; a receiver of core.rationing.refused."""
    logger.warning("refused as too often", extra={"allowance": allowance, "subject": subject})
    now, subject = timezone.now(), subject[: Refusal._meta.get_field("subject").max_length]
    known = Refusal.objects.filter(allowance=allowance, subject=subject)
    if not known.update(last_at=now, count=F("count") + 1):
        Refusal.objects.bulk_create(
            [Refusal(allowance=allowance, subject=subject, first_at=now, last_at=now)], ignore_conflicts=True
        )


def purge() -> int:
    """Delete counts of minutes and tries that are over, and old refusals; return how many."""
    now = rationing.now()
    forgotten = FailedTries.objects.filter(last_ms__lt=int(1000 * (now - FORGOTTEN.total_seconds())))
    return (
        purge_some(Ration.objects.filter(minute__lt=int(now // MINUTE) - 1).order_by("pk"))
        + purge_some(forgotten.order_by("pk"))
        + purge_some(Refusal.objects.filter(last_at__lt=timezone.now() - KEPT).order_by("pk"))
    )
