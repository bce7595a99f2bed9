"""The inbox: what GitHub told us, as it came."""

from __future__ import annotations

from django.db import models

from casts.due import DueRow


class Delivery(DueRow):
    """One webhook delivery, stored once by its GUID. The body is kept as text; what we query are columns."""

    class Outcome(models.TextChoices):
        PENDING = "pending"  # not applied yet: its run is unknown so far, or applying it failed
        APPLIED = "applied"  # changed something
        NOTHING_NEW = "nothing_new"  # about something of ours, and already known
        NOT_OURS = "not_ours"  # about a run that no cast started

    guid = models.CharField(max_length=64, unique=True)
    event = models.CharField(max_length=40)
    action = models.CharField(max_length=40, blank=True)
    repository = models.CharField(max_length=140, blank=True)
    run_id = models.BigIntegerField(null=True, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField()
    repeats = models.PositiveIntegerField(default=0)  # how often GitHub sent it again
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.PENDING)
    applied_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta(DueRow.Meta):
        verbose_name_plural = "deliveries"
        ordering = ("-id",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index("run_id", name="delivery_by_run"),
            models.Index("received_at", name="delivery_pending", condition=models.Q(outcome="pending")),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.action} {self.guid}"
