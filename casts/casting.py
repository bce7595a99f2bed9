"""The one way in: how a cast is placed."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import ApiKey
from casts.errors import SpellNotFound
from casts.models import Spell
from casts.runtime import target_relations
from core.db.compiled import Param, Select
from core.errors import Forbidden


def with_target(spells: QuerySet[Spell]) -> QuerySet[Spell]:
    """Have spells read together with where they run."""
    relations = target_relations()
    return spells.select_related(*relations) if relations else spells


SPELL = Select(lambda: with_target(Spell.objects.filter(key=Param(Spell, "key")).order_by()))


def castable(key: ApiKey, spell_key: str) -> Spell:
    """Return an active spell that this key may cast; raise SpellNotFound, or Forbidden if the key's list lacks it."""
    spell = SPELL.first(key=spell_key)
    if spell is not None and spell.active:
        if key.allows_spell(spell_key):
            return spell
        raise Forbidden(f"This API key may not cast {spell_key!r}; it may cast {', '.join(key.spell_keys or [])}.")
    raise SpellNotFound(f"There is no active spell {spell_key!r}. GET /api/v1/spells lists what this key may cast.")
