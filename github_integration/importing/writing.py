"""Imported spells as a file of spells, such as `loadspells` takes. TOML is written here: Python reads it only."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from casts.definition import fields_of
from casts.spells.toml import SCHEMAS
from github_integration.importing.asking import Source
from github_integration.importing.making import Found, Preview, unstored
from github_integration.models import WorkflowTarget

JSON = Any
MARK = "# Written by manage.py importspells"


class OtherFile(Exception):
    """What is there was written by somebody else."""


def as_toml(seen: Preview) -> str:
    """Return the spells of all usable workflows, each as it is or would be, without what is as by default."""
    source = seen.source
    head = f"{MARK} from {source.repository} at {source.ref}. The next one replaces this file.\n"
    return "\n".join([head, *(table(one, source) for one in seen.found if one.usable)])


def table(found: Found, source: Source) -> str:
    spell = unstored(found, source)
    target = WorkflowTarget.of(spell)
    lines = [f"[{json.dumps(spell.key) if '.' in spell.key else spell.key}]"]
    for name in fields_of(WorkflowTarget):
        row = target if name in target.names() else spell
        field: Any = row._meta.get_field(name)
        value = getattr(row, name)
        if value is None or (value == field.get_default() and name not in ("name", "input_schema")):
            continue
        lines.append(f"{name} = {document(value) if name in SCHEMAS else basic(value)}")
    return "\n".join(lines) + "\n"


def basic(value: JSON) -> str:
    # JSON's strings, numbers and booleans are TOML's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def document(value: JSON) -> str:
    """Return a schema as JSON text: TOML has no null."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if "'''" in text or "\x7f" in text or "\n" not in text:
        return basic(text)
    return f"'''\n{text}\n'''"


def write(path: Path, text: str) -> None:
    """Write a file in one go. Raise OtherFile rather than replace one of somebody else's."""
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise OtherFile(f"{path} is there already, and was not written by an import: name another file.")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
