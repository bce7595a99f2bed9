"""The versions of spells: one is kept at each change, and a cast is run as the one it was accepted under says."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from casts.definition import Definition, definition_of, row_with
from casts.models import Spell, SpellVersion
from casts.models.spell import saved
from casts.runtime import runtime_for, target_relations
from core.db.documents import written

BY_CHARS, SOURCE_CHARS = 150, 300


def keep(spell: Spell, *, by: str = "", source: str = "") -> int:
    """Keep what a spell has become as its next version, unless it is what it was; return the number of its latest.

    In the transaction of the change: whoever reads a spell reads the number that belongs to what was read. `by`: who
    changed it. `source`: where its definition comes from, a file or a repository's commit.
    """
    with transaction.atomic():
        # Locked, so that two changes at once become two versions. NO KEY: casts that are accepted don't wait for it.
        rows = Spell.objects.select_for_update(of=("self",), no_key=True).order_by()
        relations = target_relations()
        stored = (rows.select_related(*relations) if relations else rows).get(pk=spell.pk)
        definition = definition_of(stored)
        latest = SpellVersion.objects.filter(spell=stored, number=stored.version).first() if stored.version else None
        if latest is None or written(completed(latest.definition, stored)) != written(definition):
            stored.version += 1
            SpellVersion.objects.create(
                spell=stored,
                number=stored.version,
                definition=definition,
                by=by[:BY_CHARS],
                source=source[:SOURCE_CHARS],
                created_at=timezone.now(),
            )
            Spell.objects.filter(pk=stored.pk).update(version=stored.version)
    spell.version = stored.version
    return spell.version


def completed(definition: Definition, spell: Spell) -> Definition:
    """Return a definition with the fields that there are now: those that came later had their default then."""
    model = runtime_for(spell.runtime).target
    targets = () if model is None else (model.of(spell),)
    defaults = {name: default_of(row_with(name, spell, *targets), name) for name in definition_of(spell)}
    return {name: definition.get(name, default) for name, default in defaults.items()}


def default_of(row: Model, name: str) -> Any:
    field: Any = row._meta.get_field(name)
    return field.get_default()


def _keep(sender: Any, spell: Spell, **kwargs: Any) -> None:
    keep(spell)


def connect() -> None:
    """Have every change of a spell kept, by whichever way it is saved."""
    saved.connect(_keep, dispatch_uid="versions of spells")
