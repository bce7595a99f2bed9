"""Emptying the deliveries about casts' runs, where a rule keeps them for less long than all are kept."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db.models import Q

from casts.retention.removal import Due
from webhooks.models import Delivery


def empty(due: Sequence[Due]) -> set[uuid.UUID]:
    """Delete what deliveries hold; return the casts of which some are still to be applied.

    The rows stay for DELIVERY_RETENTION_DAYS, so that a repetition is known: that one came, when, and of which run.
    """
    runs = {
        (one.cast.run_scope.lower(), int(one.cast.run_key)): one.cast.pk
        for one in due
        if one.cast.run_key is not None and one.cast.run_key.isdecimal()
    }
    about = Delivery.objects.filter(run_id__in={number for _, number in runs}).exclude(body="")
    rows = [
        (pk, runs[key], busy or lease)
        for pk, repository, number, busy, lease in about.order_by("pk").values_list(
            "pk", "repository", "run_id", "due_at", "lease_until"
        )
        if (key := (repository.lower(), number)) in runs
    ]
    free = Q(due_at=None, lease_until=None)
    Delivery.objects.filter(free, pk__in=[pk for pk, _, busy in rows if not busy]).update(body="", error="")
    return {cast_id for _, cast_id, busy in rows if busy}
