"""Making a repository's spells what its files say: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import principals
from accounts.audit import log
from casts import versions
from casts.models import Spell, SpellTarget
from casts.spells import toml
from core.db.documents import DocumentField, written
from github_integration.models import Installation, SpellRepository, WorkflowTarget
from github_integration.spell_files.checking import Ready
from github_integration.spell_files.ownership import columns_of, set_by_files
from github_integration.spell_files.reading import Problem

KEY_TAKEN = (
    "this key is taken. Spells of all repositories share their keys here: choose another one, "
    "such as one that begins with the repository's name. If that spell runs in this repository already, the operator "
    "can hand it over to this file."
)


Rows = tuple[Spell | SpellTarget, ...]


@dataclass
class Changes:
    """What became of a repository's spells."""

    came: list[str] = field(default_factory=list)
    changed: dict[str, list[str]] = field(default_factory=dict)  # which fields, by key
    went: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)  # were deactivated because they had gone

    def __bool__(self) -> bool:
        return bool(self.came or self.changed or self.went or self.back)

    def facts(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}

    def counts(self) -> dict[str, int]:
        return {name: len(value) for name, value in vars(self).items()}


class Refused(Exception):
    """Nothing was applied; here is why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} mistakes")
        self.problems = problems


class LostClaim(Exception):
    """Another worker has taken over."""


def apply(row: SpellRepository, choices: Installation, ready: list[Ready], outcome: dict[str, Any]) -> Changes:
    """Apply all spells, deactivate those that are gone, and write `outcome` to the row, in one transaction.

    Values of `outcome` may be functions of what has changed. Raise Refused, or LostClaim.
    """
    check(row, choices, ready)
    try:
        with transaction.atomic():
            if not row.mine().update(looked_at=timezone.now()):  # locks the row until the end
                raise LostClaim
            changes = _apply(row, choices, ready, outcome["commit"])
            told = {name: value(changes) if callable(value) else value for name, value in outcome.items()}
            row.mine().update(**told)
            return changes
    except IntegrityError as exc:  # somebody took a key meanwhile
        if not (taken := keys_of_others(row, [one.table.key for one in ready])):
            raise
        problems = [one.table.problem(KEY_TAKEN) for one in ready if one.table.key in taken]
        raise Refused(problems) from exc


def check(row: SpellRepository, choices: Installation, ready: list[Ready]) -> None:
    """Raise Refused for what is wrong with the spells. Before the transaction: of hundreds it takes seconds."""
    before, _ = spells_of(row, Spell.objects.all())
    taken = keys_of_others(row, [one.table.key for one in ready])
    problems: list[Problem] = []
    for one in ready:
        if one.table.key in taken:
            problems.append(one.table.problem(KEY_TAKEN))
        else:
            spell = before.get(one.table.key) or new_spell(one, choices)
            begin_anew(row, choices, (spell, WorkflowTarget.of(spell)), one)
            wrong = toml.fill(spell, one.values, one.read)
            problems += [one.table.problem(str(mistake), *[mistake.field] * bool(mistake.field)) for mistake in wrong]
    if problems:
        raise Refused(problems)


def spells_of(row: SpellRepository, spells: QuerySet[Spell]) -> tuple[dict[str, Spell], dict[int, WorkflowTarget]]:
    """Return which of the spells the repository defines, by key, and their targets by the spells' ids."""
    found = {spell.key: spell for spell in spells.filter(workflowtarget__defined_in=row)}
    targets = {target.spell_id: target for target in WorkflowTarget.objects.filter(defined_in=row)}
    for spell in found.values():
        targets[spell.pk].spell = spell  # which knows its target by this
    return found, targets


def new_spell(one: Ready, choices: Installation) -> Spell:
    return Spell(key=one.table.key, price_cents=choices.new_spell_price_cents)


def keys_of_others(row: SpellRepository, keys: list[str]) -> set[str]:
    """Return which of the keys belong to spells that the repository did not define."""
    ours = WorkflowTarget.objects.filter(defined_in=row).values("spell_id")
    return set(Spell.objects.filter(key__in=keys).exclude(pk__in=ours).values_list("key", flat=True))


def _apply(row: SpellRepository, choices: Installation, ready: list[Ready], commit: str) -> Changes:
    keys = [one.table.key for one in ready]
    if taken := keys_of_others(row, keys):
        raise Refused([one.table.problem(KEY_TAKEN) for one in ready if one.table.key in taken])
    # Locked: whoever changes one of them at this moment is waited for. NO KEY: casts that are accepted don't wait.
    locked = Spell.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    before, targets = spells_of(row, locked)
    changes = Changes()
    for one in ready:
        _one(row, choices, one, before.get(one.table.key), changes, commit)
    gone = [spell for key, spell in before.items() if key not in keys and targets[spell.pk].left_at is None]
    leave(gone, changes)
    if changes:
        who = principals.of_command(f"spell files of {row.name} at {commit[:12]}")
        log.record(who, "spells.from_repository", row, account_id=choices.account_id, after=changes.facts())
    return changes


def _one(
    row: SpellRepository, choices: Installation, one: Ready, spell: Spell | None, changes: Changes, commit: str
) -> None:
    """Make one spell what its table says, and what follows from where that is."""
    new = spell is None
    spell = spell or new_spell(one, choices)
    target = WorkflowTarget.of(spell)
    rows = (spell, target)
    names = [*set_by_files(choices), "declared_inputs"]
    was = values_of(rows, names)
    begin_anew(row, choices, rows, one)
    toml.fill(spell, one.values, one.read, checked=True)
    differs = [name for name, value in values_of(rows, names).items() if value != was[name]]
    returns = target.left_at is not None
    if returns:
        spell.active, target.left_at = spell.active or target.active_when_left, None
    if new or returns or differs:
        save(spell, target, source=f"{row.name} at {commit[:12]}, {one.table.file}")
    if new:
        changes.came.append(spell.key)
    elif returns:
        changes.back.append(spell.key)
    elif differs:
        changes.changed[spell.key] = differs


def begin_anew(row: SpellRepository, choices: Installation, rows: tuple[Spell, WorkflowTarget], one: Ready) -> None:
    """Give a spell's fields what they are where a table says nothing of them."""
    spell, target = rows
    for name in columns_of(choices):
        if name not in one.values:
            own, model_field = field_of(rows, name)
            setattr(own, name, model_field.get_default())
    if choices.prices_from_repository and not {"price_cents", "price"} & one.values.keys():
        spell.price_cents = choices.new_spell_price_cents
    spell.account = choices.account
    target.repository, target.installation_id = row.name, row.installation_id
    target.ref = row.default_branch
    target.declared_inputs = one.declared_inputs
    target.defined_in = row


def save(spell: Spell, target: WorkflowTarget, *, source: str) -> None:
    declared = target.declared_inputs
    spell.save(keep_version=False)
    target.save(keep_version=False)
    if target.declared_inputs != declared:  # forgotten: the repository has another name
        target.declared_inputs = declared
        target.save(keep_version=False)
    versions.keep(spell, by="push", source=source)


def field_of(rows: Rows, name: str) -> tuple[Spell | SpellTarget, Any]:
    """Return which of a spell's rows has a field, and the field."""
    for row in reversed(rows):  # the target first: it has a key of its own
        for model_field in row._meta.concrete_fields:
            if model_field.name == name:
                return row, model_field
    raise LookupError(name)


def values_of(rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    """Return a spell's values, as they can be compared: to Python true is 1, to JSON it is not."""
    values = {}
    for name in names:
        row, model_field = field_of(rows, name)
        value = getattr(row, model_field.attname)
        values[name] = written(value) if isinstance(model_field, DocumentField) else value
    return values


def leave(spells: list[Spell], changes: Changes) -> None:
    """Deactivate spells that have just left their files; those that an operator had deactivated will stay so."""
    leaving = {
        True: [spell for spell in spells if spell.active],
        False: [spell for spell in spells if not spell.active],
    }
    for active, some in leaving.items():
        left = {"left_at": timezone.now(), "active_when_left": active}
        WorkflowTarget.objects.filter(spell__in=some).update(**left)
    active_ones = [spell.pk for spell in leaving[True]]
    Spell.objects.filter(pk__in=active_ones).update(active=False, updated_at=timezone.now())
    changes.went += [spell.key for spell in leaving[True]]


def retire(row: SpellRepository, **outcome: Any) -> Changes:
    """Deactivate all spells of a repository that the App can no longer reach. Raise LostClaim."""
    changes = Changes()
    with transaction.atomic():
        if not row.mine().update(looked_at=timezone.now(), **outcome):
            raise LostClaim
        leave(list(Spell.objects.filter(workflowtarget__defined_in=row, workflowtarget__left_at=None)), changes)
        if changes:
            who = principals.of_command(f"spell files of {row.name}")
            log.record(who, "spells.from_repository", row, after=changes.facts())
    return changes
