"""How far the ledger has been compared with its counters, and what was found the last time."""

from __future__ import annotations

from django.db import models

from core.queue.due import DueRow


class LedgerCheck(DueRow):
    """The round of comparing that is under way, and the last that came to its end. There is one row."""

    SINGLETON_PK = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK)
    # Of the round under way: counters up to this one are compared.
    cursor = models.BigIntegerField(default=0)
    found = models.TextField(blank=True)  # a line for each difference
    found_cents = models.BigIntegerField(default=0)
    # Of the last round.
    ended_at = models.DateTimeField(null=True)
    differences = models.TextField(blank=True)
    difference_cents = models.BigIntegerField(default=0)

    class Meta(DueRow.Meta):
        verbose_name = "check of the ledger"
        verbose_name_plural = "check of the ledger"

    def __str__(self) -> str:
        return f"Ledger compared at {self.ended_at}"
