"""The one way in which entries of the audit log are deleted: when they have been kept for as long as they are to be."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from accounts.audit.models import AuditEntry, AuditPurge

LEAST = dt.timedelta(days=1)  # nothing of today is ever deleted, whoever calls


def delete(entry_ids: Sequence[uuid.UUID], *, before: dt.datetime) -> int:
    """Delete these entries, as far as they are from before a moment; return how many."""
    before = min(before, timezone.now() - LEAST)
    with transaction.atomic():
        leave = AuditPurge.objects.create(before=before)
        gone = AuditEntry.objects.filter(pk__in=entry_ids, at__lt=before).delete()[0]
        leave.delete()
    return gone
