"""The one way in which entries of the audit log are deleted: when they have been kept for as long as they are to be."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.audit.models import AuditEntry, AuditPurge

# Whoever calls: or somebody who may set rules could soon have deleted what tells of them, that rule among it.
LEAST_DAYS = 30


def delete(entry_ids: Sequence[uuid.UUID], *, before: dt.datetime) -> int:
    """Delete these entries, as far as they are from before a moment; return how many."""
    before = min(before, timezone.now() - dt.timedelta(days=LEAST_DAYS))
    with transaction.atomic():
        leave = AuditPurge.objects.create(before=before)
        gone = AuditEntry.objects.filter(pk__in=entry_ids, at__lt=before).delete()[0]
        leave.delete()
    return gone
