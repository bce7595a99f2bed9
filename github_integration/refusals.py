"""What GitHub would refuse of a cast's input, said before the cast is accepted. Asks nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from casts.models import Spell
from core.db.documents import written
from core.errors import InputTooLarge
from core.json_schema import pointer
from core.limits import EVENT_NAMES, NATIVE_CHARS, PACKED_CHARS, cut
from core.telemetry import tracing
from github_integration.inputs import CAST_ID, TRACEPARENT, Problems, native_inputs, takes_trace, text_of
from github_integration.models import WorkflowTarget

SOME_ID = "0" * 36  # as long as every cast's
# The rule for the names of inputs: docs.github.com, workflow syntax, on.workflow_dispatch.inputs.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def refusals(spell: Spell, given: Any) -> Problems:
    """Return what GitHub would refuse of an input that fits the spell's schema. Raise InputTooLarge."""
    target = WorkflowTarget.of(spell)
    if target.input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        check_packed(written(given))
        return []
    if given is not None and not isinstance(given, dict):
        return [problem([], "Give an object: its properties are the workflow's inputs.")]
    problems = list(_refused(spell, target, given or {}))
    if not problems:
        check_native(spell, target, given or {})
    return problems


def _refused(spell: Spell, target: WorkflowTarget, given: dict[str, Any]) -> Iterator[dict[str, str]]:
    by_event = spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH
    with_cast_id = target.input_mapping == WorkflowTarget.Mapping.NATIVE_WITH_CAST_ID
    if with_cast_id and CAST_ID in given:
        yield problem([CAST_ID], "Leave it out: it is filled in with the cast's own id.")
    named = [name for name, value in given.items() if by_event or value is not None]
    many = len({*named, CAST_ID}) if with_cast_id else len(named)
    most = EVENT_NAMES if by_event else settings.GITHUB_INPUTS_MAX
    if many > most:
        own = f", {CAST_ID} among them" if with_cast_id else ""
        what = "names in the data of an event" if by_event else "inputs of a workflow"
        yield problem([], f"GitHub takes at most {most} {what}; these are {many}{own}.")
    elif not by_event:
        sent = {name: given[name] for name in named if not (with_cast_id and name == CAST_ID)}
        filled_in = {CAST_ID} if with_cast_id else set()
        if tracing.place() is not None:  # the cast will have a traceparent
            filled_in.add(TRACEPARENT)
        yield from _inputs(spell, target.declared_inputs, sent, own=filled_in)


def _inputs(
    spell: Spell, declared: dict[str, Any] | None, sent: dict[str, Any], *, own: set[str]
) -> Iterator[dict[str, str]]:
    if declared is None:  # its file was never read
        for name in sent:
            if not NAME.fullmatch(name):
                told = "No workflow can have an input of this name: letters, digits, - and _, no digit or - first."
                yield problem([name], told)
        return
    known = f"; it declares {', '.join(sorted(declared.keys() - own)) or 'none'}" if spell.show_run else ""
    for name, value in sent.items():
        if name not in declared:
            yield problem([name], f"The workflow declares no such input{known}.")
        elif why := misfit(declared[name], value):
            yield problem([name], why)
    for name, spec in declared.items():
        if name not in sent and name not in own and spec.get("required") and spec.get("default") is None:
            yield problem([name], "The workflow requires this input, and has no default for it.")


def misfit(spec: dict[str, Any], value: Any) -> str:
    """Return why a value is none that a declared input takes, blank if it is one."""
    kind, text, options = spec.get("type"), text_of(value), spec.get("options")
    if kind == "boolean" and text not in ("true", "false"):
        return "The workflow's input is a boolean: give true or false."
    if kind == "number" and text and not NUMBER.fullmatch(text):
        return "The workflow's input is a number."
    if kind == "choice" or (kind == "environment" and options is not None):
        allowed = [text_of(option) for option in options or []]
        allowed += [""] if kind == "environment" and not spec.get("required") else []  # a job in no environment
        if text not in allowed:
            return f"The workflow's input is one of {', '.join(map(repr, allowed)) or 'nothing'}."
    return ""


def problem(path: list[str | int], detail: str) -> dict[str, str]:
    return {"pointer": cut("/input" + pointer(path)), "detail": cut(detail)}


def check_packed(text: str) -> None:
    """Raise InputTooLarge for JSON that is too much as one text among the three of the envelope."""
    packed = len(json.dumps(text, ensure_ascii=False))
    if packed > PACKED_CHARS:
        measured = f"{packed} characters once its JSON is packed as text, in which a quotation mark takes two"
        raise too_large(measured, PACKED_CHARS)


def check_native(spell: Spell, target: WorkflowTarget, given: dict[str, Any]) -> None:
    """Raise InputTooLarge for more than GitHub takes of the workflow's own inputs, or of an event's data."""
    by_event = spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH
    with_cast_id = target.input_mapping == WorkflowTarget.Mapping.NATIVE_WITH_CAST_ID
    sent = given if by_event else native_inputs(given)
    own = {CAST_ID: SOME_ID} if with_cast_id else {}
    if not by_event and takes_trace(target) and (traceparent := tracing.carried()) is not None:
        own.setdefault(TRACEPARENT, traceparent)
    chars = len(written(own | sent))
    if chars > NATIVE_CHARS:
        how = (
            "as the JSON of an event's data" if by_event else "as the JSON of the workflow's inputs, which are all text"
        )
        raise too_large(f"{chars} characters {how}", NATIVE_CHARS)


def too_large(measured: str, most: int) -> InputTooLarge:
    return InputTooLarge(
        f"The input is {measured}; at most {most} can be handed to a workflow. Pass a link to bulky data instead.",
        max_chars=most,
    )
