"""What can be said of spell files before anything is changed: fields nobody may write, workflows that aren't there.

Whatever has to be asked of GitHub is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from casts.models import Spell
from casts.spells.toml import Reader, written_fields
from github_integration import errors
from github_integration.models import Installation, WorkflowTarget
from github_integration.spell_files.ownership import why_not, written_in_files
from github_integration.spell_files.reading import WORKFLOWS, Problem, Snapshot, Table
from github_integration.workflow_files.reading import Unreadable, WorkflowFile, read
from github_integration.workflow_files.schema import Draft, draft_of

SCHEMAS = ("input_schema", "output_schema")
IN_LINE = re.compile(r" in line (\d+)")
TRIGGERS = re.compile(r"""^["']?on["']?[ \t]*:""", re.MULTILINE)
Mapping = WorkflowTarget.Mapping


@dataclass(frozen=True)
class Ready:
    """One spell, with all that its fields need to be read."""

    table: Table
    values: dict[str, Any]  # as in the table, and what the workflow file says where the table says nothing
    declared_inputs: dict[str, Any] | None
    read: Reader


@dataclass
class Checker:
    """Checks the tables of one commit."""

    snapshot: Snapshot
    choices: Installation

    def __post_init__(self) -> None:
        self._files: dict[str, WorkflowFile | Problem] = {}
        self._environments: Any = ...  # not asked for yet

    def check(self, tables: list[Table]) -> tuple[list[Ready], list[Problem]]:
        """Return the spells that may be applied, and what is wrong."""
        ready: list[Ready] = []
        problems: list[Problem] = []
        for table in tables:
            found: list[Problem] = []
            one = self._ready(table, found)
            problems += found
            if one is not None:
                ready.append(one)
        return ready, list(dict.fromkeys(problems))

    def _ready(self, table: Table, problems: list[Problem]) -> Ready | None:
        if not isinstance(table.value, dict):
            told = f"is not a table; write [{table.key}] and below it the spell's fields."
            problems.append(table.problem(told))
            return None
        values = dict(table.value)
        for name, message in self._unwritable(values):
            del values[name]
            problems.append(table.problem(f"{name[:80]}: {message}", name))
        file = self._workflow(table, values, problems)
        declared = None
        if file is not None:
            draft = draft_of(file, environments=self._environments_for(file))
            declared = draft.declared_inputs if is_dispatched(values) else None
            values = said_by(draft, values) | values
        reader = partial(self.snapshot.text_beside, table.file)
        for name in SCHEMAS:  # read now: later there is a transaction under way
            if isinstance(path := values.get(name), str) and not path.lstrip().startswith("{"):
                with suppress(ValueError):  # told when the field is set
                    reader(path)
        return Ready(table, values, declared, reader)

    def _unwritable(self, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        known = written_in_files(self.choices)
        for name in list(values):
            if name in known:
                continue
            why = why_not(name, self.choices) if name in (*written_fields(WorkflowTarget), "account") else ""
            near = get_close_matches(name[:80], known, n=1)
            guess = f" Is {near[0]} meant?" if near else f" A spell has {', '.join(known)}."
            yield name, why or f"there is no such field.{guess}"

    def _workflow(self, table: Table, values: dict[str, Any], problems: list[Problem]) -> WorkflowFile | None:
        name = values.get("workflow_file")
        if name is None:
            told = f'workflow_file: name the spell\'s workflow, a file in {WORKFLOWS}, such as "deploy.yml".'
            problems.append(table.problem(told))
            return None
        if not isinstance(name, str):
            problems.append(table.problem("workflow_file: Write text in quotes.", "workflow_file"))
            return None
        there = self.snapshot.folder(WORKFLOWS)
        if name not in there:
            near = get_close_matches(name[:200], there, n=1)
            guess = f"; there is {near[0]}" if near else ""
            told = f"workflow_file: {WORKFLOWS} has no {name[:80]!r} at this commit{guess}."
            problems.append(table.problem(told, "workflow_file"))
            return None
        if name not in self._files:
            self._files[name] = self._read(name)
        file = self._files[name]
        if isinstance(file, Problem):
            problems.append(file)
            return None
        if (wrong := self._untriggered(file, values)) is not None:
            problems.append(wrong)
            return None
        return file

    def _read(self, name: str) -> WorkflowFile | Problem:
        path = f"{WORKFLOWS}/{name}"
        try:
            return read(name, self.snapshot.text(path))
        except Unreadable as exc:
            found = IN_LINE.search(str(exc))
            return Problem(path, int(found[1]) if found else 1, f"{exc}.")
        except ValueError as exc:
            return Problem(path, 1, f"This workflow, which a spell names, can't be read: {exc}.")

    def _untriggered(self, file: WorkflowFile, values: dict[str, Any]) -> Problem | None:
        path = f"{WORKFLOWS}/{file.name}"
        text = self.snapshot.text(path)
        at = TRIGGERS.search(text)
        line = text.count("\n", 0, at.start()) + 1 if at else 1
        if is_dispatched(values):
            told = "it has no `on: workflow_dispatch`, so it can't be started as the spell that names it wants."
            return None if file.dispatchable else Problem(path, line, told)
        event = values.get("event_type")
        if not isinstance(event, str) or not event:
            return None  # told with the field
        told = f"it has no `on: repository_dispatch` that takes the type {event[:80]!r}, which a spell sends."
        return None if file.takes(event) else Problem(path, line, told)

    def _environments_for(self, file: WorkflowFile) -> Any:
        """Return the repository's environments if the file has a choice of them; None if we may not know."""
        if not any(one.type == "environment" for one in file.inputs):
            return None
        if self._environments is ...:
            try:
                self._environments = self.snapshot.repository.environments()
            except (errors.PermissionMissing, errors.NotFound, errors.Refused):
                self._environments = None
        return self._environments


def is_dispatched(values: dict[str, Any]) -> bool:
    """Whether a spell starts a workflow by its file, and not by an event."""
    return bool(values.get("runtime") != Spell.Runtime.REPOSITORY_DISPATCH)


def said_by(draft: Draft, values: dict[str, Any]) -> dict[str, Any]:
    """Return what a workflow file says of a spell; its inputs count only for what is dispatched with them."""
    said: dict[str, Any] = {"name": draft.name, "description": draft.description}
    if is_dispatched(values):
        said["input_mapping"] = draft.input_mapping
        # A schema of the workflow's inputs is none of what an envelope holds.
        if values.get("input_mapping", draft.input_mapping) != Mapping.ENVELOPE:
            said["input_schema"] = draft.input_schema
    return said
