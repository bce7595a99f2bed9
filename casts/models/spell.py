"""What can be cast."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES, MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from accounts.models import ApiKey
from core import json_schema
from core.db.documents import DocumentField

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
