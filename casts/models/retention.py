"""How long what casts hold is kept."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from accounts.audit.retention import LEAST_DAYS
from accounts.models import Account
from casts.models.spell import Spell
from core.times import MOST_DAYS


class Kept(models.TextChoices):
    """What is kept for a while: see docs/reference/retention.md."""

    INPUT = "input", "inputs, with their metadata and callback_url"
    OUTPUT = "output", "outputs and summaries"
    LOG = "log", "what runs say: steps, annotations, the end of the log"
    ARTIFACT = "artifact", "copies of artifacts"
    EVENT = "event", "events: the histories of casts"
    DELIVERY = "delivery", "webhook deliveries"
    CALLBACK = "callback", "callbacks and their tries"
    IDEMPOTENCY = "idempotency", "answers kept by Idempotency-Key"
    AUDIT = "audit", "the audit log"


class RetentionRule(models.Model):
    """That one kind of thing is kept for so many days: of an account, of a spell, or of an account's casts of a spell.

    Where several fit, the shortest counts; where none does, the setting. See casts.retention.
    """

    account = models.ForeignKey(
        Account, on_delete=models.CASCADE, null=True, blank=True, related_name="retention_rules", db_index=False
    )
    spell = models.ForeignKey(
        Spell, on_delete=models.CASCADE, null=True, blank=True, related_name="retention_rules", db_index=False
    )
    kind = models.CharField(max_length=12, choices=Kept)
    days = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_DAYS)], help_text="After the cast has ended."
    )

    class Meta:
        ordering = ("kind", "days")
        constraints = [
            models.UniqueConstraint(fields=["account", "kind"], condition=Q(spell=None), name="one_rule_per_account"),
            models.UniqueConstraint(fields=["spell", "kind"], condition=Q(account=None), name="one_rule_per_spell"),
            models.UniqueConstraint(fields=["account", "spell", "kind"], name="one_rule_per_both"),
            models.CheckConstraint(
                condition=Q(account__isnull=False) | Q(spell__isnull=False), name="rule_is_about_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.days} days"

    def clean(self) -> None:
        wrong: dict[str, Any] = {}
        if self.kind == Kept.AUDIT and self.spell_id is not None:
            wrong["spell"] = "The audit log is the account's: leave the spell blank."
        elif self.kind == Kept.AUDIT and self.account_id is None:
            wrong["kind"] = "The audit log is an account's, not a spell's: set this rule on the account."
        elif self.kind == Kept.AUDIT and self.days is not None and self.days < LEAST_DAYS:
            wrong["days"] = (
                f"The audit log is kept for {LEAST_DAYS} days at least, so that nobody removes their own traces."
            )
        if wrong:
            raise ValidationError(wrong)


class RetentionMark(models.Model):
    """Up to where the rows of one kind have been looked at for what is kept this many days; see casts.retention.work.

    `rules` tells by which rules that was, and which spell was the newest: with other rules it begins anew.
    """

    source = models.CharField(max_length=12)
    days = models.PositiveIntegerField()
    rules = models.CharField(max_length=64)
    place = models.CharField(max_length=40, blank=True)
    waiting = models.JSONField(default=list)  # casts that were passed by: something of them was still under way

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "days"], name="one_mark_per_days")]

    def __str__(self) -> str:
        return f"{self.source} of {self.days} days: {self.place}"
