"""Whether a spell's workflow is there, may be started, and is written so that its casts come right."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from casts.models import Spell
from github_integration import errors
from github_integration.api import GitHub, Repository
from github_integration.details import RepositoryDetails, WorkflowDetails
from github_integration.doctor import own_inputs, workflow_file
from github_integration.doctor.findings import OUTAGES, About, Finding
from github_integration.doctor.installations import reach, repository_of
from github_integration.models import WorkflowTarget
from github_integration.workflow_files import reading
from github_integration.workflow_files.reading import Unreadable, WorkflowFile

FOLDER = ".github/workflows/"
STATES = {
    "disabled_inactivity": "GitHub disabled it, because nothing happened in the repository for 60 days",
    "disabled_manually": "Somebody disabled it",
    "disabled_fork": "GitHub disabled it, because the repository is a fork",
    "deleted": "Its file was deleted from the default branch",
}


def check(github: GitHub, spell: Spell, *, keep: bool = False) -> Iterator[Finding]:
    """Check one spell; `keep` what its workflow declares, to check casts against: all else only reads."""
    about = About(f"Spell {spell.key}")
    if not spell.active:
        hint = "To have it castable, set its `active`."
        yield about.warning("active", "It is not active, so nobody can cast it.", hint=hint)
    try:
        found = yield from reach(github, about, spell)
        if found is not None:
            repository = repository_of(github, spell)
            if spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH:
                yield from _by_event(repository, about, spell, found)
            else:
                yield from _by_file(repository, about, spell, found, keep=keep)
    except OUTAGES:
        raise
    except errors.GitHubError as exc:
        hint = "See the problems above, if there are any; else docs/how-to/troubleshooting.md."
        yield about.problem("GitHub's answer", f"GitHub: {exc}", hint=hint)


def _by_file(
    repository: Repository, about: About, spell: Spell, found: RepositoryDetails, *, keep: bool
) -> Iterator[Finding]:
    target = WorkflowTarget.of(spell)
    if not (yield from _workflow(repository, about, target.workflow_used, found)):
        return
    file = yield from _file(repository, about, target.workflow_used, found, ref=target.ref_used)
    if file is not None:
        yield from workflow_file.by_file(about, file, spell, keep=keep)


def _by_event(repository: Repository, about: About, spell: Spell, found: RepositoryDetails) -> Iterator[Finding]:
    if WorkflowTarget.of(spell).input_mapping != WorkflowTarget.Mapping.ENVELOPE:
        yield from own_inputs.of_event(about, spell)
    if name := WorkflowTarget.of(spell).workflow_file:
        if not (yield from _workflow(repository, about, name, found)):
            return
        file = yield from _file(repository, about, name, found)
        if file is not None and (yield from _listens(about, file, spell)):
            yield from workflow_file.of_every_kind(about, file, spell)
        return
    files = yield from _listeners(repository, about, spell, found)
    for file in files:
        of = f" of {file.name}" if len(files) > 1 else ""
        yield from workflow_file.of_every_kind(about, file, spell, of=of)


def _workflow(
    repository: Repository, about: About, name: str, found: RepositoryDetails
) -> Generator[Finding, None, bool]:
    """Check that GitHub knows a workflow and would start it; return whether it knows it."""
    branch = found.default_branch or "the default branch"
    try:
        workflow = repository.workflow(name)
    except errors.NotFound:
        yield about.problem(
            "workflow",
            f"{repository.name} has no workflow {name} that GitHub knows of.",
            hint=f"Push {FOLDER}{name} to {branch}, its default branch; or correct the spell's `workflow_file`, or "
            "GITHUB_WORKFLOW_FILE.",
        )
        return False
    yield _active(about, name, workflow)
    return True


def _active(about: About, name: str, workflow: WorkflowDetails) -> Finding:
    if workflow.state == "active":
        return about.ok("workflow", f"{name}, active")
    return about.problem(
        "workflow",
        f"{name}: {STATES.get(workflow.state, 'It is not active')} ({workflow.state}). GitHub refuses to start it.",
        hint=f"{_actions_page(workflow)} → {workflow.name or name} → Enable workflow.",
    )


def _actions_page(workflow: WorkflowDetails) -> str:
    home, cut, _ = workflow.url.partition("/blob/")
    return f"{home}/actions" if cut else "The repository's page → Actions"


def _file(
    repository: Repository, about: About, name: str, found: RepositoryDetails, *, ref: str = ""
) -> Generator[Finding, None, WorkflowFile | None]:
    """Read a file at a ref, blank for the default branch."""
    branch = found.default_branch
    try:
        return reading.read(name, repository.workflow_text(name, ref=ref))
    except Unreadable as exc:
        yield about.problem("file", str(exc), hint=f"Correct {FOLDER}{name} on {ref or branch}.")
    except errors.NotFound as exc:
        yield about.problem(
            "file",
            f"There is no {FOLDER}{name} at {ref or branch}: GitHub: {exc}",
            hint=f"Push it there; or name the right branch or tag in the spell's `ref`, or GITHUB_WORKFLOW_REF. The "
            f"default branch is {branch}.",
        )
    except (errors.PermissionMissing, errors.Refused):
        yield _left_out(repository.github, about)
    return None


def _left_out(github: GitHub, about: About) -> Finding:
    where = "The App's settings → Permissions & events → Contents: read-only; then accept it on the installation's page"
    if github.personal_token:
        where = "The token's settings → Repository permissions → Contents: read-only"
    return about.warning(
        "file",
        "Not checked, because we may not read it: the trigger, the inputs, run-name and concurrency. Casts don't need "
        "this permission.",
        hint=f"To have them checked: {where}. Else see yourself that the file is as docs/how-to/write-a-spell.md says.",
    )


def _listens(about: About, file: WorkflowFile, spell: Spell) -> Generator[Finding, None, bool]:
    event_type = WorkflowTarget.of(spell).event_type
    if file.takes(event_type):
        yield about.ok("trigger", f"{file.name} listens for {event_type}")
        return True
    yield about.problem(
        "trigger",
        f"{file.name} does not listen for {event_type} on the default branch, so nothing starts.",
        hint=f"{file.name}: `on: repository_dispatch: types: [{event_type}]`; or correct the spell's `event_type`.",
    )
    return False


def _listeners(
    repository: Repository, about: About, spell: Spell, found: RepositoryDetails
) -> Generator[Finding, None, list[WorkflowFile]]:
    """Return the active workflows that the spell's event starts; it should be one."""
    active: list[WorkflowFile] = []
    disabled: list[tuple[WorkflowDetails, WorkflowFile]] = []
    for workflow in repository.workflows():
        if not workflow.path.startswith(FOLDER):  # GitHub's own, such as Dependabot's
            continue
        name = workflow.path.removeprefix(FOLDER)
        try:
            file = reading.read(name, repository.workflow_text(name))
        except (errors.NotFound, Unreadable):  # GitHub does not start those either
            continue
        except (errors.PermissionMissing, errors.Refused):
            yield _left_out(repository.github, about)
            return []
        if not file.takes(WorkflowTarget.of(spell).event_type):
            continue
        if workflow.state == "active":
            active.append(file)
        else:
            disabled.append((workflow, file))
    yield from _trigger(about, spell, active, disabled, found.default_branch or "the default branch")
    return active


def _trigger(
    about: About,
    spell: Spell,
    active: list[WorkflowFile],
    disabled: list[tuple[WorkflowDetails, WorkflowFile]],
    branch: str,
) -> Iterator[Finding]:
    names, event_type = ", ".join(file.name for file in active), WorkflowTarget.of(spell).event_type
    if len(active) == 1:
        yield about.ok("trigger", f"{names} listens for {event_type}")
    elif active:
        yield about.warning(
            "trigger",
            f"{names} all listen for {event_type}: each cast starts all of them, and is bound to the first run.",
            hint="Let one only listen; or name the one that counts in the spell's `workflow_file`.",
        )
    elif disabled:
        workflow, file = disabled[0]
        yield _active(about, file.name, workflow)
    else:
        yield about.problem(
            "trigger",
            f"No workflow on {branch} listens for {event_type}, so nothing starts, and GitHub says nothing.",
            hint=f"Push one with `on: repository_dispatch: types: [{event_type}]`. "
            f"{workflow_file.SAMPLE} Or correct the spell's `event_type`.",
        )
