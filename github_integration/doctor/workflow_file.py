"""Whether a workflow file is written so that a spell's casts come right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from casts.models import Spell
from github_integration.doctor import own_inputs, scripts
from github_integration.doctor.findings import About, Finding
from github_integration.models import WorkflowTarget
from github_integration.workflow_files.reading import ENVELOPE, Input, WorkflowFile

JSON = Any
SAMPLE = ".github/workflows/spell-execution-example.yml is a sample."
Mapping, Matching = WorkflowTarget.Mapping, WorkflowTarget.Matching
WRITTEN = {
    Spell.Runtime.WORKFLOW_DISPATCH: "[cast:${{ inputs.cast_id }}]",
    Spell.Runtime.REPOSITORY_DISPATCH: "[cast:${{ github.event.client_payload.cast_id }}]",
}
UPLOADS = {"/upload-artifact": "artifact", "/spell-output": "spell-result"}  # actions, and what they name artifacts
SHOWN = 3  # mistakes of a file's jobs


def by_file(about: About, file: WorkflowFile, spell: Spell, *, keep: bool = False) -> Iterator[Finding]:
    """Check the file that a workflow_dispatch starts; `keep` what it declares, to check casts against."""
    native = WorkflowTarget.of(spell).input_mapping != Mapping.ENVELOPE
    if not file.dispatchable:
        ref = WorkflowTarget.of(spell).ref_used
        with_inputs = "" if native else f", with the inputs {', '.join(ENVELOPE)}. {SAMPLE}"
        yield about.problem(
            "trigger",
            f"{file.name} at {ref} has no `on: workflow_dispatch`, so GitHub refuses to start it.",
            hint=f"Add it{with_inputs or '.'}",
        )
        return
    yield about.ok("trigger", "workflow_dispatch")
    if native:
        yield from own_inputs.of_file(about, file, spell)
        yield own_inputs.as_known(about, file, spell, keep=keep)
    else:
        yield from _inputs(about, {given.name: given for given in file.inputs}, file, spell)
        yield from own_inputs.of_trace(about, file, spell, keep=keep)
    yield from of_every_kind(about, file, spell)


def of_every_kind(about: About, file: WorkflowFile, spell: Spell, *, of: str = "") -> Iterator[Finding]:
    """Check what counts for both kinds of start; `of` tells several files apart."""
    yield from _jobs(about, file, f"jobs{of}")
    yield _run_name(about, file, spell, f"run-name{of}")
    yield from _concurrency(about, file, spell, f"concurrency{of}")
    yield from _result(about, file, spell, f"result{of}")
    yield from scripts.of_file(about, file, spell, f"scripts{of}")


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
    runtime, target = Spell.Runtime(spell.runtime), WorkflowTarget.of(spell)
    hint = f'{file.name}: `run-name: "{spell.key} {WRITTEN[runtime]}"`, in double quotes.'
    sent = target.input_mapping != Mapping.NATIVE
    if not sent:
        hint = f"{_with_cast_id(runtime)}in {hint}"
    tag = file.tag(runtime)
    if tag and sent:
        return about.ok(check, "carries the cast's id")
    if target.matching == Matching.EXCLUSIVE:
        return about.ok(check, "not needed: one cast runs at a time, and its run is the only new one of ours")
    if tag is None and sent:
        return about.warning(
            check,
            "It names the cast's id, but whether titles will hold `[cast:<id>]`, exactly so, can't be told from it.",
            hint=hint,
        )
    why = " by its run-name, but not with the input_mapping native" if tag else ""
    lost = f"Titles of runs of {file.name} don't carry `[cast:<id>]`" if not tag else f"Titles could carry the tag{why}"
    if runtime == Spell.Runtime.REPOSITORY_DISPATCH:
        message = f"{lost}, by which alone the run that an event started can be found: casts end as dispatch_lost."
        return about.problem(check, message, hint=hint)
    return about.warning(
        check,
        f"{lost}. If GitHub's answer to a start gets lost, the run can't be found, nor proved not to exist: the cast "
        "ends as dispatch_lost, instead of being started again safely. On Enterprise Server up to 3.20 all do.",
        hint=f"{hint} Or set the spell's matching to exclusive: its casts run one at a time then.",
    )


def _with_cast_id(runtime: Spell.Runtime) -> str:
    declare = "" if runtime == Spell.Runtime.REPOSITORY_DISPATCH else "declare the input `cast_id: {type: string}`, "
    return f"If that matters: {declare}set the spell's input_mapping to native+cast_id, and write "


def _concurrency(about: About, file: WorkflowFile, spell: Spell, check: str) -> Iterator[Finding]:
    runtime = Spell.Runtime(spell.runtime)
    with_id = WorkflowTarget.of(spell).input_mapping != Mapping.NATIVE
    own = WRITTEN[runtime][6:-1] if with_id else "${{ github.run_id }}"
    shared = file.shared_groups(runtime)
    for at, one in enumerate(shared):
        yield about.warning(
            check if at == 0 else f"{check} ({one.where})",
            f"All casts share the group {one.group!r} of {one.where} in {file.name}: "
            + ("each one cancels the one that runs." if one.cancels else "one waits, and the next one cancels it."),
            hint=f"{file.name}: `group: cast-{own}`, a group for each cast. To run one at a time, "
            "set the spell's max_running to 1.",
        )
    if not shared:
        yield about.ok(check, "casts don't get in each other's way")


def _result(about: About, file: WorkflowFile, spell: Spell, check: str) -> Iterator[Finding]:
    """Say whether some step leaves the result that the spell expects, as far as that can be told."""
    artifact, must = spell.result_artifact, spell.output_schema is not None
    if not artifact or (not must and WorkflowTarget.of(spell).input_mapping == Mapping.ENVELOPE):
        return
    left = _leaves(file, artifact)
    if left:
        yield about.ok(check, f"a step uploads the artifact {artifact}")
    elif left is None or not must:
        whether = "Whether a step uploads" if left is None else "No step uploads"
        end = "can't be told from the file alone" if left is None else "so its casts have no output, only artifacts"
        yield about.ok(check, f"{whether} the artifact {artifact}{' ' if left is None else ', '}{end}")
    else:
        yield about.warning(
            check,
            f"No step of {file.name} uploads the artifact {artifact}, and the spell has an output_schema: its casts "
            "end as output_invalid.",
            hint=f"{file.name}: upload {spell.result_file} as {artifact}; or name the right artifact in the spell's "
            "result_artifact, or take the output_schema away.",
        )


def _leaves(file: WorkflowFile, artifact: str) -> bool | None:
    """Return whether a step uploads an artifact of this name; None: perhaps."""
    perhaps = False
    for job in file.jobs.values():
        perhaps = perhaps or "uses" in job  # another workflow, which is not read
        steps = job.get("steps")
        for step in steps if isinstance(steps, list) else []:
            uses = step.get("uses") if isinstance(step, dict) else None
            if not isinstance(uses, str):
                continue
            action, given = uses.partition("@")[0].lower(), step.get("with")
            default = next((name for last, name in UPLOADS.items() if action.endswith(last)), None)
            if default is None:
                perhaps = perhaps or action.startswith("./")  # one of the repository's own
                continue
            name = given.get("name", default) if isinstance(given, dict) else default
            if name == artifact:
                return True
            perhaps = perhaps or "${{" in str(name)
    return None if perhaps else False
