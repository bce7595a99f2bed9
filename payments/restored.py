"""After a restore: what Stripe was told since the backup was made must not be told, and paid for, twice."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from core.queue import wakeups
from payments import metering
from payments.models import MeterReport, Subscription

State = MeterReport.State


def doubt_reports() -> str:
    """Have Stripe's sums looked at before any report is sent that may have been sent already.

    What was captured and not yet sealed may have been reported, too: it is sealed now, and doubted likewise. A day
    after this, what is missing in Stripe's sums is sent (payments.counting).
    """
    for subscription in Subscription.objects.exclude(state=Subscription.State.ENDED):
        metering.seal(subscription)
    now = timezone.now()
    doubted = MeterReport.objects.filter(state=State.NEW, first_sent_at=None).update(
        state=State.DOUBTFUL,
        first_sent_at=F("created_at"),
        last_sent_at=now,
        due_at=now,
        message="Restored from a backup; Stripe may have been told since.",
    )
    wakeups.work_is_due()
    return f"Of {doubted} meter reports Stripe's sums are looked at before they are sent."
