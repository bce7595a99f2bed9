"""Whether a workflow's own inputs and a spell's input_schema fit together, where casts hand over the former."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import transaction

from casts import versions
from casts.models import Spell
from core.limits import EVENT_NAMES
from github_integration.doctor.findings import About, Finding
from github_integration.inputs import CAST_ID, TRACEPARENT, takes_trace, text_of
from github_integration.models import WorkflowTarget
from github_integration.refusals import NAME
from github_integration.workflow_files.reading import MOST_INPUTS, Input, WorkflowFile
from github_integration.workflow_files.schema import draft_of

JSON = Any
Mapping = WorkflowTarget.Mapping
TYPES = {"boolean": {"boolean"}, "number": {"number", "integer"}}
REREAD = "The spell's page in the admin → Check on GitHub; or manage.py doctor --spell {key}. Both keep what they read."


def of_file(about: About, file: WorkflowFile, spell: Spell) -> Iterator[Finding]:
    """Compare what callers may give, must give and can't give with what the file declares."""
    target = WorkflowTarget.of(spell)
    own = {CAST_ID} if target.input_mapping == Mapping.NATIVE_WITH_CAST_ID else set()
    declared = {given.name: given for given in file.inputs}
    findings = [
        *_declarable(about, file),
        *_cast_id(about, file, spell, declared),
        *_shape(about, spell),
        *_properties(about, file, spell, declared, own),
    ]
    yield from findings
    if not findings:
        yield about.ok("inputs", ", ".join(declared) or "none")


def of_event(about: About, spell: Spell) -> Iterator[Finding]:
    """Check that the input can be the data of an event."""
    own = {CAST_ID} if WorkflowTarget.of(spell).input_mapping == Mapping.NATIVE_WITH_CAST_ID else set()
    yield from _shape(about, spell)
    if CAST_ID in own & properties_of(spell).keys():
        yield _ours(about, spell)
    required, known = required_of(spell) | own, properties_of(spell).keys() | own
    hint = "Put what belongs together into one property of the input_schema: an object."
    if len(required) > EVENT_NAMES:
        message = f"Every cast has {len(required)} names at the top of its event's data; GitHub takes {EVENT_NAMES}."
        yield about.problem("inputs", message, hint=hint)
    elif len(known) > EVENT_NAMES:
        message = f"There are {len(known)} names for an event's data; casts with more than {EVENT_NAMES} are refused."
        yield about.warning("inputs", message, hint=hint)


def _declarable(about: About, file: WorkflowFile) -> Iterator[Finding]:
    if (many := len(file.inputs)) > (most := min(MOST_INPUTS, settings.GITHUB_INPUTS_MAX)):
        yield about.problem(
            "inputs",
            f"{file.name} declares {many} inputs, and GitHub takes {most}.",
            hint=f"{file.name}: declare {most} at most, for instance one of them for JSON text.",
        )


def _cast_id(about: About, file: WorkflowFile, spell: Spell, declared: dict[str, Input]) -> Iterator[Finding]:
    place = f"{file.name}: on.workflow_dispatch.inputs"
    if WorkflowTarget.of(spell).input_mapping == Mapping.NATIVE:
        if CAST_ID in declared and CAST_ID not in properties_of(spell):
            yield about.warning(
                f"input {CAST_ID}",
                f"{file.name} declares it, and with the input_mapping `native` nobody fills it in.",
                hint="Set the spell's input_mapping to native+cast_id.",
            )
        return
    if CAST_ID not in declared:
        yield about.problem(
            f"input {CAST_ID}",
            f"{file.name} does not declare it, and GitHub refuses undeclared inputs.",
            hint=f"{place}: declare it with `type: string`; or set the spell's input_mapping to native.",
        )
    elif declared[CAST_ID].type != "string":
        yield about.problem(
            f"input {CAST_ID}",
            f"Its type is {declared[CAST_ID].type!r}, and GitHub refuses values that don't fit it.",
            hint=f"{place}.{CAST_ID}: `type: string`.",
        )
    if CAST_ID in properties_of(spell):
        yield _ours(about, spell)


def _ours(about: About, spell: Spell) -> Finding:
    must = CAST_ID in required_of(spell)
    message = "It is filled in with the cast's own id, and a caller who gives it is refused"
    hint = "Take cast_id out of the spell's input_schema; or use the input_mapping native."
    if must:
        return about.problem("input_schema", f"{message}; the schema requires it, so nobody can cast.", hint=hint)
    return about.warning("input_schema", f"{message}; the schema has it.", hint=hint)


def _shape(about: About, spell: Spell) -> Iterator[Finding]:
    schema = spell.input_schema
    kind = schema.get("type", "object") if isinstance(schema, dict) else "object"
    if "object" not in (kind if isinstance(kind, list) else [kind]):
        yield about.problem(
            "input_schema",
            f"It asks for {kind}, and only an object's properties can become the inputs of a workflow.",
            hint='Give the spell\'s input_schema `"type": "object"`; or use the input_mapping envelope.',
        )


def _properties(
    about: About, file: WorkflowFile, spell: Spell, declared: dict[str, Input], own: set[str]
) -> Iterator[Finding]:
    known, required = properties_of(spell), required_of(spell)
    hint = f"Declare it in {file.name}, or take it out of the spell's input_schema."
    for name in sorted((known.keys() | required) - declared.keys() - own):
        what = f"{file.name} declares no such input, and GitHub would refuse it"
        if name in required:
            message = f"{what}; the input_schema requires it, so nobody can cast."
            yield about.problem(f"input {name}", message, hint=hint)
        else:
            yield about.warning(f"input {name}", f"{what}: a cast that has it is refused.", hint=hint)
    for name, given in declared.items():
        if name in own:
            continue
        yield from _given(about, file, spell, given)
        if not NAME.fullmatch(name):
            message = "GitHub's rule for names: letters, digits, - and _, no digit or - first."
            yield about.warning(f"input {name}", message, hint=f"Rename it in {file.name}.")


def _given(about: About, file: WorkflowFile, spell: Spell, given: Input) -> Iterator[Finding]:
    known, required, check = properties_of(spell), required_of(spell), f"input {given.name}"
    place = f"{file.name}: on.workflow_dispatch.inputs.{given.name}"
    schema = known.get(given.name)
    if given.required and given.default is None and given.name not in required:
        closed = isinstance(spell.input_schema, dict) and spell.input_schema.get("additionalProperties") is False
        hint = f"Require it in the spell's input_schema; or {place}: give it a `default`, or `required: false`."
        if schema is None and closed:
            message = "It is required and has no default, and the input_schema does not allow it: nobody can cast."
            yield about.problem(check, message, hint=hint)
        elif not (isinstance(schema, dict) and "default" in schema):
            message = (
                "It is required and has no default, and the input_schema does not say so: casts without are refused."
            )
            yield about.warning(check, message, hint=hint)
    if isinstance(schema, dict) and (why := _misfit(given, schema)):
        yield about.warning(check, why, hint="Write the spell's input_schema as the workflow has it.")


def _misfit(given: Input, schema: dict[str, JSON]) -> str:
    """Return what the schema takes and the workflow's input does not, as far as both plainly say it; blank: nothing."""
    values = schema["enum"] if isinstance(schema.get("enum"), list) else None
    if "const" in schema:
        values = [schema["const"]]
    options = {"choice": list(given.options), "boolean": ["true", "false"]}.get(given.type)
    if values is not None and options is not None:
        odd = [text for value in values if value is not None and (text := text_of(value)) not in options]
        return f"The input_schema takes {', '.join(map(repr, odd[:5]))}; the workflow: {options}." if odd else ""
    kinds = schema.get("type")
    taken = set(kinds) if isinstance(kinds, list) else {kinds} if isinstance(kinds, str) else set()
    wanted = TYPES.get(given.type)
    if wanted is not None and values is None and not (taken and taken <= wanted | {"null"}):
        said = f"is {' or '.join(sorted(taken))}" if taken else "names no type"
        return f"The workflow's input is a {given.type}; in the input_schema it {said}. What does not fit is refused."
    if options is not None and values is None and given.type == "choice":
        return f"The workflow takes only {options}; the input_schema does not say so. Other casts are refused."
    return ""


def properties_of(spell: Spell) -> dict[str, JSON]:
    schema = spell.input_schema if isinstance(spell.input_schema, dict) else {}
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def required_of(spell: Spell) -> set[str]:
    schema = spell.input_schema if isinstance(spell.input_schema, dict) else {}
    found = schema.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()


# --- what is known of the file when a cast is placed ----------------------------------------------------------------


def as_known(about: About, file: WorkflowFile, spell: Spell, *, keep: bool) -> Finding:
    """Compare what casts are checked against with the file as it is now; `keep`: from now on against this."""
    target, now = WorkflowTarget.of(spell), draft_of(file).declared_inputs
    news = news_of(target.declared_inputs, now)
    check = "inputs as known"
    if not news:
        return about.ok(check, "casts are checked against the file as it is")
    if keep and kept(target, now):
        return about.ok(check, f"{news} Casts are checked against the file as it is now.")
    return about.warning(
        check,
        f"{news} What GitHub would refuse of a cast is not seen beforehand, or too much is refused.",
        hint=REREAD.format(key=spell.key),
    )


def of_trace(about: About, file: WorkflowFile, spell: Spell, *, keep: bool) -> Iterator[Finding]:
    """Learn whether a workflow that takes the envelope takes the cast's place in a trace as well."""
    target, now = WorkflowTarget.of(spell), draft_of(file).declared_inputs
    if takes_trace(target) == (TRACEPARENT in now):
        return
    if keep and kept(target, now):
        yield about.ok(f"input {TRACEPARENT}", "read anew: it is sent where the workflow declares it")
    else:
        message = f"Whether {file.name} declares it is not known as it is now."
        yield about.ok(f"input {TRACEPARENT}", f"{message} {REREAD.format(key=spell.key)}")


def news_of(known: dict[str, JSON] | None, now: dict[str, JSON]) -> str:
    """Return in a sentence what is different in the file, blank if nothing is."""
    if known is None:
        return "The file's inputs were not read before."
    if known == now:
        return ""
    new, gone = sorted(now.keys() - known.keys()), sorted(known.keys() - now.keys())
    changed = sorted(name for name in known.keys() & now.keys() if known[name] != now[name])
    parts = [
        f"{word}: {', '.join(names)}" for word, names in (("new", new), ("gone", gone), ("other", changed)) if names
    ]
    return f"Out of date ({'; '.join(parts)})."


def kept(target: WorkflowTarget, now: dict[str, JSON]) -> bool:
    """Keep what a file declares, unless the spell has meanwhile moved to another."""
    same = {name: getattr(target, name) for name in target.decisive}
    with transaction.atomic():
        Spell.objects.select_for_update(no_key=True).filter(pk=target.spell_id).first()  # before its target, as always
        if not WorkflowTarget.objects.filter(pk=target.pk, **same).update(declared_inputs=now):
            return False
        versions.keep(target.spell, source=f"{target.workflow_used}, as the doctor read it")
    target.declared_inputs = now
    return True
