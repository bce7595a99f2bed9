"""Who casts and who pays: accounts, their members, their API keys, and the money they move."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from core import sealing
from core.db.append_only import History
from core.limits import KEY_SPELLS

SCOPES = {
    "casts:read": "read casts, their events and artifacts",
    "casts:write": "cast, cancel, retry, and revoke a cast's links",
    "spells:read": "list spells with their schemas and prices",
    "budget:read": "read the budget and what was spent",
    "budget:write": "change caps",
    "keys": "make and revoke API keys, and change the secret that signs calls to a cast's callback_url",
    "callbacks": "manage callback endpoints, read the delivery log and send again",
    "audit": "read who changed what",
    "billing": "pay: save a card, top up, top up by itself, read invoices",
}


class Account(models.Model):
    """Who casts and who pays."""

    name = models.CharField(max_length=100, unique=True)
    # Changed by budget.set_cap alone: this month's counter goes along.
    monthly_cap_cents = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Cents per calendar month (UTC). Blank: no cap. 0: nothing may be cast."
    )
    max_running = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many of its casts may run at once. Blank: any number.",
    )
    max_open = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many of its casts may be open, waiting or running. Blank: ACCOUNT_MAX_OPEN.",
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How many requests all its API keys may make together. Blank: as for everybody. 0: any number.",
    )
    requests_per_key = models.PositiveIntegerField(
        "requests per minute and key",
        null=True,
        blank=True,
        help_text="How many requests each of its API keys may make. Blank: as for everybody. 0: any number.",
    )
    require_idempotency_key = models.BooleanField(
        default=False, help_text="Refuse casts that come without an Idempotency-Key."
    )
    # Set by credit.begin_billing and end_billing alone. With a default in the database, so that processes of the
    # release before can go on while an update is under way.
    billed = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Whether its casts are paid for from its credit."
    )
    # What calls to a cast's own callback_url are signed with, newest first; made when first asked for.
    sealed_callback_secrets = models.TextField(default="", editable=False)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="accounts")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def callback_secrets(self) -> list[str]:
        """Raise SecretsUnreadable."""
        found: list[str] = sealing.unseal(self.sealed_callback_secrets) if self.sealed_callback_secrets else []
        return found


class Role(models.TextChoices):
    """What a member may do in an account: each role also what those below it may."""

    OWNER = "owner", "owner: everything, and who is a member"
    ADMIN = "admin", "admin: API keys, caps and callbacks"
    MEMBER = "member", "member: cast, and read every cast whole"
    VIEWER = "viewer", "viewer: see that casts exist, their status and price, and nothing that is in them"

    @property
    def reads_contents(self) -> bool:
        return self != Role.VIEWER

    def includes(self, other: Role) -> bool:
        """Return whether this role may all that the other one may."""
        return _FROM_MOST.index(self) <= _FROM_MOST.index(other)


_FROM_MOST = list(Role)


class OpenCasts(models.Model):
    """How many casts of an account have not ended: the holds of its ledger that are not settled."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True, related_name="open_casts")
    number = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "open casts"

    def __str__(self) -> str:
        return f"{self.account}: {self.number}"


class Membership(models.Model):
    """A Django user's place in an account. Members watch its casts in the browser, as far as their role goes."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    # With a default in the database, so that processes of the release before can go on while an update is under way.
    role = models.CharField(max_length=6, choices=Role, default=Role.MEMBER, db_default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "user"], name="one_membership_per_user"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.account}, {self.role}"


class Session(AbstractBaseSession):
    """Somebody's session in a browser; `accounts.sessions` begins and ends them."""

    BROWSER_CHARS = 200

    # Nobody's until the login is complete.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="sessions")
    started_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    address = models.GenericIPAddressField(null=True)
    browser = models.CharField(max_length=BROWSER_CHARS)  # as it names itself

    class Meta(AbstractBaseSession.Meta):
        abstract = False
        default_permissions = ()  # nobody looks at them but their user, and who may change the user

    def __str__(self) -> str:  # not its key, which would open it
        return f"{self.user or 'a visitor'} since {self.started_at:%Y-%m-%d %H:%M}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore


def valid_scopes(scopes: object) -> None:
    unknown = [s for s in scopes if not isinstance(s, str) or s not in SCOPES] if isinstance(scopes, list) else [scopes]
    if unknown or not scopes:
        raise ValidationError(f"Scopes must be a list of these words: {', '.join(SCOPES)}. Not known: {unknown}")


def valid_spell_keys(keys: object) -> None:
    if not isinstance(keys, list) or not all(isinstance(k, str) and k for k in keys):
        raise ValidationError('Give a list of spell keys such as ["greet"], or leave it blank to allow every spell.')
    if len(keys) > KEY_SPELLS:
        raise ValidationError(f"A key has a list of {KEY_SPELLS} spells at most; leave it blank to allow every spell.")


def usual_scopes() -> list[str]:
    """Return a key's default scopes: it may use spells, but neither change caps, pay, nor manage keys and callbacks."""
    return [scope for scope in SCOPES if scope not in ("audit", "billing", "budget:write", "callbacks", "keys")]


class ApiKey(models.Model):
    """A bearer key of one account. Only its SHA-256 is stored; `accounts.keys` makes and checks keys."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What or whom the key is for.")
    prefix = models.CharField(max_length=24, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=usual_scopes, validators=[valid_scopes])
    spell_keys = models.JSONField(
        null=True, blank=True, validators=[valid_spell_keys], help_text="The only spells it may cast. Blank: all."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # Both null: made on the command line, or before this was noted.
    created_by_key = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="made"
    )
    created_by_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="+"
    )
    # Which took its place when it was rotated: the two overlap until the old one expires.
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="replaces"
    )
    # Of the form in which a member made it, so that one which is sent twice makes one key.
    form = models.UUIDField(null=True, blank=True, unique=True, editable=False)
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
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def allows_spell(self, key: str) -> bool:
        return self.spell_keys is None or key in self.spell_keys


def month_of(moment: dt.datetime) -> dt.date:
    """Return the first day of `moment`'s calendar month in UTC, which identifies a budget period."""
    return moment.astimezone(dt.UTC).date().replace(day=1)


class BudgetScope(models.TextChoices):
    """What a cap is for. Holds are always taken in this order, so that no two casts wait for each other."""

    ACCOUNT = "account"
    KEY = "key"
    SPELL = "spell"
    CREDIT = "credit"  # of a billed account, what it has paid for; no month's, and no cap that anybody sets


class BudgetCap(models.Model):
    """A cap within an account: for one of its API keys, or for what it spends on one spell."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="caps")
    scope = models.CharField(max_length=7, choices=[c for c in BudgetScope.choices if c[0] in ("key", "spell")])
    ref = models.CharField(max_length=64, help_text="The API key's id, or the spell's key.")
    cap_cents = models.PositiveBigIntegerField(help_text="Cents per calendar month (UTC). 0: nothing may be cast.")

    class Meta:
        ordering = ("scope", "ref")
        constraints = [models.UniqueConstraint(fields=["account", "scope", "ref"], name="one_cap_per_scope")]

    def __str__(self) -> str:
        return f"{self.scope} {self.ref}: {self.cap_cents}"


class BudgetPeriod(models.Model):
    """Money of one month: the counters that the ledger's entries add up to. All in cents.

    Every account has one for itself; for a key or a spell there is one only while a cap is set for it. A billed account
    has one more for its credit, which is of all months and kept under the first of 1970: see `accounts.credit`.
    """

    ALL_MONTHS = dt.date(1970, 1, 1)

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="budget_periods")
    month = models.DateField(help_text="The first day of the month (UTC).")
    scope = models.CharField(max_length=7, choices=BudgetScope, default=BudgetScope.ACCOUNT)
    ref = models.CharField(max_length=64, blank=True, help_text="The API key's id or the spell's key; blank: all.")
    # Of credit: what was booked, which falls below zero when money that was spent is taken back.
    cap_cents = models.BigIntegerField(null=True)
    # Of credit: below how many cents its owner is told, and those whom CREDIT_LOW names are asked for more.
    low_cents = models.PositiveBigIntegerField(null=True)
    refill_cents = models.PositiveBigIntegerField(null=True)
    held_cents = models.PositiveBigIntegerField(default=0)
    captured_cents = models.PositiveBigIntegerField(default=0)
    # Of an account's own counter: whether counters of keys or spells within it may exist.
    has_inner = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ("-month", "scope", "ref")
        constraints = [
            models.UniqueConstraint(fields=["account", "month", "scope", "ref"], name="one_period_per_month"),
            models.CheckConstraint(
                condition=Q(scope="credit") | Q(cap_cents=None) | Q(cap_cents__gte=0), name="cap_is_no_debt"
            ),
            models.CheckConstraint(
                condition=~Q(scope="credit") | Q(cap_cents__isnull=False), name="credit_is_a_number"
            ),
        ]

    def __str__(self) -> str:
        if self.scope == BudgetScope.CREDIT:
            return f"{self.account} credit"
        return " ".join([str(self.account), f"{self.month:%Y-%m}", *([self.scope, self.ref] if self.ref else [])])

    @property
    def used_cents(self) -> int:
        return self.held_cents + self.captured_cents

    @property
    def remaining_cents(self) -> int | None:
        """What may still be held, None without a cap."""
        return None if self.cap_cents is None else max(0, self.cap_cents - self.used_cents)

    @property
    def resets_at(self) -> dt.datetime:
        """When the next month begins (UTC)."""
        # 32 days after the first of any month it is the next one.
        first = (self.month + dt.timedelta(days=32)).replace(day=1)
        return dt.datetime(first.year, first.month, 1, tzinfo=dt.UTC)


class LedgerEntry(History):
    """One move of money for one cast. Append-only: the admin, the model and a database trigger refuse changes.

    A cast has one hold, and one settlement: a capture, a release, or a capture and the release of the rest.
    """

    class Kind(models.TextChoices):
        HOLD = "hold"
        CAPTURE = "capture"
        RELEASE = "release"

    period = models.ForeignKey(BudgetPeriod, on_delete=models.PROTECT, related_name="entries")
    cast_id = models.UUIDField()  # not a foreign key: money outlives what it was paid for
    kind = models.CharField(max_length=7, choices=Kind)
    cents = models.PositiveBigIntegerField()
    hold_cents = models.PositiveBigIntegerField()  # of the cast's hold, so that the database can compare
    settles = models.BooleanField(default=False)  # true for the one entry that ends the hold
    api_key_id = models.CharField(max_length=64, blank=True)
    spell_key = models.CharField(max_length=64, blank=True)
    booked_on = models.DateField()  # the day (UTC) on which the cast was accepted
    # Whether the hold was taken from the account's credit; what settles it is booked there as well.
    on_credit = models.BooleanField(default=False, db_default=False)
    at = models.DateTimeField(auto_now_add=True)

    class Meta(History.Meta):
        abstract = False
        verbose_name_plural = "ledger entries"
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["period", "booked_on"], name="entry_by_day"),
            # What is to be reported of a billed account.
            models.Index(fields=["period", "id"], condition=Q(kind="capture", on_credit=True), name="entry_to_bill"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["cast_id", "kind"], name="one_entry_per_cast_and_kind"),
            models.UniqueConstraint(fields=["cast_id"], condition=Q(settles=True), name="one_settlement_per_cast"),
            models.CheckConstraint(condition=Q(cents__lte=F("hold_cents")), name="no_more_than_was_held"),
            models.CheckConstraint(
                condition=~Q(kind="hold") | Q(settles=False, cents=F("hold_cents")), name="a_hold_settles_nothing"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.cents} for {self.cast_id}"


class Credit(History):
    """One change of what an account may spend: what it paid, was given, or was paid back. Append-only as the ledger is.

    Their sum is the cap of the account's credit.
    """

    class Kind(models.TextChoices):
        GRANT = "grant"  # given by an operator; negative when it is taken back
        TOPUP = "topup", "top-up"
        PAID = "paid"  # an invoice
        REFUND = "refund"  # positive if it failed, and the money came back
        DISPUTE = "dispute"
        WON = "won", "dispute won"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credits")
    kind = models.CharField(max_length=7, choices=Kind)
    cents = models.BigIntegerField(help_text="Negative: taken back.")
    source = models.CharField(
        max_length=255, unique=True, help_text="What it is booked for, such as a payment's id: nothing is booked twice."
    )
    note = models.CharField(max_length=500, blank=True)
    by = models.CharField(max_length=200, blank=True, help_text="Who granted it.")
    at = models.DateTimeField(auto_now_add=True)

    class Meta(History.Meta):
        abstract = False
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(condition=~Q(cents=0), name="credit_changes_something"),
            models.CheckConstraint(
                condition=~Q(kind__in=["topup", "paid", "won"]) | Q(cents__gt=0), name="credit_paid"
            ),
            models.CheckConstraint(condition=~Q(kind="dispute") | Q(cents__lt=0), name="credit_disputed"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.cents:+} for {self.account_id}"


class AccountEvent(models.Model):
    """Something that an account's owner should know, once."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=40)
    dedupe = models.CharField(max_length=200)  # of events with the same one, the first is kept
    data = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=["account", "dedupe"], name="told_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.dedupe}"


# Found by Django as this module is.
from accounts.audit import models as audit_models  # noqa: E402, F401
from accounts.members import models as member_models  # noqa: E402, F401
from accounts.proof import models as proof_models  # noqa: E402, F401
from accounts.rationing import models as rationing_models  # noqa: E402, F401
