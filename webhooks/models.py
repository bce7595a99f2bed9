"""The inbox: what GitHub told us, as it came."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, QuerySet

from core.db.months import ByMonth
from core.ids import first_number
from core.queue.due import DueRow

GUID_CHARS = 64


class Delivery(DueRow):
    """One webhook delivery, stored once by its GUID. The body is kept as text; what we query are columns."""

    class Outcome(models.TextChoices):
        PENDING = "pending"  # not applied yet: its run may turn out to be a cast's, or applying it failed
        APPLIED = "applied"  # changed something
        NOTHING_NEW = "nothing_new"  # about something of ours, and already known
        NOT_OURS = "not_ours"  # about a run that no cast started
        REFUSED = "refused"  # holds what can't be, as `error` says; never applied

    guid = models.CharField(max_length=GUID_CHARS)
    event = models.CharField(max_length=40)
    action = models.CharField(max_length=40, blank=True)
    repository = models.CharField(max_length=140, blank=True)
    run_id = models.BigIntegerField(null=True, blank=True)
    body = models.TextField()
    received_at = models.DateTimeField()
    repeats = models.PositiveIntegerField(default=0)  # how often GitHub sent it again
    altered = models.PositiveIntegerField(default=0, db_default=0)  # how often another body came under its GUID
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.PENDING)
    applied_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    # How late webhooks are. With a default in the database, so that processes of the release before can go on while an
    # update is under way.
    happened_at = models.DateTimeField(null=True, blank=True)  # what it tells of, as far as it says
    swept = models.BooleanField("came by the sweep", default=False, db_default=False)

    months = ByMonth("id", first_number, int)  # on Postgres ids hold their time: the database makes them so

    class Meta(DueRow.Meta):
        verbose_name_plural = "deliveries"
        ordering = ("-id",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index("run_id", name="delivery_by_run"),
            models.Index("applied_at", name="delivery_settled", condition=Q(applied_at__isnull=False)),
            models.Index("received_at", name="delivery_refused", condition=Q(outcome="refused")),
            models.Index("received_at", name="delivery_pending", condition=Q(outcome="pending")),
        ]
        # Not unique=True, with which Postgres gets a second index, for LIKE.
        constraints = [models.UniqueConstraint(fields=["guid"], name="one_delivery_per_guid")]

    def log_ids(self) -> dict[str, str]:
        return {"guid": self.guid}

    def __str__(self) -> str:
        return f"{self.event} {self.action} {self.guid}"

    @classmethod
    def of_run(cls, repository: str, run_id: int) -> QuerySet[Delivery]:
        return cls.objects.filter(run_id=run_id, repository__iexact=repository)


class DeliverySweep(DueRow):
    """How far GitHub's log of deliveries has been read for what never reached us. There is one row."""

    SINGLETON_PK = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=SINGLETON_PK)
    swept_to = models.DateTimeField(null=True, blank=True)  # what was delivered before is here, or can't be recovered
    finished_at = models.DateTimeField(null=True, blank=True)
    recovered = models.PositiveBigIntegerField(default=0)
    unreadable = models.PositiveBigIntegerField(default=0)  # no longer in the log, or not what GitHub sends
    error = models.TextField(blank=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    progress = models.JSONField(default=dict, blank=True)  # of the round that is under way: webhooks.sweep.Round

    class Meta(DueRow.Meta):
        verbose_name_plural = "delivery sweep"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="delivery_sweep_is_one")]

    def __str__(self) -> str:
        return "delivery sweep"
