"""Casts, their history, their order, and the answers to repeated requests."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from accounts.models import Account, ApiKey
from casts.models.spell import Spell
from core.db.documents import DocumentField
from core.db.months import ByMonth
from core.ids import first_id, uuid7
from core.queue.due import DueRow
from core.telemetry.tracing import TRACEPARENT_CHARS


class CastStatus(models.TextChoices):
    """A closed set of five; see "States" in docs/explanation/architecture.md."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (CastStatus.QUEUED, CastStatus.RUNNING)
FINAL = (CastStatus.SUCCEEDED, CastStatus.FAILED, CastStatus.CANCELLED)


class Cast(DueRow):
    """One request to run a spell. Written by `casts.lifecycle` alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # No index of its own where another index begins with it: each costs every insert, and may mislead the planner.
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="casts", db_index=False)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, related_name="casts")
    # The member who cast it in the browser, without a key; see the index `cast_by_member`.
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    spell = models.ForeignKey(Spell, on_delete=models.PROTECT, related_name="casts")
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="retries", db_index=False)
    input = DocumentField()
    metadata = DocumentField(default=dict)
    callback_url = models.URLField(max_length=2000, blank=True)
    # Where in its caller's trace it was accepted (W3C traceparent); NULL: in none. See core.telemetry.tracing.
    traceparent = models.CharField(max_length=TRACEPARENT_CHARS, null=True)  # noqa: DJ001 - no text is a traceparent
    cost_cents = models.PositiveIntegerField()  # what is held: it costs no more
    price = DocumentField(null=True)  # which it was accepted at, see casts.pricing; NULL: the spell's own, a flat one
    spell_version = models.PositiveIntegerField(null=True)  # which it was accepted under; NULL: versions came later

    status = models.CharField(max_length=10, choices=CastStatus, default=CastStatus.QUEUED)
    status_reason = models.CharField(max_length=40, default="accepted")
    message = models.CharField(max_length=500, default="Accepted; waiting for a worker.")
    progress = models.PositiveSmallIntegerField(default=0)  # percent
    step_name = models.CharField(max_length=300, blank=True)
    last_seq = models.PositiveIntegerField(default=0)
    # Signed into its links: counted up, those that were handed out before open nothing.
    links_epoch = models.PositiveIntegerField(default=0, db_default=0)

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
    pace_at = models.DateTimeField(null=True)  # when it may be started, if it has to wait for its turn
    line_at = models.DateTimeField(null=True)  # its place in the line for a turn, while it has none
    watched_until = models.DateTimeField(null=True)  # somebody follows it live: look more often
    # The run behind it. `observation` is the highest one folded so far, as wire-neutral JSON.
    run_scope = models.CharField(max_length=140)  # where `run_key` is unique: for a workflow, its repository
    run_key = models.CharField(max_length=100, null=True)  # noqa: DJ001 - several are unknown, none may be the same
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
    cancel_asked_at = models.DateTimeField(null=True)  # our request was taken
    cancel_forced_at = models.DateTimeField(null=True)

    error = DocumentField(null=True)
    output = DocumentField(null=True)
    summary = models.TextField(blank=True, default="", db_default="")  # Markdown, for people
    annotations = DocumentField(null=True)  # what its jobs remarked; NULL: not asked, or never told
    charged_cents = models.PositiveIntegerField(null=True)  # what was captured, once it has ended
    charge = DocumentField(null=True)  # how that was computed; NULL: before the end, and for flat prices
    # Its run should have reported what it costs, and did not, so it cost nothing.
    charge_unknown = models.BooleanField(default=False, db_default=False)
    # What of it was deleted as its retention was over: by kind, when and after how many days. NULL: nothing.
    removed = DocumentField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("-id",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index(fields=["account", "-id"], name="cast_by_account"),
            # Lists that are filtered. Without these, one in which little is found is looked for among all casts of the
            # account: 13 s where it has ten million. What went well is in neither of them by its status: it is most.
            models.Index(fields=["account", "spell", "-id"], name="cast_by_spell"),
            models.Index(fields=["account", "status", "-id"], name="cast_by_status", condition=~Q(status="succeeded")),
            # "Mine only". What a key casts is not in it, so POST /cast does not pay for it.
            models.Index(
                fields=["placed_by", "account", "-id"], name="cast_by_member", condition=Q(placed_by__isnull=False)
            ),
            models.Index(fields=["spell", "account"], name="cast_open", condition=Q(status__in=["queued", "running"])),
            models.Index("run_scope", name="cast_runless", condition=Q(run_key=None, status="queued")),
            models.Index("retry_of", name="cast_retries", condition=Q(retry_of__isnull=False)),
            models.Index("id", name="cast_links_revoked", condition=Q(links_epoch__gt=0)),
            models.Index("finished_at", name="cast_given_up", condition=Q(status_reason="internal_error")),
            models.Index("finished_at", name="cast_charge_unknown", condition=Q(charge_unknown=True)),
            models.Index("spell", name="cast_refused", condition=Q(status_reason="dispatch_refused")),
        ]
        constraints = [
            # One run belongs to at most one cast: makes taking someone else's run impossible, not unlikely.
            models.UniqueConstraint(fields=["run_key", "run_scope"], name="one_cast_per_run"),
            models.CheckConstraint(condition=Q(status__in=[s.value for s in CastStatus]), name="cast_status_known"),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in FINAL], finished_at__isnull=False)
                | Q(status__in=[s.value for s in OPEN], finished_at=None),
                name="cast_final_iff_finished",
            ),
        ]

    def log_ids(self) -> dict[str, str]:
        return {"cast_id": str(self.pk)}

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def duration_ms(self) -> int | None:
        """Milliseconds from the run's start to the cast's end, once both are known."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0, int((self.finished_at - self.started_at).total_seconds() * 1000))

    @property
    def run_tag(self) -> str:
        """The tag that the workflow's run-name carries."""
        return f"[cast:{self.pk}]"

    def get_absolute_url(self) -> str:
        return reverse("cast-page", args=[self.pk])


class SlotOrder(models.Model):
    """When an account last got a slot of a spell with `max_running`; see casts.lifecycle.slots."""

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

    months = ByMonth("cast_id", first_id, uuid.UUID)

    class Meta:
        ordering = ("cast_id", "seq")
        constraints = [models.UniqueConstraint(fields=["cast", "seq"], name="one_event_per_number")]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class IdempotencyRecord(models.Model):
    """The answer to one Idempotency-Key; see casts.lifecycle.idempotency."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, db_index=False)
    route = models.CharField(max_length=60)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    body = DocumentField()
    created_at = models.DateTimeField()

    class Meta:
        # The key first: operators search by it alone.
        constraints = [models.UniqueConstraint(fields=["key", "account", "route"], name="one_answer_per_key")]
        indexes = [models.Index("created_at", name="idempotency_age")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"
