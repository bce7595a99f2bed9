"""What is cast: spells, casts, their events and their artifacts."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Coalesce, NullIf
from django.urls import reverse

from accounts.models import Account, ApiKey
from core import json_schema
from core.db.documents import DocumentField
from core.ids import uuid7
from core.queue.due import DueRow

JSON = Any


def valid_schema(schema: object) -> None:
    """Refuse what is not a JSON Schema (2020-12), and references that would leave the document."""
    try:
        json_schema.check(schema)
    except json_schema.BadSchema as exc:
        raise ValidationError(exc.problems) from exc


class SpellQuerySet(models.QuerySet["Spell"]):
    def castable_by(self, key: ApiKey) -> SpellQuerySet:
        """Return the spells this key may see and cast."""
        spells = self.filter(active=True)
        return spells if key.spell_keys is None else spells.filter(key__in=key.spell_keys)


AT_LEAST_ONE = MinValueValidator(1)
# What Postgres' integer holds; SQLite would take more, and the calendar would end. As seconds it is 68 years.
AT_MOST = MaxValueValidator(2**31 - 1)
CENTURY = MaxValueValidator(36_500)  # days

TARGET = ("runtime", "repository", "workflow_file", "ref", "event_type")  # what decides which workflow runs


def standard_timeout() -> int:
    """Return CAST_TIMEOUT_SECONDS. A function, so that a changed setting is no changed model."""
    return settings.CAST_TIMEOUT_SECONDS


def standard_ttl() -> int:
    """Return CAST_TTL_SECONDS."""
    return settings.CAST_TTL_SECONDS


def standard_retention() -> int:
    """Return ARTIFACT_RETENTION_DAYS."""
    return settings.ARTIFACT_RETENTION_DAYS


class Spell(models.Model):
    """Something castable: a workflow, what it takes and gives, what it costs, and its limits."""

    class Runtime(models.TextChoices):
        WORKFLOW_DISPATCH = "workflow_dispatch", "workflow_dispatch (one workflow file)"
        REPOSITORY_DISPATCH = "repository_dispatch", "repository_dispatch (an event type)"

    key = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9._-]*$", "Use lower-case letters, digits, dots, dashes, and _.")],
        help_text="The name that callers use.",
    )
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    active = models.BooleanField(default=True, help_text="An inactive spell is not found; its casts go on.")

    runtime = models.CharField(max_length=32, choices=Runtime, default=Runtime.WORKFLOW_DISPATCH)
    repository = models.CharField(
        max_length=140,
        blank=True,
        validators=[RegexValidator(r"^[\w.-]+/[\w.-]+$", "Write the repository as owner/name.")],
        help_text="owner/name. Blank: GITHUB_REPOSITORY.",
    )
    workflow_file = models.CharField(
        max_length=200,
        blank=True,
        validators=[RegexValidator(r"^[\w.-]+\.ya?ml$", "Name the file in .github/workflows, such as cast.yml.")],
        help_text="A file in .github/workflows. Blank: GITHUB_WORKFLOW_FILE.",
    )
    ref = models.CharField(max_length=200, blank=True, help_text="Branch or tag. Blank: GITHUB_WORKFLOW_REF.")
    event_type = models.CharField(max_length=100, blank=True, help_text="For repository_dispatch: the event's type.")
    installation_id = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Of the GitHub App. Blank: GITHUB_APP_INSTALLATION_ID."
    )

    input_schema = DocumentField(default=dict, blank=True, validators=[valid_schema], help_text="JSON Schema 2020-12")
    output_schema = DocumentField(
        null=True, blank=True, validators=[valid_schema], help_text="Of result.json. Blank: anything goes."
    )
    price_cents = models.PositiveIntegerField(default=0, validators=[AT_MOST])
    # Whether its runs' titles carry [cast:<id>]; learnt by seeing one. Only then can absence of a run be proved.
    carries_token = models.BooleanField(default=False, editable=False)
    charge_failed_runs = models.BooleanField(
        default=True, help_text="Take the price also when the run itself fails. What never ran is never charged."
    )
    timeout_seconds = models.PositiveIntegerField(
        default=standard_timeout, validators=[AT_LEAST_ONE, AT_MOST], help_text="A run may take this long."
    )
    max_running = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[AT_LEAST_ONE, AT_MOST],
        help_text="How many of its casts may run at once, of all accounts together. Blank: any number.",
    )
    ttl_seconds = models.PositiveIntegerField(
        default=standard_ttl,
        validators=[AT_LEAST_ONE, AT_MOST],
        help_text="A cast must start in this time.",
    )
    artifact_retention_days = models.PositiveIntegerField(
        default=standard_retention, validators=[AT_LEAST_ONE, CENTURY]
    )
    # With defaults in the database, so that processes of the release before can go on while an update is under way.
    show_run = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Callers see where its runs are: their address, and what GitHub says of them. Operators always do.",
    )
    show_input = models.BooleanField(
        default=True,
        db_default=True,
        help_text="The progress page shows the input to everybody who has the link. The API always gives it.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SpellQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; with another target, what was learnt of the old one's runs is forgotten."""
        if self.carries_token and self.pk is not None:
            before = Spell.objects.filter(pk=self.pk).values(*TARGET).first()
            self.carries_token = before == {name: getattr(self, name) for name in TARGET}
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse a target that could never start, and schemas of no use; all mistakes at once."""
        wrong: dict[str, Any] = {}
        if self.runtime == self.Runtime.REPOSITORY_DISPATCH and not self.event_type:
            wrong["event_type"] = "A repository_dispatch spell needs the event type it sends."
        for name in ("input_schema", "output_schema"):  # Django leaves out validators for what is empty, such as []
            schema = getattr(self, name)
            if schema in EMPTY_VALUES and (schema is not None or name == "input_schema"):
                try:
                    valid_schema(schema)
                except ValidationError as exc:
                    wrong[name] = exc.messages
        if self.repository.endswith(".git"):
            wrong["repository"] = "Write the repository as owner/name, without .git."
        if not (self.repository or settings.GITHUB_REPOSITORY):
            wrong["repository"] = "Name a repository here, or set GITHUB_REPOSITORY for all spells."
        if wrong:
            raise ValidationError(wrong)

    @property
    def target_repository(self) -> str:
        """owner/name, with the setting filled in."""
        return self.repository or settings.GITHUB_REPOSITORY

    @property
    def target_workflow(self) -> str:
        """The workflow file, with the setting filled in."""
        return self.workflow_file or settings.GITHUB_WORKFLOW_FILE

    @property
    def target_ref(self) -> str:
        """Branch or tag, with the setting filled in."""
        return self.ref or settings.GITHUB_WORKFLOW_REF

    @property
    def target_installation(self) -> int | None:
        """The App's installation, with the setting filled in."""
        return self.installation_id or settings.GITHUB_APP_INSTALLATION_ID


class CastStatus(models.TextChoices):
    """Five words, closed set (design: states)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (CastStatus.QUEUED, CastStatus.RUNNING)
FINAL = (CastStatus.SUCCEEDED, CastStatus.FAILED, CastStatus.CANCELLED)


class CastQuerySet(models.QuerySet["Cast"]):
    def of(self, account: Account) -> CastQuerySet:
        """Return one account's casts; every other account's are not found."""
        return self.filter(account=account)

    def with_installation(self) -> CastQuerySet:
        """Annotate the App's installation that each goes through, the setting filled in; 0 if there is none."""
        named, default = NullIf("spell__installation_id", Value(0)), settings.GITHUB_APP_INSTALLATION_ID or 0
        return self.annotate(installation=Coalesce(named, Value(default), output_field=models.BigIntegerField()))

    def through_installation(self, installation_id: int) -> CastQuerySet:
        """Return those that go through one installation."""
        with_it: Any = self.with_installation()
        found: CastQuerySet = with_it.filter(installation=installation_id)
        return found


class Cast(DueRow):
    """One request to run a spell. Written by `casts.lifecycle` alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No index of its own where another index begins with it: each costs every insert, and may mislead the planner.
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="casts", db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="casts")
    spell = models.ForeignKey(Spell, on_delete=models.PROTECT, related_name="casts")
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="retries", db_index=False)
    input = DocumentField()
    metadata = DocumentField(default=dict)
    callback_url = models.URLField(max_length=2000, blank=True)
    cost_cents = models.PositiveIntegerField()

    status = models.CharField(max_length=10, choices=CastStatus, default=CastStatus.QUEUED)
    status_reason = models.CharField(max_length=40, default="accepted")
    message = models.CharField(max_length=500, default="Accepted; waiting for a worker.")
    progress = models.PositiveSmallIntegerField(default=0)  # percent
    step_name = models.CharField(max_length=300, blank=True)
    last_seq = models.PositiveIntegerField(default=0)

    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()  # not started by then: expired
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    # Dispatch: the intent is committed before the call, the answer after it.
    dispatch_attempts = models.PositiveSmallIntegerField(default=0)
    dispatch_started_at = models.DateTimeField(null=True)
    dispatched_at = models.DateTimeField(null=True)
    answer_lost_at = models.DateTimeField(null=True)  # since when no answer to the dispatch is to be expected
    searched_since = models.DateTimeField(null=True)  # the first time we looked for its run, and got an answer
    turn_at = models.DateTimeField(null=True)  # when it may next call GitHub, if it has to wait for its turn
    watched_until = models.DateTimeField(null=True)  # somebody follows it live: look more often
    # The run behind it. `observation` is the highest one folded so far, as wire-neutral JSON.
    repository = models.CharField(max_length=140)
    run_id = models.BigIntegerField(null=True)
    # Known by its title alone: an answer that names another one wins. With a default in the database, so that processes
    # of the release before can go on while an update is under way.
    run_guessed = models.BooleanField(default=False, db_default=False)
    run_attempt = models.PositiveIntegerField(null=True)
    run_url = models.URLField(max_length=500, blank=True)
    observation = DocumentField(null=True)
    jobs = DocumentField(default=list)
    run_finished_at = models.DateTimeField(null=True)  # we learnt that the run has ended; artifacts are being copied
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_reason = models.CharField(max_length=40, blank=True)  # why we asked: the status_reason it ends with
    cancel_asked_at = models.DateTimeField(null=True)  # GitHub took our request
    cancel_forced_at = models.DateTimeField(null=True)

    error = DocumentField(null=True)
    output = DocumentField(null=True)
    charged_cents = models.PositiveIntegerField(null=True)  # what was captured, once it has ended

    objects = CastQuerySet.as_manager()

    class Meta(DueRow.Meta):
        ordering = ("-id",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index(fields=["account", "-id"], name="cast_by_account"),
            models.Index(fields=["spell", "account"], name="cast_open", condition=Q(status__in=["queued", "running"])),
            models.Index("repository", name="cast_runless", condition=Q(run_id=None, status="queued")),
            models.Index("retry_of", name="cast_retries", condition=Q(retry_of__isnull=False)),
            models.Index("spell", name="cast_refused", condition=Q(status_reason="dispatch_refused")),
        ]
        constraints = [
            # One run belongs to at most one cast: makes taking someone else's run impossible, not unlikely.
            models.UniqueConstraint(fields=["run_id", "repository"], name="one_cast_per_run"),
            models.CheckConstraint(condition=Q(status__in=[s.value for s in CastStatus]), name="cast_status_known"),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in FINAL], finished_at__isnull=False)
                | Q(status__in=[s.value for s in OPEN], finished_at=None),
                name="cast_final_iff_finished",
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def final(self) -> bool:
        """Whether it has ended, for good."""
        return self.status in FINAL

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from the run's start to the cast's end, once both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0, int((self.finished_at - self.started_at).total_seconds() * 1000))

    @property
    def correlation(self) -> str:
        """The token that the workflow's run-name carries."""
        return f"[cast:{self.pk}]"

    def get_absolute_url(self) -> str:
        """Return the progress page's path."""
        return reverse("cast-page", args=[self.pk])


class SpellTurn(models.Model):
    """When an account last got a slot of a spell with `max_running`; see casts.slots."""

    spell = models.ForeignKey(Spell, on_delete=models.CASCADE)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    served_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["spell", "account"], name="one_turn_per_account")]

    def __str__(self) -> str:
        return f"{self.account} {self.spell} {self.served_at}"


class CastEvent(models.Model):
    """One line of a cast's history. `data` is the whole state after it: what SSE streams, but for casts.disclosure."""

    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="events", db_index=False)
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=40)
    data = DocumentField()
    at = models.DateTimeField()
    by = models.CharField(max_length=150, blank=True, default="", db_default="")  # the operator; callers don't see it

    class Meta:
        ordering = ("cast_id", "seq")
        constraints = [models.UniqueConstraint(fields=["cast", "seq"], name="one_event_per_number")]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class Artifact(DueRow):
    """Our copy of one artifact of a cast's run."""

    class State(models.TextChoices):
        PENDING = "pending"  # still to be copied
        STORED = "stored"
        FAILED = "failed"  # can't be copied; `error` says why
        EXPIRED = "expired"  # our retention has passed; the bytes are gone

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="artifacts", db_index=False)
    name = models.CharField(max_length=300)
    remote_id = models.BigIntegerField()
    remote_digest = models.CharField(max_length=80, blank=True)  # "sha256:<hex>", as GitHub gives it
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    error = models.CharField(max_length=500, blank=True)
    file = models.FileField(max_length=300, blank=True)
    file_name = models.CharField(max_length=310, blank=True)  # what a download is called
    size_bytes = models.PositiveBigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    stored_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("name",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index("cast", name="artifact_missing", condition=Q(state__in=["pending", "failed"])),
        ]
        constraints = [models.UniqueConstraint(fields=["cast", "name"], name="one_artifact_per_name")]

    def __str__(self) -> str:
        return self.name


class IdempotencyRecord(models.Model):
    """The answer to one Idempotency-Key; see casts.idempotency."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, db_index=False)
    route = models.CharField(max_length=60)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    body = DocumentField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "route", "key"], name="one_answer_per_key")]
        indexes = [models.Index("created_at", name="idempotency_age")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class CallbackType(models.TextChoices):
    """What receivers are told."""

    SUCCEEDED = "cast.succeeded"
    FAILED = "cast.failed"
    CANCELLED = "cast.cancelled"


def endpoint_id() -> str:
    """Return a new endpoint's id."""
    return f"ep_{uuid7().hex}"


def message_id() -> str:
    """Return a new callback's id, which is also its `webhook-id`; sorts by time."""
    return f"msg_{uuid7().hex}"


def every_callback_type() -> list[str]:
    """Return all types."""
    return list(CallbackType.values)


class CallbackEndpoint(models.Model):
    """An address that an account wants called when its casts end. Deleted ones stay, for the log."""

    id = models.CharField(max_length=40, primary_key=True, default=endpoint_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="callback_endpoints")
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    types = models.JSONField(default=every_callback_type, help_text="Which messages it gets.")
    secrets = models.JSONField(editable=False)  # newest first; two during a rotation
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


class Callback(DueRow):
    """One message owed to one receiver: a queued cast's end on its way out. See casts.callbacks."""

    class State(models.TextChoices):
        PENDING = "pending"  # to be tried at due_at
        DELIVERED = "delivered"
        FAILED = "failed"  # given up; `last_error` says why
        DISABLED = "disabled"  # the receiver is gone, or was switched off

    id = models.CharField(max_length=40, primary_key=True, default=message_id, editable=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="callbacks")
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="callbacks")
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
        ]

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
