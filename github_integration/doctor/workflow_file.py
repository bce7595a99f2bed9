"""Whether a workflow file is written so that a spell's casts come right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from casts.models import Spell
from github_integration.doctor.findings import About, Finding
from github_integration.models import WorkflowTarget
from github_integration.workflow_files.reading import ENVELOPE, Input, WorkflowFile

JSON = Any
SAMPLE = ".github/workflows/spell-execution-example.yml is a sample."
WRITTEN = {
    Spell.Runtime.WORKFLOW_DISPATCH: "[cast:${{ inputs.cast_id }}]",
    Spell.Runtime.REPOSITORY_DISPATCH: "[cast:${{ github.event.client_payload.cast_id }}]",
}
SHOWN = 3  # mistakes of a file's jobs


def by_file(about: About, file: WorkflowFile, spell: Spell) -> Iterator[Finding]:
    if not file.dispatchable:
        ref = WorkflowTarget.of(spell).ref_used
        yield about.problem(
            "trigger",
            f"{file.name} at {ref} has no `on: workflow_dispatch`, so GitHub refuses to start it.",
            hint=f"Add it, with the inputs {', '.join(ENVELOPE)}. {SAMPLE}",
        )
        return
    yield about.ok("trigger", "workflow_dispatch")
    yield from _inputs(about, {given.name: given for given in file.inputs}, file, spell)
    yield from of_every_kind(about, file, spell)


def of_every_kind(about: About, file: WorkflowFile, spell: Spell, *, of: str = "") -> Iterator[Finding]:
    """Check what counts for both kinds of start; `of` tells several files apart."""
    yield from _jobs(about, file, f"jobs{of}")
    yield _run_name(about, file, spell, f"run-name{of}")
    yield from _concurrency(about, file, spell, f"concurrency{of}")


def _inputs(about: About, declared: dict[str, Input], file: WorkflowFile, spell: Spell) -> Iterator[Finding]:
    place = f"{file.name}: on.workflow_dispatch.inputs"
    missing = [name for name in ENVELOPE if name not in declared]
    if missing:
        yield about.problem(
            "inputs",
            f"{file.name} does not declare {', '.join(missing)}, and GitHub refuses undeclared inputs.",
            hint=f"{place}: declare {', '.join(missing)}, each with `type: string`. {SAMPLE}",
        )
    else:
        yield about.ok("inputs", ", ".join(ENVELOPE))
    for name in ENVELOPE:
        if (given := declared.get(name)) is None:
            continue
        if given.type == "choice" and name == "spell_key" and spell.key in given.options:
            continue
        if given.type != "string":
            yield about.problem(
                f"input {name}",
                f"Its type is {given.type!r}, and GitHub refuses values that don't fit it.",
                hint=f"{place}.{name}: `type: string`.",
            )
    for name, given in declared.items():
        if name not in ENVELOPE and given.required and given.default is None:
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
    hint = f'{file.name}: `run-name: "{spell.key} {WRITTEN[runtime]}"`, in double quotes.'
    tag = file.tag(runtime)
    if tag:
        return about.ok(check, "carries the cast's id")
    if tag is None:
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


def _concurrency(about: About, file: WorkflowFile, spell: Spell, check: str) -> Iterator[Finding]:
    runtime = Spell.Runtime(spell.runtime)
    shared = file.shared_groups(runtime)
    for at, one in enumerate(shared):
        yield about.warning(
            check if at == 0 else f"{check} ({one.where})",
            f"All casts share the group {one.group!r} of {one.where} in {file.name}: "
            + ("each one cancels the one that runs." if one.cancels else "one waits, and the next one cancels it."),
            hint=f"{file.name}: `group: cast-{WRITTEN[runtime][6:-1]}`, a group for each cast. To "
            "run one at a time, set the spell's max_running to 1.",
        )
    if not shared:
        yield about.ok(check, "casts don't get in each other's way")
