"""What a workflow file says about itself: its triggers, inputs, title and concurrency. No network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from casts.models import Spell
from github_integration.doctor.findings import About, Finding
from github_integration.models import WorkflowTarget

JSON = Any
OURS = ("cast_id", "spell_key", "input_data")  # what every dispatch carries; input_data is JSON text
SAMPLE = ".github/workflows/spell-execution-example.yml is a sample."
HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
# What differs from run to run, whatever else an expression says.
CAST_ID = {
    Spell.Runtime.WORKFLOW_DISPATCH: re.compile(r"\binputs\.cast_id\b", re.IGNORECASE),
    Spell.Runtime.REPOSITORY_DISPATCH: re.compile(r"\bclient_payload\.cast_id\b", re.IGNORECASE),
}
WRITTEN = {
    Spell.Runtime.WORKFLOW_DISPATCH: "[cast:${{ inputs.cast_id }}]",
    Spell.Runtime.REPOSITORY_DISPATCH: "[cast:${{ github.event.client_payload.cast_id }}]",
}
SHOWN = 3  # mistakes of a file's jobs
RUN_ID = re.compile(r"\bgithub\.run_(id|number)\b", re.IGNORECASE)


class Unreadable(Exception):
    """The file is no workflow; the text says where."""


@dataclass(frozen=True)
class WorkflowFile:
    name: str
    triggers: dict[str, JSON]
    run_name: str
    concurrency: tuple[tuple[str, JSON], ...]  # (where, what is written there), of the workflow and of its jobs
    jobs: dict[str, dict[str, JSON]]

    def takes(self, event_type: str) -> bool:
        if "repository_dispatch" not in self.triggers:
            return False
        types = _mapping(self.triggers["repository_dispatch"]).get("types")
        return not types or event_type in (types if isinstance(types, list) else [types])


def read(name: str, text: str) -> WorkflowFile:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(f"{name} is no valid YAML{where}: {getattr(exc, 'problem', None) or 'unreadable'}") from exc
    except (ValueError, RecursionError) as exc:  # a date that is none; brackets without end
        raise Unreadable(f"{name} can't be read as YAML ({type(exc).__name__})") from exc
    if not isinstance(data, dict):
        raise Unreadable(f"{name} is no workflow")
    on = data.get("on", data.get(True))  # YAML 1.1 takes the bare word `on` for a boolean
    if isinstance(on, str | list):
        on = dict.fromkeys([on] if isinstance(on, str) else [event for event in on if isinstance(event, str)])
    jobs = [(str(key), job) for key, job in _mapping(data.get("jobs")).items() if isinstance(job, dict)]
    written = [("the workflow", data.get("concurrency"))]
    written += [(f"job {key}", job.get("concurrency")) for key, job in jobs]
    return WorkflowFile(
        name=name,
        triggers={str(event): spec for event, spec in _mapping(on).items()},
        run_name=_text(data.get("run-name")),
        concurrency=tuple((where, what) for where, what in written if what),
        jobs=dict(jobs),
    )


def _mapping(value: JSON) -> dict[Any, JSON]:
    return value if isinstance(value, dict) else {}


def _text(value: JSON) -> str:
    # Not str(): a few lines of YAML can hold a structure of gigabytes, made of references to itself.
    return value if isinstance(value, str) else ""


def by_file(about: About, file: WorkflowFile, spell: Spell) -> Iterator[Finding]:
    if "workflow_dispatch" not in file.triggers:
        ref = WorkflowTarget.of(spell).ref_used
        yield about.problem(
            "trigger",
            f"{file.name} at {ref} has no `on: workflow_dispatch`, so GitHub refuses to start it.",
            hint=f"Add it, with the inputs {', '.join(OURS)}. {SAMPLE}",
        )
        return
    yield about.ok("trigger", "workflow_dispatch")
    declared = _mapping(_mapping(file.triggers["workflow_dispatch"]).get("inputs"))
    yield from _inputs(about, {str(name): _mapping(spec) for name, spec in declared.items()}, file, spell)
    yield from of_every_kind(about, file, spell)


def of_every_kind(about: About, file: WorkflowFile, spell: Spell, *, of: str = "") -> Iterator[Finding]:
    """Check what counts for both kinds of start; `of` tells several files apart."""
    yield from _jobs(about, file, f"jobs{of}")
    yield _run_name(about, file, spell, f"run-name{of}")
    yield from _concurrency(about, file, spell, f"concurrency{of}")


def _inputs(about: About, declared: dict[str, JSON], file: WorkflowFile, spell: Spell) -> Iterator[Finding]:
    place = f"{file.name}: on.workflow_dispatch.inputs"
    missing = [name for name in OURS if name not in declared]
    if missing:
        yield about.problem(
            "inputs",
            f"{file.name} does not declare {', '.join(missing)}, and GitHub refuses undeclared inputs.",
            hint=f"{place}: declare {', '.join(missing)}, each with `type: string`. {SAMPLE}",
        )
    else:
        yield about.ok("inputs", ", ".join(OURS))
    for name in OURS:
        kind = _mapping(declared.get(name)).get("type") or "string"
        if kind == "choice" and name == "spell_key" and spell.key in (declared[name].get("options") or []):
            continue
        if kind != "string":
            yield about.problem(
                f"input {name}",
                f"Its type is {_text(kind)!r}, and GitHub refuses values that don't fit it.",
                hint=f"{place}.{name}: `type: string`.",
            )
    for name, spec in declared.items():
        if name not in OURS and spec.get("required") is True and spec.get("default") is None:
            yield about.problem(
                f"input {name}",
                "It is required and has no default. We don't send it, so GitHub refuses the start.",
                hint=f"{place}.{name}: give it a `default`, or `required: false`. Callers choose by input_data.",
            )


def _jobs(about: About, file: WorkflowFile, check: str) -> Iterator[Finding]:
    """Find jobs that can't be, for which GitHub takes none of the file. Workflows that it calls are not read."""
    wrong = [] if file.jobs else ["it has no jobs"]
    waits = {key.lower(): _names(job.get("needs")) for key, job in file.jobs.items()}
    for key, job in file.jobs.items():
        missing = [name for name in _names(job.get("needs")) if name.lower() not in waits]
        wrong += [f"job {key} needs {name!r}, which is no job of it" for name in missing]
        if "uses" not in job:
            wrong += [f"job {key} has no `{part}`" for part in ("runs-on", "steps") if not job.get(part)]
    while free := [key for key, names in waits.items() if not any(name.lower() in waits for name in names)]:
        for key in free:
            del waits[key]
    if waits:
        wrong.append(f"jobs wait for each other by `needs`: {', '.join(waits)}")
    if wrong:
        said = "; ".join(wrong[:SHOWN]) + ("; …" if len(wrong) > SHOWN else "")
        yield about.problem(
            check, f"GitHub starts nothing of {file.name}: {said}.", hint=f"Correct the `jobs` of {file.name}. {SAMPLE}"
        )


def _names(needs: JSON) -> list[str]:
    return [name for name in (needs if isinstance(needs, list) else [needs]) if isinstance(name, str)]


def _run_name(about: About, file: WorkflowFile, spell: Spell, check: str) -> Finding:
    runtime = Spell.Runtime(spell.runtime)
    written, cast_id = WRITTEN[runtime], CAST_ID[runtime]
    hint = f'{file.name}: `run-name: "{spell.key} {written}"`, in double quotes.'
    holes = re.findall(r"\[cast:\$\{\{(.*?)\}\}\]", file.run_name, re.DOTALL)
    if any(cast_id.search(_dotted(hole)) for hole in holes):
        return about.ok(check, "carries the cast's id")
    if "cast" in file.run_name and any(cast_id.search(_dotted(hole)) for hole in HOLE.findall(file.run_name)):
        return about.warning(
            check,
            "It names the cast's id, but whether titles will hold `[cast:<id>]`, exactly so, can't be told from it.",
            hint=hint,
        )
    lost = f"Titles of runs of {file.name} don't carry `[cast:<id>]`"
    if runtime == Spell.Runtime.REPOSITORY_DISPATCH:
        message = f"{lost}, by which alone the run that an event started can be found: casts end as dispatch_lost."
        return about.problem(check, message, hint=hint)
    return about.warning(
        check,
        f"{lost}. If GitHub's answer to a start gets lost, the run can't be found, nor proved not to exist: the cast "
        "ends as dispatch_lost, instead of being started again safely. On Enterprise Server up to 3.20 all do.",
        hint=hint,
    )


def _dotted(expression: str) -> str:
    """Return an expression with `a['b']` written as `a.b`."""
    return re.sub(r"\[\s*'([\w-]+)'\s*\]", r".\1", expression)


def _concurrency(about: About, file: WorkflowFile, spell: Spell, check: str) -> Iterator[Finding]:
    cast_id = CAST_ID[Spell.Runtime(spell.runtime)]
    shared = []
    for where, what in file.concurrency:
        group = _text(_mapping(what).get("group")) if isinstance(what, dict) else _text(what)
        own = any(cast_id.search(_dotted(hole)) or RUN_ID.search(_dotted(hole)) for hole in HOLE.findall(group))
        if own or _mapping(what).get("queue") == "max":
            continue
        running = _mapping(what).get("cancel-in-progress") not in (None, False)
        shared.append(where)
        yield about.warning(
            check if len(shared) == 1 else f"{check} ({where})",
            f"All casts share the group {group!r} of {where} in {file.name}: "
            + ("each one cancels the one that runs." if running else "one waits, and the next one cancels it."),
            hint=f"{file.name}: `group: cast-{WRITTEN[Spell.Runtime(spell.runtime)][6:-1]}`, a group for each cast. To "
            "run one at a time, set the spell's max_running to 1.",
        )
    if not shared:
        yield about.ok(check, "casts don't get in each other's way")
