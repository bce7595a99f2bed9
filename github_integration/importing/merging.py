"""What becomes of a spell when its workflow is imported again: the file's changes, and whatever a person wrote.

Each part is compared three ways: what the last import wrote, what is there now, and what the file says now. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from github_integration.models import WorkflowTarget
from github_integration.workflow_files.schema import Draft

JSON = Any
Three = tuple[JSON, JSON, JSON]  # what the last import wrote, what is there, what the file says
APART = ("properties", "required")
PARTS = ("name", "description", "input_mapping", "input_schema")
BLANK: dict[str, JSON] = {"description": "", "input_mapping": WorkflowTarget.Mapping.ENVELOPE.value, "input_schema": {}}


class Missing:
    """Stands for what is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


@dataclass(frozen=True)
class Change:
    """One part of a spell that the file says otherwise. `kept`: a person wrote what is there, so it stays."""

    part: str
    now: JSON  # MISSING: not there
    file: JSON
    kept: bool = False


@dataclass(frozen=True)
class Merged:
    values: dict[str, JSON]  # by the names in PARTS
    changes: tuple[Change, ...]


def written_by(draft: Draft) -> dict[str, JSON]:
    """Return what an import writes of a draft, to be compared with next time."""
    return {name: getattr(draft, name) for name in PARTS}


def merged(imported: dict[str, JSON] | None, now: dict[str, JSON], draft: Draft, *, key: str) -> Merged:
    """Return what a spell becomes; `imported`: what the last import wrote, None: never imported, all by hand."""
    base = {"name": key} | BLANK if imported is None else imported
    theirs = written_by(draft)
    values: dict[str, JSON] = {}
    changes: list[Change] = []
    for name in PARTS:
        three = base.get(name, MISSING), now[name], theirs[name]
        if name == "input_schema" and all(isinstance(one, dict) for one in three) and (imported or not now[name]):
            values[name] = _schema(three, changes)
        else:
            values[name] = _part(name.replace("_", " "), three, changes)
    return Merged(values, tuple(changes))


def _part(name: str, three: Three, changes: list[Change]) -> JSON:
    base, now, file = three
    if same(now, file):
        return now
    if same(now, base):
        changes.append(Change(name, now, file))
        return file
    if not same(file, base):  # both changed; what the file said before, a person has replaced knowingly
        changes.append(Change(name, now, file, kept=True))
    return now


def same(one: JSON, other: JSON) -> bool:
    """Compare as JSON: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _schema(three: Three, changes: list[Change]) -> JSON:
    """Merge the schemas of an object: each keyword of each property is a part of its own."""
    base, now, file = three
    made = _keywords("schema", (_without(base, *APART), _without(now, *APART), _without(file, *APART)), changes)
    properties: dict[str, JSON] = {}
    required: list[str] = []
    was, has, says = (_mapping(one.get("properties")) for one in three)
    for name in _names(says, has):
        of = f"input {name}"
        spec: Three = was.get(name, MISSING), has.get(name, MISSING), says.get(name, MISSING)
        if all(isinstance(one, dict) for one in spec):
            properties[name] = _keywords(of, spec, changes)
        elif (left := _part(of, spec, changes)) is not MISSING:
            properties[name] = left
        if name not in properties:
            continue
        before, needed, needs = (name in (one.get("required") or ()) for one in three)
        # Of an input that is only here, or only in the file, there is nothing to compare.
        both = name in has and name in says
        if _part(f"{of}: required", (before, needed, needs), changes) if both else needed or needs:
            required.append(name)
    if properties or "properties" in now or ("properties" in file and "properties" not in base):
        made["properties"] = properties
    if required:
        made["required"] = required
    # In the order in which a reader looks for them.
    return {name: made[name] for name in ("type", *APART) if name in made} | made


def _keywords(of: str, three: Three, changes: list[Change]) -> dict[str, JSON]:
    base, now, file = three
    made = {}
    for name in _names(file, now):
        spec: Three = base.get(name, MISSING), now.get(name, MISSING), file.get(name, MISSING)
        if (left := _part(f"{of}: {name}", spec, changes)) is not MISSING:
            made[name] = left
    return made


def _names(*documents: dict[str, JSON]) -> Iterator[str]:
    return iter(dict.fromkeys(name for document in documents for name in document))


def _without(document: dict[str, JSON], *names: str) -> dict[str, JSON]:
    return {name: value for name, value in document.items() if name not in names}


def _mapping(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}
