"""What we know of the App's installations: whose they are, what GitHub allows them, and why one is left alone for now.

What changes these rows is in `github_integration.quota` (in the course of a call) and `github_integration.turns`. And
where each spell's workflow is.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models

from accounts.models import Account
from casts.models import Cast, Spell, SpellTarget
from core.db.documents import DocumentField
from github_integration.spell_files import ownership

PERSONAL = 0  # stands for the personal token, which has rate limits but no installation


class Installation(models.Model):
    """One installation of the GitHub App. Rate limits belong to it, not to a cast or a process."""

    class Pause(models.TextChoices):
        """Why it is left alone; also the status_reason of the casts that wait for it."""

        RATE_LIMITED = "rate_limited"
        SUSPENDED = "installation_suspended"
        REMOVED = "installation_removed"
        UNAVAILABLE = "waiting_for_github"

    id = models.PositiveBigIntegerField(
        primary_key=True, help_text="GitHub's installation id; 0 is the personal token."
    )
    account_login = models.CharField(max_length=100, blank=True)
    # Who starts our runs: the App's bot, or the token's user. Blank: not learnt yet.
    actor_login = models.CharField(max_length=100, blank=True, default="", db_default="")
    suspended_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    paused_until = models.DateTimeField(null=True, blank=True, help_text="Nobody asks GitHub anything before.")
    pause_reason = models.CharField(max_length=30, choices=Pause, blank=True)
    pause_message = models.CharField(max_length=500, blank=True)
    # In a row, until a call succeeds: rate limits for which GitHub named no end, and calls that got no answer.
    unnamed_limits = models.PositiveSmallIntegerField(default=0)
    failures = models.PositiveSmallIntegerField(default=0)

    # GitHub's primary rate limit, as its answers last told (requests an hour).
    rate_limit = models.PositiveIntegerField(null=True, blank=True)
    rate_remaining = models.PositiveIntegerField(null=True, blank=True)
    rate_reset_at = models.DateTimeField(null=True, blank=True)

    # How far ahead starts are booked (turns.book), and what was spent on looks (turns.spend).
    dispatches_booked_until = models.DateTimeField(null=True, blank=True)
    looks_booked_until = models.DateTimeField(null=True, blank=True)

    # The operator's choices for the spells that its repositories define: see `github_integration.spell_files`. With
    # defaults in the database, so that processes of the release before can go on while an update is under way.
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="installations",
        null=True,
        blank=True,
        help_text="Whose the spells are that files in its repositories define. Blank: such files are not applied.",
    )
    prices_from_repository = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The files may set price_cents or price, and charge_failed_runs. Otherwise these are yours.",
    )
    limits_from_repository = models.BooleanField(
        default=True,
        db_default=True,
        help_text="The files may set max_running, timeout_seconds, ttl_seconds and artifact_retention_days. "
        "Otherwise these are yours.",
    )
    new_spell_price_cents = models.PositiveIntegerField(
        default=0,
        db_default=0,
        validators=[MaxValueValidator(2**31 - 1)],
        help_text="What a spell costs that comes with a file which may not set, or does not name, its price.",
    )
    # How commits are told what became of their files, as far as GitHub has let us; see `spell_files.reporting`.
    reports_by = models.CharField(max_length=12, blank=True, default="", db_default="", editable=False)

    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.account_login or 'installation'} ({self.pk})"


class AccountTurns(models.Model):
    """One account's share of what an installation may ask of GitHub; see `github_integration.turns`."""

    installation = models.ForeignKey(Installation, on_delete=models.CASCADE)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    turn_at = models.DateTimeField(null=True)  # its latest turn to start a run
    # The line of its casts that wait for one, by the account's own clock: where it ends, and how many seconds the
    # clock is behind, because others had turns too.
    line_until = models.DateTimeField(null=True)
    behind_seconds = models.FloatField(default=0.0)
    asked_until = models.DateTimeField(null=True)  # when the last of those who found the line too long asks again
    # The look that is kept for it, of how many GETs, and when the last of those who were put off asks again.
    look_at = models.DateTimeField(null=True)
    look_calls = models.PositiveSmallIntegerField(default=0)
    looks_asked_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "account turns"
        constraints = [models.UniqueConstraint(fields=["installation", "account"], name="one_share_of_turns")]

    def __str__(self) -> str:
        return f"{self.account} at {self.installation}"


class RecentRuns(models.Model):
    """A repository's newest runs of one kind, as GitHub last listed them: one list for all casts that look or search.

    Kept by `github_integration.recent`, which says what the columns mean.
    """

    installation = models.PositiveBigIntegerField()
    repository = models.CharField(max_length=140)  # in lower case: GitHub compares so
    event = models.CharField(max_length=40)
    runs = models.JSONField(default=list)
    listed_at = models.DateTimeField(null=True)  # when it was asked for
    reaches_to = models.DateTimeField(null=True)  # every run made since then is in it; null: every run there is
    asking_until = models.DateTimeField(null=True)  # somebody asks for it anew

    class Meta:
        verbose_name_plural = "recent runs"
        constraints = [
            models.UniqueConstraint(fields=["installation", "repository", "event"], name="one_list_of_recent_runs")
        ]

    def __str__(self) -> str:
        return f"{self.repository} {self.event}"


class ExclusiveStart(models.Model):
    """Whose turn it was last to start a workflow whose casts are started one at a time; see `exclusive`."""

    repository = models.CharField(max_length=140)  # in lower case
    event = models.CharField(max_length=40)
    workflow_file = models.CharField(max_length=200)
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "event", "workflow_file"], name="one_start_at_a_time")
        ]

    def __str__(self) -> str:
        return f"{self.repository} {self.workflow_file or self.event}"


class WorkflowTarget(SpellTarget):
    """The workflow that a spell starts. What is blank is as the settings say; a spell without a row is blank in all."""

    class Mapping(models.TextChoices):
        """How a cast's input becomes the inputs of its workflow, or the payload of its event."""

        ENVELOPE = "envelope", "envelope: cast_id, spell_key, and input_data as JSON text"
        NATIVE = "native", "native: each property is the workflow's input of that name"
        NATIVE_WITH_CAST_ID = "native+cast_id", "native, with cast_id for the run's title"

    class Matching(models.TextChoices):
        """How the run behind a cast is told apart from others."""

        ANSWER_OR_TAG = "answer_or_tag", "by GitHub's answer, or the tag in its title"
        EXCLUSIVE = "exclusive", "one cast at a time: the only new run of ours"

    decisive = ("repository", "workflow_file", "ref", "event_type")
    searched = ("repository", "workflow_file", "event_type")
    learnt = ("declared_inputs",)
    live = ("installation_id",)

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
    input_mapping = models.CharField(
        max_length=20,
        choices=Mapping,
        default=Mapping.ENVELOPE,
        db_default=Mapping.ENVELOPE,
        help_text="How the workflow is handed a cast's input.",
    )
    matching = models.CharField(
        max_length=20,
        choices=Matching,
        default=Matching.ANSWER_OR_TAG,
        db_default=Matching.ANSWER_OR_TAG,
        help_text="“Exclusive” is for servers that don't name the run they start, and workflows whose titles carry no "
        "[cast:…].",
    )
    # Of the workflow's own inputs, as last read: {name: {type, required, default, options}}. NULL: never read.
    declared_inputs = DocumentField(null=True, blank=True, editable=False)
    # What the last import wrote, to tell what a person has changed since; see `importing.merging`. NULL: none did.
    imported = DocumentField(null=True, blank=True, editable=False)
    installation_id = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Of the GitHub App. Blank: GITHUB_APP_INSTALLATION_ID."
    )
    # Whose files define the spell; and when it was taken out of them, which deactivated it.
    defined_in = models.ForeignKey(
        "SpellRepository", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="targets"
    )
    left_at = models.DateTimeField(null=True, blank=True, editable=False)
    active_when_left = models.BooleanField(default=True, db_default=True, editable=False)

    class Meta:
        verbose_name = "workflow"

    def clean(self) -> None:
        """Refuse what could never start; all mistakes at once."""
        wrong: dict[str, Any] = {}
        if self.spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH and not self.event_type:
            wrong["event_type"] = "A repository_dispatch spell needs the event type it sends."
        if (
            self.spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH
            and self.matching == self.Matching.EXCLUSIVE
            and not self.workflow_file
        ):
            wrong["workflow_file"] = "With exclusive matching, name the workflow file that the event starts."
        if self.repository.endswith(".git"):
            wrong["repository"] = "Write the repository as owner/name, without .git."
        if not (self.repository or settings.GITHUB_REPOSITORY):
            wrong["repository"] = "Name a repository here, or set GITHUB_REPOSITORY for all spells."
        if why := self._mapping_mistake():
            wrong["input_mapping"] = why
        if wrong:
            raise ValidationError(wrong)

    def _mapping_mistake(self) -> str:
        by_event = self.spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH
        if by_event and self.input_mapping == self.Mapping.NATIVE and self.matching != self.Matching.EXCLUSIVE:
            return (
                "GitHub never names the run that an event starts, and without cast_id no title can carry [cast:…]: no "
                "run would ever be found. Use native+cast_id, with [cast:${{ github.event.client_payload.cast_id }}] "
                "in the workflow's run-name; or the matching “exclusive”."
            )
        if (
            not by_event
            and self.input_mapping == self.Mapping.NATIVE_WITH_CAST_ID
            and self.declared_inputs is not None
            and "cast_id" not in self.declared_inputs
        ):
            return (
                f"{self.workflow_used} declares no input cast_id, so GitHub would refuse every start. Use native; or "
                "add `cast_id: { type: string }` to its inputs, and press Check on GitHub, which reads it again."
            )
        return ""

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; if the target changes, forget what another file declared."""
        if self.pk is not None and self.declared_inputs is not None:
            stored = WorkflowTarget.objects.filter(pk=self.pk).first()
            if (
                stored is not None
                and stored.declared_inputs == self.declared_inputs
                and any(getattr(stored, name) != getattr(self, name) for name in self.decisive)
            ):
                self.declared_inputs = None
        super().save(*args, **kwargs)

    def kept_in(self) -> str:
        return "" if self.defined_in is None else f"the repository {self.defined_in}"

    def kept_fields(self) -> tuple[str, ...]:
        if self.defined_in is None:
            return ()
        return ownership.set_by_files(self.defined_in.installation)

    # With the settings filled in.

    @property
    def repository_used(self) -> str:
        return self.repository or settings.GITHUB_REPOSITORY

    @property
    def workflow_used(self) -> str:
        return self.workflow_file or settings.GITHUB_WORKFLOW_FILE

    @property
    def ref_used(self) -> str:
        return self.ref or settings.GITHUB_WORKFLOW_REF

    @property
    def installation_used(self) -> int | None:
        return self.installation_id or settings.GITHUB_APP_INSTALLATION_ID


# Found by Django as this module is.
from github_integration.spell_files.models import RepositoryList, SpellRepository  # noqa: E402

__all__ = [
    "PERSONAL",
    "AccountTurns",
    "Installation",
    "RecentRuns",
    "RepositoryList",
    "SpellRepository",
    "WorkflowTarget",
]
