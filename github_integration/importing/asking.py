"""What GitHub has to import from: a repository, its workflows, and the spell that each would make."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from core.db.documents import written
from github_integration import errors
from github_integration.api import GitHub, Repository, github
from github_integration.details import EnvironmentDetails, InstallationDetails, RepositoryDetails, WorkflowDetails
from github_integration.models import PERSONAL
from github_integration.workflow_files.reading import Unreadable, WorkflowFile, read
from github_integration.workflow_files.schema import Draft, draft_of, one_line

FOLDER = ".github/workflows/"
FULL_NAME = re.compile(r"(?:(?:https?://|git@)[^/\s:]+[/:])?([\w.-]+/[\w.-]+?)(?:\.git)?/?")
COMMIT = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
FILE = re.compile(r"[\w.-]+\.ya?ml")  # what a spell's workflow_file can be
LISTED = 10  # names in a message
STATES = {
    "disabled_inactivity": "GitHub disabled it after 60 days without activity",
    "disabled_manually": "somebody disabled it",
    "disabled_fork": "GitHub disabled it, as in every fork",
    "deleted": "it was deleted from the default branch",
}


class ImportFailed(Exception):
    """Nothing can be imported; the text says why, and what to do about it."""


@dataclass(frozen=True)
class Workflow:
    """One workflow: the spell that it would make, or why none."""

    file: str
    draft: Draft | None
    left_out: str = ""

    @property
    def fingerprint(self) -> str:
        """Return what tells whether the file says today what it said when somebody looked."""
        draft = self.draft
        told = (
            "" if draft is None else written([draft.name, draft.description, draft.input_schema, draft.input_mapping])
        )
        return hashlib.sha256(told.encode(errors="replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """A repository as it was read. `notes`: what is worth knowing about it."""

    repository: str  # its name today
    asked: str  # the name it was asked for by; another one if it was renamed
    ref: str
    installation: int | None  # None: asked with a personal token
    url: str
    workflows: tuple[Workflow, ...]
    notes: tuple[str, ...]


def read_source(repository: str, ref: str = "", *, files: Collection[str] = (), most: int | None = None) -> Source:
    """Read a repository's workflows at a branch or tag, blank: its default branch. Raise ImportFailed.

    files: only these; most: no more than so many are read, one call each.
    """
    name = name_of(repository)
    if COMMIT.fullmatch(ref):
        raise ImportFailed(f"{ref} is a commit, and GitHub starts no workflow at one. Name a branch or a tag.")
    try:
        return _read(name, ref, files=[file.removeprefix(FOLDER) for file in files], most=most)
    except errors.RateLimited as exc:
        when = f" Come back after {exc.retry_at:%Y-%m-%d %H:%M:%S} UTC." if exc.retry_at else " Come back in a while."
        raise ImportFailed(f"GitHub takes no more questions for now: {exc}.{when}") from exc
    except (errors.Unavailable, errors.NotSent) as exc:
        raise ImportFailed(f"{str(exc).rstrip('.')}. Try again in a while.") from exc
    except errors.GitHubError as exc:
        raise ImportFailed(f"GitHub: {str(exc).rstrip('.')}. “manage.py doctor” says more.") from exc


def name_of(repository: str) -> str:
    """Return owner/name, also of a repository's address. Raise ImportFailed."""
    if (found := FULL_NAME.fullmatch(repository.strip())) is None or len(found[1]) > 140:
        raise ImportFailed(f"{repository[:80]!r} is no repository: write owner/name.")
    return found[1]


def _read(name: str, ref: str, *, files: list[str], most: int | None) -> Source:
    hub = github()
    installation = None if hub.personal_token else _installation(hub, name)
    repository = hub.repository(installation or PERSONAL, name)
    found = _details(hub, repository)
    today = found.full_name or name
    notes = []
    if today.lower() != name.lower():
        notes.append(f"{name} is called {today} now; spells that name it as it was can't be cast: correct them.")
        repository = hub.repository(installation or PERSONAL, today)
    at = ref or found.default_branch or "main"
    known = [one for one in repository.workflows() if one.path.startswith(FOLDER)]  # not GitHub's own
    if missing := sorted(set(files) - {_file(one) for one in known}):
        there = ", ".join(sorted(_file(one) for one in known)) or "none"
        raise ImportFailed(
            f"{today} has no workflow {', '.join(missing)} that GitHub knows of. It has: {there}. A workflow is known "
            f"once its file is on the default branch, {found.default_branch}."
        )
    asked = sorted((one for one in known if not files or _file(one) in files), key=_file)
    if most is not None and len(asked) > most:
        notes.append(f"It has {len(asked)} workflows; these are the first {most}. Name others to have them read.")
        asked = asked[:most]
    read_files = [_one(repository, one, at) for one in asked]
    environments = _environments(repository, [file for file, _ in read_files if file is not None])
    return Source(
        repository=today,
        asked=name,
        ref=at,
        installation=installation,
        url=found.url,
        workflows=tuple(
            Workflow(
                _file(one), None if file is None or why else draft_of(file, environments=environments), left_out=why
            )
            for one, (file, why) in zip(asked, read_files, strict=True)
        ),
        notes=tuple(notes),
    )


def _installation(hub: GitHub, name: str) -> int:
    try:
        found = hub.app.installation_of(name)
    except errors.NotFound as exc:
        known = hub.app.installations()
        accounts = ", ".join(one.account or str(one.id) for one in known) or "nobody's account"
        raise ImportFailed(
            f"The App is not installed on {name}, or there is no such repository. It is installed on: {accounts}."
            f"{_beside(hub, name, known)} Compare the name; then add the repository on the installation's page, "
            "“Repository access”."
        ) from exc
    if found.suspended_at:
        raise ImportFailed(
            f"The App's installation on {found.account} is suspended since {found.suspended_at}: its owner presses "
            f"“Unsuspend” at the end of {found.url or 'its page'}."
        )
    return found.id


def _beside(hub: GitHub, name: str, known: list[InstallationDetails]) -> str:
    """Say which repositories of the same owner the App is installed on, if it is on any."""
    owner = name.partition("/")[0].lower()
    one = next((one for one in known if one.account.lower() == owner and not one.suspended_at), None)
    if one is None:
        return ""
    try:
        names = [listed.full_name for listed in next(iter(hub.repositories(one.id)), [])]
    except errors.GitHubError:
        return ""  # only a help
    return f" There it opens {', '.join(names[:LISTED])}{' and more' if names[LISTED:] else ''}." if names else ""


def _details(hub: GitHub, repository: Repository) -> RepositoryDetails:
    try:
        found = repository.details()
    except (errors.NotFound, errors.PermissionMissing, errors.Refused) as exc:
        whose = "GITHUB_TOKEN must be allowed to see it" if hub.personal_token else "the App must be installed on it"
        said = str(exc).rstrip(".")
        raise ImportFailed(
            f"{repository.name}: GitHub: {said}. Compare the name; {whose}. Was it renamed? Then give its new name."
        ) from exc
    if found.archived:
        raise ImportFailed(
            f"{found.full_name} is archived: nothing can be started there. Unarchive it in its settings."
        )
    return found


def _file(workflow: WorkflowDetails) -> str:
    return workflow.path.removeprefix(FOLDER)


def _one(repository: Repository, workflow: WorkflowDetails, ref: str) -> tuple[WorkflowFile | None, str]:
    """Return a workflow's file, or why no spell can be made of it."""
    name = _file(workflow)
    if workflow.state != "active":
        return (
            None,
            f"{STATES.get(workflow.state, 'it is not active')} ({workflow.state}); enable it on its Actions page",
        )
    if not FILE.fullmatch(name):
        return None, "its file's name can't be written in a spell: only letters, digits, dots, dashes and _"
    try:
        file = read(name, repository.workflow_text(name, ref=ref))
    except Unreadable as exc:
        return None, one_line(str(exc))[:300]
    except errors.NotFound as exc:
        if "No commit found" in str(exc):
            raise ImportFailed(f"{repository.name} has no branch or tag {ref!r}.") from exc
        return None, f"it is not there at {ref}"
    except (errors.PermissionMissing, errors.Refused) as exc:
        where = "The App's settings → Permissions & events → Contents: read-only; then accept it on the installation"
        if repository.github.personal_token:
            where = "The token's settings → Repository permissions → Contents: read-only"
        raise ImportFailed(f"We may not read files of {repository.name}. {where}.") from exc
    return (file, "") if file.dispatchable else (None, "it has no `on: workflow_dispatch`")


def _environments(repository: Repository, files: list[WorkflowFile]) -> list[EnvironmentDetails] | None:
    """Return the repository's environments if a file has to do with one; None: not asked, or not told."""
    inputs = any(given.type == "environment" for file in files for given in file.inputs)
    if not inputs and not any("environment" in job for file in files for job in file.jobs.values()):
        return None
    try:
        return repository.environments()
    except (errors.NotFound, errors.PermissionMissing, errors.Refused):
        return None
