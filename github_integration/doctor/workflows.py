"""Whether a spell's workflow is there, may be started, and is written so that its casts come right."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from casts.models import Spell
from github_integration import errors
from github_integration.client import JSON, GitHub
from github_integration.doctor import workflow_file
from github_integration.doctor.findings import OUTAGES, About, Finding
from github_integration.doctor.installations import of_spell, reach
from github_integration.doctor.workflow_file import Unreadable, WorkflowFile

FOLDER = ".github/workflows/"
STATES = {
    "disabled_inactivity": "GitHub disabled it, because nothing happened in the repository for 60 days",
    "disabled_manually": "Somebody disabled it",
    "disabled_fork": "GitHub disabled it, because the repository is a fork",
    "deleted": "Its file was deleted from the default branch",
}


def check(github: GitHub, spell: Spell) -> Iterator[Finding]:
    """Check one spell."""
    about = About(f"Spell {spell.key}")
    if not spell.active:
        mend = "To have it castable, set its `active`."
        yield about.warning("active", "It is not active, so nobody can cast it.", mend=mend)
    try:
        repository = yield from reach(github, about, spell)
        if repository is not None:
            by_event = spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH
            yield from (_by_event if by_event else _by_file)(github, about, spell, repository)
    except OUTAGES:
        raise
    except errors.GitHubError as exc:
        mend = "See the problems above, if there are any; else docs/how-to/troubleshooting.md."
        yield about.problem("GitHub's answer", f"GitHub: {exc}", mend=mend)


def _by_file(github: GitHub, about: About, spell: Spell, repository: JSON) -> Iterator[Finding]:
    if (yield from _workflow(github, about, spell, spell.target_workflow, repository)) is None:
        return
    file = yield from _file(github, about, spell, spell.target_workflow, repository, ref=spell.target_ref)
    if file is not None:
        yield from workflow_file.by_file(about, file, spell)


def _by_event(github: GitHub, about: About, spell: Spell, repository: JSON) -> Iterator[Finding]:
    if spell.workflow_file:
        if (yield from _workflow(github, about, spell, spell.workflow_file, repository)) is None:
            return
        file = yield from _file(github, about, spell, spell.workflow_file, repository)
        if file is not None and (yield from _listens(about, file, spell)):
            yield from workflow_file.of_every_kind(about, file, spell)
        return
    files = yield from _listeners(github, about, spell, repository)
    for file in files:
        of = f" of {file.name}" if len(files) > 1 else ""
        yield from workflow_file.of_every_kind(about, file, spell, of=of)


def _workflow(
    github: GitHub, about: About, spell: Spell, name: str, repository: JSON
) -> Generator[Finding, None, JSON | None]:
    """Check that GitHub knows a workflow and would start it."""
    branch = repository.get("default_branch") or "the default branch"
    try:
        found = github.workflow(of_spell(github, spell), spell.target_repository, name)
    except errors.NotFound:
        yield about.problem(
            "workflow",
            f"{spell.target_repository} has no workflow {name} that GitHub knows of.",
            mend=f"Push {FOLDER}{name} to {branch}, its default branch; or mend the spell's `workflow_file`, or "
            "GITHUB_WORKFLOW_FILE.",
        )
        return None
    yield _active(about, name, found)
    return found


def _active(about: About, name: str, found: JSON) -> Finding:
    state = str(found.get("state") or "active")
    if state == "active":
        return about.ok("workflow", f"{name}, active")
    return about.problem(
        "workflow",
        f"{name}: {STATES.get(state, 'It is not active')} ({state}). GitHub refuses to start it.",
        mend=f"{_actions_page(found)} → {found.get('name') or name} → Enable workflow.",
    )


def _actions_page(found: JSON) -> str:
    home, cut, _ = str(found.get("html_url") or "").partition("/blob/")
    return f"{home}/actions" if cut else "The repository's page → Actions"


def _file(
    github: GitHub, about: About, spell: Spell, name: str, repository: JSON, *, ref: str = ""
) -> Generator[Finding, None, WorkflowFile | None]:
    """Read a file at a ref, blank for the default branch."""
    branch = str(repository.get("default_branch") or "")
    try:
        text = github.workflow_text(of_spell(github, spell), spell.target_repository, name, ref=ref)
        return workflow_file.read(name, text)
    except Unreadable as exc:
        yield about.problem("file", str(exc), mend=f"Mend {FOLDER}{name} on {ref or branch}.")
    except errors.NotFound as exc:
        yield about.problem(
            "file",
            f"There is no {FOLDER}{name} at {ref or branch}: GitHub: {exc}",
            mend=f"Push it there; or name the right branch or tag in the spell's `ref`, or GITHUB_WORKFLOW_REF. The "
            f"default branch is {branch}.",
        )
    except (errors.PermissionMissing, errors.Refused):
        yield _left_out(github, about)
    return None


def _left_out(github: GitHub, about: About) -> Finding:
    where = "The App's settings → Permissions & events → Contents: read-only; then accept it on the installation's page"
    if github.personal_token:
        where = "The token's settings → Repository permissions → Contents: read-only"
    return about.warning(
        "file",
        "Not checked, because we may not read it: the trigger, the inputs, run-name and concurrency. Casts don't need "
        "this permission.",
        mend=f"To have them checked: {where}. Else compare the file with the sample yourself.",
    )


def _listens(about: About, file: WorkflowFile, spell: Spell) -> Generator[Finding, None, bool]:
    if file.takes(spell.event_type):
        yield about.ok("trigger", f"{file.name} listens for {spell.event_type}")
        return True
    yield about.problem(
        "trigger",
        f"{file.name} does not listen for {spell.event_type} on the default branch, so nothing starts.",
        mend=f"{file.name}: `on: repository_dispatch: types: [{spell.event_type}]`; or mend the spell's `event_type`.",
    )
    return False


def _listeners(
    github: GitHub, about: About, spell: Spell, repository: JSON
) -> Generator[Finding, None, list[WorkflowFile]]:
    """Return the active workflows that the spell's event starts; it should be one."""
    active: list[tuple[JSON, WorkflowFile]] = []
    disabled: list[tuple[JSON, WorkflowFile]] = []
    for found in github.workflows(of_spell(github, spell), spell.target_repository):
        path = str(found.get("path") or "")
        if not path.startswith(FOLDER):  # GitHub's own, such as Dependabot's
            continue
        try:
            text = github.workflow_text(of_spell(github, spell), spell.target_repository, path.removeprefix(FOLDER))
            file = workflow_file.read(path.removeprefix(FOLDER), text)
        except (errors.NotFound, Unreadable):  # GitHub does not start those either
            continue
        except (errors.PermissionMissing, errors.Refused):
            yield _left_out(github, about)
            return []
        if file.takes(spell.event_type):
            (active if found.get("state") == "active" else disabled).append((found, file))
    names = ", ".join(file.name for _, file in active)
    if len(active) == 1:
        yield about.ok("trigger", f"{names} listens for {spell.event_type}")
    elif active:
        yield about.warning(
            "trigger",
            f"{names} all listen for {spell.event_type}: each cast starts all of them, and is bound to the first run.",
            mend="Let one only listen; or name the one that counts in the spell's `workflow_file`.",
        )
    elif disabled:
        yield _active(about, disabled[0][1].name, disabled[0][0])
    else:
        branch = repository.get("default_branch") or "the default branch"
        yield about.problem(
            "trigger",
            f"No workflow on {branch} listens for {spell.event_type}, so nothing starts, and GitHub says nothing.",
            mend=f"Push one with `on: repository_dispatch: types: [{spell.event_type}]`. "
            f"{workflow_file.SAMPLE} Or mend the spell's `event_type`.",
        )
    return [file for _, file in active]
