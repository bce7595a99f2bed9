"""The versions of spells: one is kept at each change, and a cast is run as the one it was accepted under says."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import copy
from typing import Any

from django.db import transaction
from django.db.models import Model, Q
from django.utils import timezone

from casts.definition import OWNER, Definition, definition_of, row_with
from casts.models import Cast, Spell, SpellVersion
from casts.models.spell import saved
from casts.runtime import runtime_for, target_relations
from core.db.documents import written

logger = logging.getLogger(__name__)

BY_CHARS, SOURCE_CHARS = 150, 300
# What counts of a spell as it was when a cast was accepted; of its target all but what is `live`. Limits, and what is
# shown, count as they are now.
KEPT = (
    *("runtime", "input_schema", "output_schema", "result_artifact", "result_file"),
    *("price_cents", "price_kind", "per_minute_cents", "charge_failed_runs"),
)


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
        # Not the one whose number the row has: who saved it may have read it before another's change.
        latest = SpellVersion.objects.filter(spell=stored).order_by("-number").first()
        number = latest.number if latest else 0
        if latest is None or written(completed(latest.definition, stored)) != written(definition):
            number += 1
            SpellVersion.objects.create(
                spell=stored,
                number=number,
                definition=definition,
                by=by[:BY_CHARS],
                source=source[:SOURCE_CHARS],
                created_at=timezone.now(),
            )
        if stored.version != number:
            Spell.objects.filter(pk=stored.pk).update(version=number)
    spell.version = number
    return number


def completed(definition: Definition, spell: Spell) -> Definition:
    """Return a definition with the fields that there are now: those that came later had their default then."""
    model = runtime_for(spell.runtime).target
    targets = () if model is None else (model.of(spell),)
    defaults = {name: default_of(row_with(name, spell, *targets), name) for name in definition_of(spell)}
    return {name: definition.get(name, default) for name, default in defaults.items()}


def default_of(row: Model, name: str) -> Any:
    field: Any = row._meta.get_field(name)
    return field.get_default()


# --- What a cast was accepted under ------------------------------------------------------------------------------


def as_accepted(cast: Cast) -> Cast:
    """Have the cast's spell, in memory, be what the cast was accepted under; return the cast.

    Whoever acts on an accepted cast acts on what this returns. The spell must have been read with it. Asks the
    database only if the spell has changed since. Casts of before there were versions go by their spell as it is now.
    """
    return each_as_accepted([cast])[0]


def each_as_accepted(casts: Iterable[Cast]) -> list[Cast]:
    """Do as `as_accepted` does for several, in one query at most."""
    all_of_them = list(casts)
    changed = [cast for cast in all_of_them if cast.spell_version not in (None, cast.spell.version)]
    if not changed:
        return all_of_them
    asked = Q()
    for spell_id, number in {(cast.spell_id, cast.spell_version) for cast in changed}:
        asked |= Q(spell=spell_id, number=number)
    found = SpellVersion.objects.filter(asked).order_by().values_list("spell", "number", "definition")
    definitions = {(spell_id, number): definition for spell_id, number, definition in found}
    for cast in changed:
        assert cast.spell_version is not None
        if (definition := definitions.get((cast.spell_id, cast.spell_version))) is None:  # nobody deletes them
            logger.error("a cast's version of its spell is missing", extra={"cast_id": str(cast.pk)})
            continue
        cast.spell = as_of(cast.spell, cast.spell_version, definition)
    return all_of_them


def as_it_was(spell: Spell, number: int) -> Spell | None:
    """Return a copy of a spell with all that a version of it said, and whose it was then; None if it has no such."""
    version = SpellVersion.objects.filter(spell=spell, number=number).first()
    if version is None:
        return None
    own = {field.name for field in Spell._meta.concrete_fields}
    was = as_of(spell, number, version.definition, [name for name in version.definition if name in own])
    was.account_id = version.definition.get(OWNER)
    return was


def as_of(spell: Spell, number: int, definition: Definition, names: Iterable[str] = KEPT) -> Spell:
    """Return a copy of a spell, with a copy of its target, that says what an older version said. It can't be saved."""
    was = copy(spell)
    was.original, was.version, was.own_price = spell, number, None
    for name in names:
        setattr(was, name, definition.get(name, default_of(spell, name)))
    if (model := runtime_for(was.runtime).target) is None:
        return was
    now = model.of(spell)
    target = copy(now)
    for name in (*model.names(), *model.learnt):
        if name not in model.live:
            setattr(target, name, definition.get(name, default_of(now, name)))
    target.spell = was
    # What was learnt of one target's runs says nothing of another's.
    same = was.runtime == spell.runtime and all(getattr(target, n) == getattr(now, n) for n in model.decisive)
    was.tags_runs = spell.tags_runs and same
    return was


def _keep(sender: Any, spell: Spell, **kwargs: Any) -> None:
    keep(spell)


def connect() -> None:
    """Have every change of a spell kept, by whichever way it is saved."""
    saved.connect(_keep, dispatch_uid="versions of spells")
