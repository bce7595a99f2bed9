"""Who casts and who pays: accounts, their members, their API keys, and the money they move."""

from __future__ import annotations

import datetime as dt

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

SCOPES = {
    "casts:read": "read casts, their events and artifacts",
    "casts:write": "cast, cancel and retry",
    "spells:read": "list spells with their schemas and prices",
    "budget:read": "read the budget and what was spent",
    "keys": "make and revoke API keys",
}


class Account(models.Model):
    """Who casts and who pays."""

    name = models.CharField(max_length=100, unique=True)
    monthly_cap_cents = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Cents per calendar month (UTC). Blank: no cap. 0: nothing may be cast."
    )
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="accounts")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A Django user's place in an account: members may watch its casts in the browser."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "user"], name="one_membership_per_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}"


def valid_scopes(scopes: object) -> None:
    """Refuse anything but a list of known scopes, naming the ones there are."""
    unknown = [s for s in scopes if not isinstance(s, str) or s not in SCOPES] if isinstance(scopes, list) else [scopes]
    if unknown or not scopes:
        raise ValidationError(f"Scopes must be a list of these words: {', '.join(SCOPES)}. Not known: {unknown}")


def valid_spell_keys(keys: object) -> None:
    """Refuse anything but a list of spell keys."""
    if not isinstance(keys, list) or not all(isinstance(k, str) and k for k in keys):
        raise ValidationError('Give a list of spell keys such as ["greet"], or leave it blank to allow every spell.')


def every_scope() -> list[str]:
    """Return all scopes."""
    return list(SCOPES)


class ApiKey(models.Model):
    """A bearer key of one account. Only its SHA-256 is stored; `accounts.keys` makes and checks keys."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What or whom the key is for.")
    prefix = models.CharField(max_length=24, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=every_scope, validators=[valid_scopes])
    spell_keys = models.JSONField(
        null=True, blank=True, validators=[valid_spell_keys], help_text="The only spells it may cast. Blank: all."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def usable(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def allows_spell(self, key: str) -> bool:
        """Whether this key may cast the spell named `key`."""
        return self.spell_keys is None or key in self.spell_keys

    # DRF asks its `request.user`; a key is not a person, but it is somebody.
    is_authenticated = True
    is_active = True


def month_of(moment: dt.datetime) -> dt.date:
    """Return the first day of `moment`'s calendar month in UTC: what a budget period is named by."""
    return moment.astimezone(dt.UTC).date().replace(day=1)


class BudgetPeriod(models.Model):
    """One account's money in one month: the counters that the ledger's entries add up to. All in cents."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="budget_periods")
    month = models.DateField(help_text="The first day of the month (UTC).")
    cap_cents = models.PositiveBigIntegerField(null=True)
    held_cents = models.PositiveBigIntegerField(default=0)
    captured_cents = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ("-month",)
        constraints = [models.UniqueConstraint(fields=["account", "month"], name="one_period_per_month")]

    def __str__(self) -> str:
        return f"{self.account} {self.month:%Y-%m}"

    @property
    def remaining_cents(self) -> int | None:
        """What may still be held, or None without a cap."""
        return None if self.cap_cents is None else max(0, self.cap_cents - self.held_cents - self.captured_cents)

    @property
    def resets_at(self) -> dt.datetime:
        """When the next month begins (UTC)."""
        first = (self.month + dt.timedelta(days=32)).replace(day=1)
        return dt.datetime(first.year, first.month, 1, tzinfo=dt.UTC)


class LedgerEntry(models.Model):
    """One move of money for one cast. Append-only; `kind` says which counter it moved."""

    class Kind(models.TextChoices):
        HOLD = "hold"
        CAPTURE = "capture"
        RELEASE = "release"

    period = models.ForeignKey(BudgetPeriod, on_delete=models.PROTECT, related_name="entries")
    cast_id = models.UUIDField()  # not a foreign key: money outlives what it was paid for
    kind = models.CharField(max_length=7, choices=Kind)
    cents = models.PositiveBigIntegerField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=["cast_id", "kind"], name="one_entry_per_cast_and_kind"),
            models.UniqueConstraint(
                fields=["cast_id"], condition=~Q(kind="hold"), name="one_capture_or_release_per_cast"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.cents} for {self.cast_id}"
