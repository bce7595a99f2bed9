"""What operators were told of, and the messages that told them; see casts.alarms."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core.db.documents import DocumentField
from core.ids import uuid7
from core.queue.due import DueRow


def alarm_message_id() -> str:
    """Return a new message's id, which is also its `webhook-id` and in its mail's Message-ID; sorts by time."""
    return f"alarm_{uuid7().hex}"


class Alarm(models.Model):
    """One trouble, from when it was first seen to when it has been away for long enough."""

    source = models.CharField(max_length=100)  # the function that tells of it
    key = models.CharField(max_length=500)  # the same as long as it is the same trouble
    section = models.CharField(max_length=100)
    what = models.CharField(max_length=500)  # as it was last seen
    count = models.PositiveIntegerField(default=1)
    since = models.DateTimeField(null=True)
    advice = models.TextField(blank=True)
    path = models.CharField(max_length=2000, blank=True)
    began_at = models.DateTimeField()
    seen_at = models.DateTimeField()  # last
    told_at = models.DateTimeField()  # last
    over_at = models.DateTimeField(null=True)
    returns = models.PositiveIntegerField(default=0)  # after it was over: each doubles how long it has to be away

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["key", "over_at"], name="alarm_by_key")]
        constraints = [models.UniqueConstraint(fields=["key"], condition=Q(over_at=None), name="one_alarm_per_trouble")]

    def __str__(self) -> str:
        return self.what


class AlarmMessage(DueRow):
    """One message to the operators, by mail or to their endpoint. Sent again until it is taken."""

    class Channel(models.TextChoices):
        MAIL = "mail"
        URL = "url"

    class State(models.TextChoices):
        PENDING = "pending"  # to be tried at due_at
        DELIVERED = "delivered"
        FAILED = "failed"  # given up

    id = models.CharField(max_length=40, primary_key=True, default=alarm_message_id, editable=False)
    channel = models.CharField(max_length=4, choices=Channel)
    type = models.CharField(max_length=20)  # alarms.news, alarms.test
    news = DocumentField()  # what it says; the links in it are made when it is sent
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.id
