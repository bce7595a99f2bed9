"""What a workflow is handed of a cast: its input as the workflow's own inputs, or in the envelope of three."""

from __future__ import annotations

import json
from typing import Any

from casts.models import Cast, Spell
from core.db.documents import written
from github_integration.models import WorkflowTarget

Problems = list[dict[str, str]]
CAST_ID = "cast_id"


def inputs_of(cast: Cast) -> dict[str, str]:
    """Return the inputs of a workflow_dispatch, which are all text."""
    target = WorkflowTarget.of(cast.spell)
    if target.input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        return envelope_of(cast)
    inputs = {name: text_of(value) for name, value in (cast.input or {}).items() if value is not None}
    return inputs | own_of(cast, target)


def payload_of(cast: Cast) -> dict[str, Any]:
    """Return the `client_payload` of a repository_dispatch, which is JSON."""
    target = WorkflowTarget.of(cast.spell)
    if target.input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        return dict(envelope_of(cast))
    return dict(cast.input or {}) | own_of(cast, target)


def own_of(cast: Cast, target: WorkflowTarget) -> dict[str, str]:
    return {CAST_ID: str(cast.pk)} if target.input_mapping == WorkflowTarget.Mapping.NATIVE_WITH_CAST_ID else {}


def envelope_of(cast: Cast) -> dict[str, str]:
    return {CAST_ID: str(cast.pk), "spell_key": cast.spell.key, "input_data": written(cast.input)}


def text_of(value: Any) -> str:
    """Return a value as GitHub takes it for an input: text, true or false, the shortest number, or JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:  # 1.0 is 1; beyond, digits are made up
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def refusals(spell: Spell, given: Any) -> Problems:
    """Return what GitHub would refuse of an input that fits the spell's schema."""
    if WorkflowTarget.of(spell).input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        return []
    if given is not None and not isinstance(given, dict):
        return [{"pointer": "/input", "detail": "Give an object: its properties are the workflow's inputs."}]
    return []
