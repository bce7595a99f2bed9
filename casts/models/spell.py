"""What can be cast."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES, MaxValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import Q
from django.dispatch import Signal

from accounts.models import Account, ApiKey
from casts.models.price import AT_LEAST_ONE, AT_MOST, REPORT, Priced, PriceKind
from core import json_schema
from core.db.append_only import History
from core.db.documents import DocumentField
from core.times import MOST_DAYS

JSON = Any
saved = Signal()  # of a `spell`, or its target: in the transaction of the change, which `casts.versions` keeps


def valid_schema(schema: object) -> None:
    """Raise ValidationError for what is not a JSON Schema (2020-12), or refers to anything outside itself."""
    try:
        json_schema.check(schema)
    except json_schema.BadSchema as exc:
        raise ValidationError(exc.problems) from exc


class SpellQuerySet(models.QuerySet["Spell"]):
    def seen_by(self, account_id: int) -> SpellQuerySet:
        """Return those that are everybody's, or this account's own."""
        return self.filter(Q(account=None) | Q(account=account_id))

    def names(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the names of spells by their keys, of those that are still there."""
        return dict(self.filter(key__in=list(keys)).values_list("key", "name"))

    def castable_by(self, key: ApiKey) -> SpellQuerySet:
        spells = self.seen_by(key.account_id).filter(active=True)
        return spells if key.spell_keys is None else spells.filter(key__in=key.spell_keys)


TAGS, TAG = 10, re.compile(r"[a-z0-9](?:[a-z0-9 -]{0,28}[a-z0-9])?")


def valid_tags(tags: object) -> None:
    """Raise ValidationError for what is no list of a few different tags."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) and TAG.fullmatch(tag) for tag in tags):
        raise ValidationError(
            "Tags are a list of words such as text or two words: lower-case letters, digits, dashes and spaces between "
            "them, 30 characters at most."
        )
    if len(tags) > TAGS or len(set(tags)) < len(tags):
        raise ValidationError(f"A spell has {TAGS} tags at most, each once.")


CENTURY = MaxValueValidator(MOST_DAYS)


# What a spell may say of how long things of its casts are kept, beside `artifact_retention_days`.
SPELL_KEEPS = ("input", "output", "log", "event", "delivery", "callback", "idempotency")


def valid_retention(days: object) -> None:
    """Raise ValidationError for what does not give days by kind."""
    if not isinstance(days, dict) or not days.keys() <= set(SPELL_KEEPS):
        artifacts = " (of artifacts: artifact_retention_days)" if isinstance(days, dict) and "artifact" in days else ""
        raise ValidationError(f"Give days by kind, of which there are {', '.join(SPELL_KEEPS)}{artifacts}.")
    for kind, number in days.items():
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= CENTURY.limit_value:
            raise ValidationError(f"{kind}: give a whole number of days from 1 to {CENTURY.limit_value}.")


# Functions, so that a changed setting does not change the model.
def standard_timeout() -> int:
    return settings.CAST_TIMEOUT_SECONDS


def standard_ttl() -> int:
    return settings.CAST_TTL_SECONDS


def standard_retention() -> int:
    return settings.ARTIFACT_RETENTION_DAYS


class Spell(Priced):
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
    tags = DocumentField(
        default=list,
        db_default=models.Value("[]", models.TextField()),
        blank=True,
        validators=[valid_tags],
        help_text="By which people find it in the catalogue.",
    )
    active = models.BooleanField(default=True, help_text="An inactive spell is not found; its casts go on.")
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="spells",
        null=True,
        blank=True,
        help_text="Whose spell it is: only this account's keys see it and cast it. Blank: every account's.",
    )

    runtime = models.CharField(max_length=32, choices=Runtime, default=Runtime.WORKFLOW_DISPATCH)

    input_schema = DocumentField(default=dict, blank=True, validators=[valid_schema], help_text="JSON Schema 2020-12")
    output_schema = DocumentField(
        null=True, blank=True, validators=[valid_schema], help_text="Of result.json. Blank: anything goes."
    )
    result_artifact = models.CharField(
        max_length=100,
        blank=True,
        default="spell-result",
        db_default="spell-result",
        help_text="The artifact that holds the result. Blank: its casts have no output, only artifacts.",
    )
    result_file = models.CharField(
        max_length=200,
        default="result.json",
        db_default="result.json",
        help_text="The file of it that becomes the output: JSON.",
    )
    # Whether its runs' titles carry [cast:<id>]; learnt by seeing one. Only then can absence of a run be proved.
    tags_runs = models.BooleanField(default=False, editable=False)
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
    retention = DocumentField(
        default=dict,
        db_default=models.Value("{}", models.TextField()),
        blank=True,
        validators=[valid_retention],
        help_text='Days that other things of its casts are kept after their end, such as {"input": 7, "log": 90}.',
    )
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
    version = models.PositiveIntegerField(default=0, db_default=0, editable=False)  # its latest; see SpellVersion
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    # Of a copy that says what a cast was accepted under (casts.versions): the spell as it is now.
    original: Spell | None = None
    # What it costs one account, where that was read with it for that account; see `AccountPrice`.
    own_price: AccountPrice | None = None

    objects = SpellQuerySet.as_manager()

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key

    def save(self, *args: Any, keep_version: bool = True, **kwargs: Any) -> None:
        """Save, and keep the version that this makes; see also `SpellTarget`.

        If the runtime changes, forget what was learnt of the old one's runs. `keep_version` False: whoever saves the
        target, too, calls `casts.versions.keep` for both, in the same transaction.
        """
        refuse_copies(self)
        if self.tags_runs and self.pk is not None:
            before = Spell.objects.filter(pk=self.pk).values_list("runtime", flat=True).first()
            self.tags_runs = before == self.runtime
        with transaction.atomic():
            super().save(*args, **kwargs)
            if keep_version:
                saved.send(Spell, spell=self)

    def clean(self) -> None:
        wrong: dict[str, Any] = {}
        # Django leaves out validators for what is empty, such as []
        checked: dict[str, Callable[[object], None]] = {
            "input_schema": valid_schema,
            "output_schema": valid_schema,
            "tags": valid_tags,
            "retention": valid_retention,
        }
        for name, valid in checked.items():
            document = getattr(self, name)
            if document in EMPTY_VALUES and (document is not None or name != "output_schema"):
                try:
                    valid(document)
                except ValidationError as exc:
                    wrong[name] = exc.messages
        if any(char in NOT_IN_ARTIFACTS or not char.isprintable() for char in self.result_artifact):
            wrong["result_artifact"] = f"No artifact's name has one of {' '.join(NOT_IN_ARTIFACTS)} in it."
        wrong |= self.wrong_in_price()
        if self.price_kind == PriceKind.REPORTED:
            wrong |= self.wrong_for_reports("price_kind")
        elif self.pk and self.account_prices.filter(price_kind=PriceKind.REPORTED).exists():
            wrong |= self.wrong_for_reports("result_artifact")
        if self.output_schema is not None and not self.result_artifact:
            wrong["output_schema"] = "Without a result artifact there is no output that a schema could be held against."
        if not is_inside(self.result_file):
            wrong["result_file"] = (
                "Write a path inside the artifact, such as result.json or out/result.json: with / between its parts, "
                "and without . and .. among them."
            )
        if wrong:
            raise ValidationError(wrong)

    def wrong_for_reports(self, field: str) -> dict[str, str]:
        """Return why no run could report what it costs, by field; `field` has it that there is no result."""
        if not self.result_artifact:
            return {field: NO_RESULT}
        return {"output_schema": NOT_IN_OUTPUT} if names(self.output_schema, REPORT) else {}


NO_RESULT = "Without a result artifact there is no result in which a run could report what it costs."
NOT_IN_OUTPUT = (
    f"{REPORT}, with which runs report what they cost, is taken out of the result before the schema is asked: leave it "
    "out of the schema."
)


def names(schema: Any, name: str) -> bool:
    """Whether a schema says something of the property of this name."""
    if not isinstance(schema, dict):
        return False
    properties, required = schema.get("properties"), schema.get("required")
    return (isinstance(properties, dict) and name in properties) or (isinstance(required, list) and name in required)


def refuse_copies(spell: Spell) -> None:
    if spell.original is not None:
        raise TypeError(f"This is {spell} as a cast was accepted under it, not the spell: it is never saved.")


# Source: https://github.com/actions/toolkit/tree/main/packages/artifact, path-and-artifact-name-validation
NOT_IN_ARTIFACTS = '":<>|*?\\/'


def is_inside(path: str) -> bool:
    """Whether a path names a file below where it begins, in the one way that zips write it."""
    clean = path.isprintable() and "\\" not in path
    return clean and all(part not in ("", ".", "..") for part in path.split("/"))


class SpellTarget(models.Model):
    """Where a spell is run: what its runtime has to know beside the spell. Each runtime has a model for it, or none."""

    spell = models.OneToOneField(Spell, on_delete=models.CASCADE, related_name="%(class)s")

    decisive: ClassVar[tuple[str, ...]] = ()  # the fields that decide what is run
    searched: ClassVar[tuple[str, ...]] = ()  # those that operators find spells by
    learnt: ClassVar[tuple[str, ...]] = ()  # those that nobody writes, and that belong to a spell's definition
    live: ClassVar[tuple[str, ...]] = ()  # those that count as they are now, whatever a cast was accepted under

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"target of {self.spell}"

    def save(self, *args: Any, keep_version: bool = True, **kwargs: Any) -> None:
        """Save, and keep the version that this makes, as `Spell.save` does.

        If the target changes, forget what was learnt of the old one's runs.
        """
        refuse_copies(self.spell)
        if self.spell.tags_runs:
            model, before = type(self), type(self)()
            if self.pk is not None:
                before = model._base_manager.filter(pk=self.pk).first() or before
            if any(getattr(before, name) != getattr(self, name) for name in self.decisive):
                Spell.objects.filter(pk=self.spell_id).update(tags_runs=False)
                self.spell.tags_runs = False
        with transaction.atomic():
            super().save(*args, **kwargs)
            if keep_version:
                saved.send(Spell, spell=self.spell)

    def kept_in(self) -> str:
        """Return where the spell's definition is kept, for people; blank: here, where operators may change it."""
        return ""

    def kept_fields(self) -> tuple[str, ...]:
        """Return which fields of the spell and of its target are changed nowhere but where they are kept."""
        return ()

    @classmethod
    def of(cls, spell: Spell) -> Self:
        """Return a spell's target; if it has none, a blank one that is not stored."""
        found = getattr(spell, cls.relation(), None)
        return cls(spell=spell) if found is None else found

    @classmethod
    def relation(cls) -> str:
        spell: Any = cls._meta.get_field("spell")
        return str(spell.related_query_name())

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(field.name for field in cls._meta.fields if field.editable and field.name not in ("id", "spell"))


class AccountPrice(Priced):
    """What a spell costs one account, in place of its own price; set by operators.

    It counts for casts that are accepted from then on: each keeps the price that it was accepted at (`Cast.price`).
    """

    spell = models.ForeignKey(Spell, on_delete=models.CASCADE, related_name="account_prices", db_index=False)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="spell_prices")
    note = models.CharField(max_length=200, blank=True, help_text="Why, for operators.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("spell_id", "account_id")
        constraints = [models.UniqueConstraint(fields=["spell", "account"], name="one_price_per_account")]

    def __str__(self) -> str:
        return f"price of {self.spell} for {self.account}"

    def clean(self) -> None:
        wrong = self.wrong_in_price()
        if self.price_kind == PriceKind.REPORTED:
            for why in self.spell.wrong_for_reports("price_kind").values():
                wrong["price_kind"] = why
        if wrong:
            raise ValidationError(wrong)


class SpellVersion(History):
    """What a spell was from one change to the next. A cast keeps the number of the version it was accepted under.

    `definition` is what a file of spells would say of it: see `casts.definition`. Append-only; a database
    trigger refuses changes, and deletions for as long as there are casts of the spell.
    """

    spell = models.ForeignKey(Spell, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    definition = DocumentField()
    by = models.CharField(max_length=150, blank=True)  # who changed it
    source = models.CharField(max_length=300, blank=True)  # where it comes from: a file, a repository's commit
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("spell_id", "-number")
        constraints = [models.UniqueConstraint(fields=["spell", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"{self.spell} {self.number}"


class SpellHistory(models.Model):
    """What a spell's last casts came to, added up by a sweep; see `casts.spells.history`."""

    spell = models.OneToOneField(Spell, on_delete=models.CASCADE, primary_key=True, related_name="history")
    entry = models.BigIntegerField(default=0)  # the newest settlement of the ledger that is counted
    ends = DocumentField(default=list)  # the newest last: [whether it succeeded, how many seconds its run took]
    casts = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    usual_seconds = models.FloatField(null=True)
    p95_seconds = models.FloatField(null=True)

    class Meta:
        verbose_name_plural = "spell histories"

    def __str__(self) -> str:
        return f"history of {self.spell}"
