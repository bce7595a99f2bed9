"""What we know of the App's installations: who they belong to, and why one must be left alone for now."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import Q
from django.utils import timezone

PERSONAL = 0  # stands for the personal token, which has rate limits but no installation


class Installation(models.Model):
    """One installation of the GitHub App. Rate limits belong to it, not to a cast or a process."""

    id = models.PositiveBigIntegerField(
        primary_key=True, help_text="GitHub's installation id; 0 is the personal token."
    )
    account_login = models.CharField(max_length=100, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True, help_text="Rate limited until then.")
    pause_message = models.CharField(max_length=500, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.account_login or 'installation'} ({self.pk})"


def pause(installation_id: int, *, until: dt.datetime, message: str) -> None:
    """Have every process leave this installation alone until then; an earlier end never shortens a later one."""
    Installation.objects.get_or_create(pk=installation_id)
    Installation.objects.filter(Q(paused_until=None) | Q(paused_until__lt=until), pk=installation_id).update(
        paused_until=until, pause_message=message[:500], updated_at=timezone.now()
    )


def paused(installation_id: int) -> Installation | None:
    """Return the installation if it is rate limited now."""
    return Installation.objects.filter(pk=installation_id, paused_until__gt=timezone.now()).first()
