"""Who is called when a cast ends or something happens to an account, and what is owed to them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Account, AccountEvent, ApiKey, valid_spell_keys
from casts.models.cast import Cast
from core import sealing
from core.ids import derived, uuid7
from core.queue.due import DueRow


class CallbackType(models.TextChoices):
    """What receivers are told."""

    SUCCEEDED = "cast.succeeded"
    FAILED = "cast.failed"
    CANCELLED = "cast.cancelled"
    TOPUP_SUCCEEDED = "topup.succeeded"
    TOPUP_FAILED = "topup.failed"
    CREDIT_LOW = "credit.low"
    DISPUTE_OPENED = "dispute.opened"
    TEST = "endpoint.test"


ABOUT_CASTS = (CallbackType.SUCCEEDED, CallbackType.FAILED, CallbackType.CANCELLED)
# Kinds of AccountEvent. They go to endpoints that name them, and no others.
ABOUT_ACCOUNTS = tuple(kind for kind in CallbackType if kind not in (*ABOUT_CASTS, CallbackType.TEST))
# What an endpoint may name. A test goes to the endpoint that is tested, whatever it names.
TO_BE_NAMED = (*ABOUT_CASTS, *ABOUT_ACCOUNTS)
READS_ACCOUNTS = "budget:read"  # the scope of keys that may read what these messages hold


def endpoint_id() -> str:
    return f"ep_{uuid7().hex}"


def message_id() -> str:
    """Return a new callback's id, which is also its `webhook-id`; sorts by time."""
    return f"msg_{uuid7().hex}"


def message_id_of_end(cast: Cast, endpoint: CallbackEndpoint | None) -> str:
    """Return the id of the callback that tells an endpoint (None: its callback_url) of a cast's end.

    Always the same one: an end that is told again, because the database was restored from a backup, is a repetition
    to its receiver.
    """
    return f"msg_{derived(cast.pk, endpoint.pk if endpoint else '').hex}"


def usual_types() -> list[str]:
    return [str(kind) for kind in ABOUT_CASTS]


class CallbackEndpoint(models.Model):
    """An address that an account wants called. Deleted ones stay, for the log."""

    id = models.CharField(max_length=40, primary_key=True, default=endpoint_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="callback_endpoints")
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    types = models.JSONField(default=usual_types, help_text="Which messages it gets.")
    # What the key could read that made it: whoever says where messages go must not learn more from them. The first with
    # a default in the database, so that processes of the release before can go on while an update is under way.
    contents = models.BooleanField(
        default=True, db_default=True, help_text="Whether messages hold all of a cast, or only its id and its status."
    )
    spell_keys = models.JSONField(
        null=True, blank=True, validators=[valid_spell_keys], help_text="The only spells whose casts it is told of."
    )
    sealed_secrets = models.TextField(default="", editable=False)  # newest first; two during a rotation
    active = models.BooleanField(default=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("id",)
        indexes = [models.Index(fields=["account", "active"], name="endpoint_by_account")]

    def __str__(self) -> str:
        return self.url

    @property
    def secrets(self) -> list[str]:
        """Raise SecretsUnreadable."""
        found: list[str] = sealing.unseal(self.sealed_secrets) if self.sealed_secrets else []
        return found

    def wants(self, kind: CallbackType, spell_key: str) -> bool:
        return kind in self.types and (self.spell_keys is None or spell_key in self.spell_keys)

    @property
    def hears_of_the_account(self) -> bool:
        return not set(ABOUT_ACCOUNTS).isdisjoint(self.types)

    def may_be_led_by(self, key: ApiKey) -> bool:
        """Return whether a key may say where this endpoint's messages go: it could read itself what they hold."""
        if self.contents and "casts:read" not in key.scopes:
            return False
        if self.hears_of_the_account and READS_ACCOUNTS not in key.scopes:
            return False
        return key.spell_keys is None or (self.spell_keys is not None and set(self.spell_keys) <= set(key.spell_keys))


class Callback(DueRow):
    """One message owed to one receiver: that a cast has ended, what happened to an account, or a test of an endpoint.

    See callbacks.outbox.
    """

    class State(models.TextChoices):
        PENDING = "pending"  # to be tried at due_at
        DELIVERED = "delivered"
        FAILED = "failed"  # given up; `last_error` says why
        DISABLED = "disabled"  # the receiver is gone, or was switched off

    id = models.CharField(max_length=40, primary_key=True, default=message_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="callbacks")
    # What it is about: one of the two, and a test about neither.
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, null=True, related_name="callbacks")
    event = models.ForeignKey(AccountEvent, on_delete=models.CASCADE, null=True, related_name="callbacks")
    # Null: the cast's own callback_url, signed with the account's secret.
    endpoint = models.ForeignKey(CallbackEndpoint, on_delete=models.CASCADE, null=True, related_name="callbacks")
    url = models.CharField(max_length=2000)  # where the last try went, or the first will go
    type = models.CharField(max_length=40, choices=CallbackType)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index(fields=["account", "-id"], name="callback_by_account"),
            models.Index("created_at", name="callback_undelivered", condition=Q(state__in=["pending", "failed"])),
        ]
        constraints = [
            models.UniqueConstraint(fields=["cast", "endpoint"], name="one_callback_per_endpoint"),
            models.UniqueConstraint(fields=["cast"], condition=Q(endpoint=None), name="one_callback_to_its_own_url"),
            models.UniqueConstraint(fields=["event", "endpoint"], name="one_callback_per_event"),
            models.CheckConstraint(
                condition=Q(cast__isnull=False, event=None)
                | Q(cast=None, event__isnull=False, endpoint__isnull=False)
                | Q(cast=None, event=None, endpoint__isnull=False, type="endpoint.test"),
                name="callback_is_about_one",
            ),
        ]

    def log_ids(self) -> dict[str, str]:
        return {"callback": self.id} | ({"cast_id": str(self.cast_id)} if self.cast_id else {})

    def __str__(self) -> str:
        return self.id


class CallbackAttempt(models.Model):
    """One try to deliver a callback, and what came back."""

    callback = models.ForeignKey(Callback, on_delete=models.CASCADE, related_name="tries")
    at = models.DateTimeField()
    url = models.CharField(max_length=2000)
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    duration_ms = models.PositiveIntegerField()
    response_excerpt = models.TextField(blank=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.status_code or self.error}"
