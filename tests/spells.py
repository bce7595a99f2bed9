"""Spells with where they run."""

from __future__ import annotations

from typing import Any

from casts import versions
from casts.models import Spell
from github_integration.models import WorkflowTarget


def parted(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of these fields is the spell's, and what its target's."""
    of_target = {name: value for name, value in fields.items() if name in (*WorkflowTarget.names(), "declared_inputs")}
    return {name: value for name, value in fields.items() if name not in of_target}, of_target


def stored_spell(**fields: Any) -> Spell:
    """Make a spell and its target, of version 1."""
    own, of_target = parted(fields)
    spell = Spell(**own)
    spell.save(keep_version=False)
    WorkflowTarget.objects.bulk_create([WorkflowTarget(spell=spell, **of_target)])  # forgets nothing of the spell
    versions.keep(spell)
    return spell


def unstored_spell(**fields: Any) -> Spell:
    """Make a spell and its target without a database."""
    own, of_target = parted(fields)
    spell = Spell(**own)
    WorkflowTarget(spell=spell, **of_target)
    return spell


def retarget(*spells: Spell, **fields: Any) -> None:
    """Change where spells run, behind everybody's back."""
    assert WorkflowTarget.objects.filter(spell__in=spells).update(**fields) == len(spells)
