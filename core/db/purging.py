"""Deleting what is over, some at a time, so that no transaction is long."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

CHUNK, CHUNKS = 500, 20  # rows in one transaction, and how many of these at a time


def purge_some(old: QuerySet[Any]) -> int:
    """Delete the first of these rows, as they are ordered; return how many. As long as it returns any, call it again.

    What refers to them, by a foreign key that says so, goes with them.
    """
    gone = 0
    for _ in range(CHUNKS):
        found = list(old.values_list("pk", flat=True)[:CHUNK])
        if found:
            # Asked once more: some may have changed since they were found.
            gone += old.order_by().filter(pk__in=found).delete()[1].get(old.model._meta.label, 0)
        if len(found) < CHUNK:
            break
    return gone
