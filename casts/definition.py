"""What a spell is defined by: its own fields and its target's, as a file of spells names them."""

from __future__ import annotations

from typing import Any

from casts.models import Spell, SpellTarget
from casts.runtime import runtime_for

Definition = dict[str, Any]
BEFORE_TARGET = ("name", "description", "tags", "active", "runtime")
AFTER_TARGET = (
    *("input_schema", "output_schema", "result_artifact", "result_file"),
    *("price_cents", "price_kind", "per_minute_cents", "charge_failed_runs"),
    *("max_running", "timeout_seconds", "ttl_seconds", "artifact_retention_days", "retention"),
    *("show_run", "show_input"),
)
UNDEFINED = ("active",)  # whether it can be cast now says nothing of what is cast
OWNER = "account_id"  # who may see this version; a cast goes by whose the spell is now


def fields_of(target: type[SpellTarget] | None) -> tuple[str, ...]:
    return (*BEFORE_TARGET, *(target.names() if target else ()), *AFTER_TARGET)


def definition_of(spell: Spell) -> Definition:
    """Return a spell's definition, in the order of its fields. Its target must have been read with it."""
    model = runtime_for(spell.runtime).target
    rows: list[SpellTarget] = [] if model is None else [model.of(spell)]
    learnt = () if model is None else model.learnt
    names = [name for name in (*fields_of(model), *learnt, OWNER) if name not in UNDEFINED]
    return {name: getattr(row_with(name, spell, *rows), name) for name in names}


def row_with(name: str, spell: Spell, *targets: SpellTarget) -> Spell | SpellTarget:
    """Return which of a spell's rows has a field."""
    return next((row for row in targets if name in (*row.names(), *row.learnt)), spell)
