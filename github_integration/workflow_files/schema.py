"""What spell a workflow file makes: its key and name, what it takes, and what is worth knowing before casting it."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from casts.models import Spell
from github_integration.details import EnvironmentDetails
from github_integration.models import WorkflowTarget
from github_integration.workflow_files.core_yaml import written
from github_integration.workflow_files.reading import (
    CAST_ID,
    ENVELOPE,
    HOLE,
    MOST_INPUTS,
    TRACEPARENT,
    TYPES,
    Input,
    Scalar,
    WorkflowFile,
    dotted,
    mapping,
    text,
)

JSON = Any
MOST_KEY = 64
MOST_NAME = 100
MOST_DESCRIPTION = 2000
MOST_COMMENT_LINES = 12
# Comments that say nothing of what a workflow is for.
NOT_A_DESCRIPTION = re.compile(
    r"copyright|spdx-|licen[cs]e|all rights reserved|^!|-\*-|vim?:|yaml-language-server|yamllint|\$schema|prettier-"
    r"|zizmor|generated|do not edit|^[-=*#~\s]*$",
    re.IGNORECASE,
)
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?\s*")
Mapping = WorkflowTarget.Mapping


@dataclass(frozen=True)
class Draft:
    """The spell that a workflow file would make. `notes` are sentences for a person."""

    file: str
    key: str
    name: str
    description: str
    input_schema: dict[str, JSON]
    input_mapping: str
    declared_inputs: dict[str, JSON]  # see WorkflowTarget.declared_inputs
    notes: tuple[str, ...]


def draft_of(file: WorkflowFile, *, environments: Sequence[EnvironmentDetails] | None = None) -> Draft:
    """Return the spell that a file with `workflow_dispatch` makes; environments: the repository's, None: not known.

    Without the trigger it declares no inputs, and the draft is of a workflow that takes none.
    """
    how = mapping_of(file)
    names = None if environments is None else [one.name for one in environments]
    return Draft(
        file=file.name,
        key=key_of(file.name),
        name=one_line(file.title)[:MOST_NAME].strip() or re.sub(r"\.ya?ml$", "", file.name)[:MOST_NAME],
        description=_description(file.comment),
        input_schema={} if how == Mapping.ENVELOPE else _schema(_of_callers(file, how), names),
        input_mapping=how.value,
        declared_inputs={given.name: _declared(given) for given in file.inputs},
        notes=tuple(_notes(file, how, environments)),
    )


def with_different_keys(drafts: Iterable[Draft], *, taken: Collection[str] = ()) -> list[Draft]:
    """Return the drafts with a number after each key that another one has, or that is taken."""
    used = set(taken)
    found = []
    for draft in drafts:
        key, number = draft.key, 1
        while key in used:
            number += 1
            key = f"{draft.key[: MOST_KEY - 1 - len(str(number))]}-{number}"
        used.add(key)
        found.append(replace(draft, key=key))
    return found


def key_of(file_name: str, *, prefix: str = "") -> str:
    """Return a spell's key for a file: `Deploy Prod.yml` is `deploy-prod`."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\.ya?ml$", "", file_name, flags=re.IGNORECASE))
    plain = plain.encode("ascii", errors="ignore").decode().lower()
    key = re.sub(r"[^a-z0-9._-]+", "-", f"{prefix.lower()}{plain}").strip("._-")
    return key[:MOST_KEY].rstrip("._-") or "workflow"


def mapping_of(file: WorkflowFile) -> WorkflowTarget.Mapping:
    """Return how the workflow takes its input, as what it declares tells."""
    texts = {given.name for given in file.inputs if given.type == "string"}
    names = {given.name for given in file.inputs}
    if {CAST_ID, "input_data"} <= texts and "spell_key" in names:  # which may be a choice of keys
        return Mapping.ENVELOPE
    return Mapping.NATIVE_WITH_CAST_ID if CAST_ID in texts else Mapping.NATIVE


def _of_callers(file: WorkflowFile, how: WorkflowTarget.Mapping) -> list[Input]:
    """Return the inputs that callers give; `cast_id` and `traceparent` are ours where the workflow has a place."""
    ours = {TRACEPARENT} | ({CAST_ID} if how == Mapping.NATIVE_WITH_CAST_ID else set())
    return [given for given in file.inputs if given.name not in ours]


# --- the schema ------------------------------------------------------------------------------------------------


def _schema(inputs: list[Input], environments: list[str] | None) -> dict[str, JSON]:
    schema: dict[str, JSON] = {
        "type": "object",
        "properties": {given.name: _property(given, environments) for given in inputs},
    }
    if required := [given.name for given in inputs if given.required and default_of(given) is None]:
        schema["required"] = required
    return schema | {"additionalProperties": False}


def _property(given: Input, environments: list[str] | None) -> dict[str, JSON]:
    said: dict[str, JSON] = {"type": given.type if given.type in ("boolean", "number") else "string"}
    if about := _about(given):
        said["description"] = about
    if (options := _options(given, environments)) is not None:
        said["enum"] = options
    if (default := default_of(given)) is not None and (options is None or default in options):
        said["default"] = default
    if given.deprecation:
        said["deprecated"] = True
    return said


def _options(given: Input, environments: list[str] | None) -> list[str] | None:
    if given.type == "choice":
        return list(dict.fromkeys(given.options)) or None
    if given.type == "environment" and environments:
        return list(dict.fromkeys(environments))
    return None


def default_of(given: Input) -> Scalar | None:
    """Return an input's default in the type that it declares: 3 for "3"; None if there is none, or it is no such."""
    default = given.default
    if default is None:
        return None
    if given.type == "boolean":
        return {"true": True, "false": False}.get(str(written(default)))
    if given.type == "number":
        return _number(default)
    return written(default)


def _number(default: Scalar) -> Scalar | None:
    if isinstance(default, bool):
        return None
    if isinstance(default, int | float):
        return default
    if not NUMBER.fullmatch(default):
        return None
    try:
        return int(default)
    except ValueError:
        number = float(default)
        if not math.isfinite(number):  # too large for JSON
            return None
        return int(number) if number.is_integer() and abs(number) < 1e16 else number


def _about(given: Input) -> str:
    about = cut(given.description.strip(), MOST_DESCRIPTION)
    if not given.deprecation:
        return about
    return f"{about} (Deprecated: {one_line(given.deprecation)[:MOST_DESCRIPTION]})".strip()


def _declared(given: Input) -> dict[str, JSON]:
    said: dict[str, JSON] = {"type": given.type, "required": given.required}
    if (default := default_of(given)) is not None:
        said["default"] = default
    if given.type == "choice":
        said["options"] = list(given.options)
    return said


def _description(comment: str) -> str:
    """Return a file's first comment if it says in a few lines what the workflow is for."""
    lines = comment.splitlines()
    if len(lines) > MOST_COMMENT_LINES or any(NOT_A_DESCRIPTION.search(line) for line in lines if line):
        return ""
    return cut(comment, MOST_DESCRIPTION)


def one_line(said: str) -> str:
    """Return a text in one line, without what only disturbs a terminal or a page."""
    return " ".join("".join(char if char.isprintable() else " " for char in said).split())


def cut(said: str, most: int) -> str:
    return said if len(said) <= most else said[: most - 1].rstrip() + "…"


# --- what is worth knowing -------------------------------------------------------------------------------------


def _notes(
    file: WorkflowFile, how: WorkflowTarget.Mapping, environments: Sequence[EnvironmentDetails] | None
) -> Iterator[str]:
    if len(file.inputs) > MOST_INPUTS:
        yield f"It declares {len(file.inputs)} inputs; GitHub refuses the whole file beyond {MOST_INPUTS}."
    if how == Mapping.ENVELOPE:
        yield (
            f"It takes its input as JSON text in {ENVELOPE[2]}, so what belongs there can't be told from the file: "
            "write the spell's input_schema by hand."
        )
    names = None if environments is None else [one.name for one in environments]
    for given in _of_callers(file, how) if how != Mapping.ENVELOPE else []:
        yield from _odd(given, names)
    if not file.tag(Spell.Runtime.WORKFLOW_DISPATCH):
        yield (
            "Its runs' titles don't carry the cast's id. If GitHub's answer to a start gets lost, the cast ends as "
            'dispatch_lost; with an input cast_id and run-name "… [cast:${{ inputs.cast_id }}]" its run is found.'
        )
    for shared in file.shared_groups(Spell.Runtime.WORKFLOW_DISPATCH):
        what = "each new one cancels the one that runs" if shared.cancels else "one waits, and the next cancels it"
        yield (
            f"Casts share the concurrency group {json.dumps(cut(one_line(shared.group), 80), ensure_ascii=False)} "
            f"of {one_line(shared.where)}: {what}. To run one at a time, set max_running to 1."
        )
    yield from _approvals(file, environments or ())


def _odd(given: Input, environments: list[str] | None) -> Iterator[str]:
    name, default, options = one_line(given.name), default_of(given), _options(given, environments)
    if not INPUT_NAME.fullmatch(given.name):
        yield f"No input can be called {name[:40]!r}: GitHub refuses the file."
    if given.type not in TYPES:
        yield f"Input {name} has the type {given.type[:40]!r}, which GitHub does not know: it refuses the file."
    if given.type == "choice" and not options:
        yield f"Input {name} is a choice without options: GitHub refuses the file."
    if given.default is not None and default is None:
        yield f"Input {name} has the default {str(given.default)[:40]!r}, which is no {given.type}: left out."
    if options and default is not None and default not in options:
        yield f"Input {name} has the default {str(default)[:40]!r}, which is none of its options: left out."
    if given.type == "environment" and environments is None:
        yield f"Input {name} names an environment; which there are could not be read, so any name is taken."
    elif given.type == "environment" and not environments:
        yield f"Input {name} names an environment, and the repository has none: make them, then import again."


def _approvals(file: WorkflowFile, environments: Sequence[EnvironmentDetails]) -> Iterator[str]:
    """Tell of environments that keep a run waiting: casts stay queued meanwhile."""
    waiting = {one.name.lower(): one for one in environments if one.keeps_waiting}
    choosing = [given.name.lower() for given in file.inputs if given.type in ("environment", "choice")]
    told: dict[str, EnvironmentDetails] = {}
    for job in file.jobs.values():
        said = job.get("environment")
        named = text(mapping(said).get("name")) if isinstance(said, dict) else text(said)
        if named.lower() in waiting:
            told[named.lower()] = waiting[named.lower()]
        holes = [dotted(hole).lower() for hole in HOLE.findall(named)]
        if any(re.search(rf"\binputs\.{re.escape(name)}\b", hole) for name in choosing for hole in holes):
            told |= waiting
    for one in told.values():
        yield (
            f"A run in the environment {one_line(one.name)} waits for {one.keeps_waiting}; its cast waits along, "
            "at most as long as ttl_seconds says."
        )
