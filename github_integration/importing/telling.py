"""What was found in a repository, for a person at a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from github_integration.importing.making import Found, shown
from github_integration.importing.merging import MISSING, Change
from github_integration.workflow_files.schema import cut, one_line

JSON = Any
MOST_TAKES = 100
HEAD = ("workflow", "spell", "", "what it takes")


def table_of(found: Sequence[Found]) -> str:
    rows = [HEAD, *((one_line(one.file), one.key or "-", one.state.value, takes(one)) for one in found)]
    widths = [min(max(len(row[at]) for row in rows), 40) for at in range(len(HEAD) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(["", *lines])


def takes(found: Found) -> str:
    """Return the names of a spell's inputs, with * after those that must be given; or why there is no spell."""
    if found.values is None:
        return found.why
    schema: dict[str, JSON] = found.values["input_schema"]
    if "properties" not in schema:
        return "any JSON"
    required = schema.get("required") or ()
    names = [f"{one_line(name)}{'*' if name in required else ''}" for name in schema["properties"]]
    return cut(", ".join(names), MOST_TAKES) or "nothing"


def details_of(found: Sequence[Found]) -> str:
    """Return what would change, what stays although the file says otherwise, and what is worth knowing."""
    lines = []
    shared = shared_notes(found)
    for one in found:
        told = [told_of(change) for change in one.changes]
        told += [f"note: {note}" for note in one.notes if note not in shared]
        if told:
            lines += ["", f"{one_line(one.file)} → {one.key}", *(f"  {line}" for line in told)]
    for note, files in shared.items():
        lines += ["", f"note on {files}:", f"  {note}"]
    return "\n".join(lines)


def shared_notes(found: Sequence[Found]) -> dict[str, str]:
    """Return the notes that several workflows have, each with the names of their files."""
    counts = Counter(note for one in found for note in one.notes)
    several = [note for note, count in counts.items() if count > 1]
    return {note: ", ".join(one_line(one.file) for one in found if note in one.notes) for note in several}


def told_of(change: Change) -> str:
    now, file = (value_of(value) for value in (change.now, change.file))
    if change.kept:
        return f"kept: {one_line(change.part)} is {now}, as a person wrote it; the file says {file}"
    return f"changed: {one_line(change.part)}: {now} → {file}"


def value_of(value: JSON) -> str:
    return "nothing" if value is MISSING else shown(value) or '""'


def example_of(schema: JSON) -> JSON:
    """Return an input that gives what must be given, as an example."""
    properties = schema.get("properties") or {}
    return {name: sample(properties.get(name)) for name in schema.get("required") or ()}


def sample(of: JSON) -> JSON:
    said = of if isinstance(of, dict) else {}
    if said.get("enum"):
        return said["enum"][0]
    if "default" in said:
        return said["default"]
    return {"boolean": True, "number": 1, "integer": 1}.get(str(said.get("type")), "…")
