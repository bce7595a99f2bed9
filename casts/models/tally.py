"""What was counted of casts for the dashboard, and which workers are alive."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from casts.models.spell import Spell
from core.db.documents import DocumentField
from core.queue.due import DueRow


class CastTally(models.Model):
    """What became of the casts of one spell that were accepted in one hour or day (UTC); see casts.tallies.

    Without a spell it is of all of them, and says that the span was counted, perhaps without finding any.
    """

    class Span(models.TextChoices):
        HOUR = "hour"
        DAY = "day"

    span = models.CharField(max_length=4, choices=Span)
    start = models.DateTimeField()
    spell = models.ForeignKey(Spell, on_delete=models.CASCADE, null=True, related_name="+")
    open = models.PositiveIntegerField()  # not ended when they were counted: they are to be counted again
    counted = DocumentField()

    class Meta:
        verbose_name_plural = "cast tallies"
        ordering = ("span", "start", "spell")
        constraints = [
            models.UniqueConstraint(fields=["span", "start", "spell"], name="one_tally_per_spell"),
            models.UniqueConstraint(fields=["span", "start"], condition=Q(spell=None), name="one_tally_of_all"),
        ]

    def __str__(self) -> str:
        return f"{self.span} {self.start:%Y-%m-%d %H:%M} {self.spell_id or 'all'}"


class WorkerProcess(models.Model):
    """A worker that says every few seconds that it is alive; see casts.workers."""

    name = models.CharField(max_length=200, primary_key=True)  # host:process id
    threads = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "worker processes"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Round(DueRow):
    """Something that one worker at a time does again and again, such as counting casts. There is one row of each."""

    class Name(models.TextChoices):
        TALLIES = "tallies"
        ALARMS = "alarms"
        RETENTION = "retention"

    name = models.CharField(max_length=10, primary_key=True, choices=Name)

    def __str__(self) -> str:
        return self.name
