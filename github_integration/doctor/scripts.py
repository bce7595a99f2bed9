"""Whether what callers give can become part of a workflow's scripts: with it they could run commands of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from casts.models import Spell
from github_integration.doctor.findings import About, Finding
from github_integration.doctor.own_inputs import properties_of
from github_integration.models import WorkflowTarget
from github_integration.workflow_files.reading import CAST_ID, ENVELOPE, HOLE, WorkflowFile, dotted

JSON = Any
SHOWN = 3
GIVEN = {
    Spell.Runtime.WORKFLOW_DISPATCH: re.compile(
        r"(?<![\w.-])(?:github\.event\.)?inputs\b(?:\.([\w-]+))?", re.IGNORECASE
    ),
    Spell.Runtime.REPOSITORY_DISPATCH: re.compile(r"\bgithub\.event\.client_payload\b(?:\.([\w-]+))?", re.IGNORECASE),
}


def of_file(about: About, file: WorkflowFile, spell: Spell, check: str) -> Iterator[Finding]:
    """Find inputs that stand in `run:` or in the script of actions/github-script, where any text may come in."""
    free = free_texts(file, spell)
    places: dict[str, None] = {}
    for key, script in _scripts(file):
        for hole in HOLE.findall(script):
            for name in GIVEN[Spell.Runtime(spell.runtime)].findall(dotted(hole)):
                if free is None or name.lower() in free or (not name and free):
                    places[f"{name or 'all inputs'} in job {key}"] = None
    if places:
        shown = ", ".join(list(places)[:SHOWN]) + (", …" if len(places) > SHOWN else "")
        yield about.warning(
            check,
            f"{file.name} writes what callers give into its scripts ({shown}): whoever casts can run commands of their "
            "own there, with the job's secrets.",
            hint="Hand it over by `env:`, and use the variable in the script; or let the input_schema allow fixed "
            "values only (`enum`).",
        )


def free_texts(file: WorkflowFile, spell: Spell) -> set[str] | None:
    """Return the names of what may be any text, in lower case; None: all."""
    if spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH:
        return None
    if WorkflowTarget.of(spell).input_mapping == WorkflowTarget.Mapping.ENVELOPE:
        return {ENVELOPE[2]}
    bound = {
        name for name, one in properties_of(spell).items() if isinstance(one, dict) and {"enum", "const"} & one.keys()
    }
    checked = {"boolean", "number", "choice"}
    return {one.name.lower() for one in file.inputs if one.type not in checked and one.name not in bound | {CAST_ID}}


def _scripts(file: WorkflowFile) -> Iterator[tuple[str, str]]:
    for key, job in file.jobs.items():
        steps: JSON = job.get("steps")
        for step in steps if isinstance(steps, list) else []:
            if not isinstance(step, dict):
                continue
            given = step.get("with")
            written = [step.get("run"), given.get("script") if isinstance(given, dict) else None]
            yield from ((key, text) for text in written if isinstance(text, str))
