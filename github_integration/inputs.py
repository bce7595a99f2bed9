"""What a workflow is handed of a cast: its input as the workflow's own inputs, or in the envelope of three."""

from __future__ import annotations

import json
from typing import Any

from casts.models import Cast
from core.db.documents import written
from github_integration.models import WorkflowTarget

Problems = list[dict[str, str]]
CAST_ID, TRACEPARENT = "cast_id", "traceparent"


def inputs_of(cast: Cast) -> dict[str, str]:
    """Return the inputs of a workflow_dispatch, which are all text."""
    target = WorkflowTarget.of(cast.spell)
    if target.input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        handed = envelope_of(cast)
    else:
        handed = native_inputs(cast.input or {}) | own_of(cast, target)
    # A caller who gives an input of this name gives a value of its own.
    return trace_of(cast) | handed if takes_trace(target) else handed


def payload_of(cast: Cast) -> dict[str, Any]:
    """Return the `client_payload` of a repository_dispatch, which is JSON."""
    target = WorkflowTarget.of(cast.spell)
    if target.input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        return {**trace_of(cast), **envelope_of(cast)}
    return dict(cast.input or {}) | own_of(cast, target)


def native_inputs(given: dict[str, Any]) -> dict[str, str]:
    return {name: text_of(value) for name, value in given.items() if value is not None}


def own_of(cast: Cast, target: WorkflowTarget) -> dict[str, str]:
    return {CAST_ID: str(cast.pk)} if target.input_mapping == WorkflowTarget.Mapping.NATIVE_WITH_CAST_ID else {}


def takes_trace(target: WorkflowTarget) -> bool:
    """Whether the workflow is known to declare an input for the cast's place in a trace: GitHub refuses others."""
    return TRACEPARENT in (target.declared_inputs or {})


def trace_of(cast: Cast) -> dict[str, str]:
    return {TRACEPARENT: cast.traceparent} if cast.traceparent else {}


def envelope_of(cast: Cast) -> dict[str, str]:
    return {CAST_ID: str(cast.pk), "spell_key": cast.spell.key, "input_data": written(cast.input)}


def text_of(value: Any) -> str:
    """Return a value as GitHub takes it for an input: text, true or false, the shortest number, or JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:  # 1.0 is 1; beyond, digits are made up
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
