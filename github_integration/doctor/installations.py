"""Where the App is installed, what its owners have accepted, and whether a spell's repository is among it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from casts.models import Spell
from github_integration import errors
from github_integration.api import GitHub, Repository
from github_integration.details import AppDetails, RepositoryDetails
from github_integration.doctor.app import listed, needed, short_of
from github_integration.doctor.findings import About, Finding
from github_integration.models import PERSONAL, WorkflowTarget

UNKNOWN = "an unknown account"


def used(default: int | None, spells: Iterable[Spell]) -> list[int]:
    """Return the installations that the settings and the spells name."""
    return sorted({i for i in (default, *(WorkflowTarget.of(spell).installation_used for spell in spells)) if i})


def check(github: GitHub, app: AppDetails, number: int, spells: Iterable[Spell]) -> Iterator[Finding]:
    """Check one installation: it exists, works, and its owner has accepted what the App asks for."""
    about = About(f"Installation {number}")
    try:
        installation = github.app.installation(number)
    except errors.NotFound:
        known = ", ".join(f"{one.id} ({one.account or UNKNOWN})" for one in github.app.installations()) or "none"
        yield about.problem(
            "exists",
            f"The App has no such installation. It has: {known}.",
            hint="Set GITHUB_APP_INSTALLATION_ID, or the spell's installation_id, to one of these; or install the App "
            "(its page → Install App). The number is the end of the installation's address.",
        )
        return
    owner, page = installation.account or UNKNOWN, installation.url or "the installation's page"
    yield about.ok("exists", f"of {owner}")
    if installation.suspended_at:
        yield about.problem(
            "state",
            f"Suspended since {installation.suspended_at}: nothing can be started, and no webhooks are sent.",
            hint=f"Its owner presses “Unsuspend” at the end of {page}.",
        )
    else:
        yield about.ok("state", "not suspended")
    granted = installation.permissions
    missing = short_of(app.permissions, granted)
    if not missing:
        yield about.ok("permissions", f"{listed(granted)}; the owner has accepted all that the App asks for")
        return
    message = f"Granted is {listed(granted) or 'nothing'}; the App asks for {listed(missing)} by now."
    hint = f"The owner ({owner}) opens {page}, “Review request”, and accepts the new permissions."
    here = [spell for spell in spells if WorkflowTarget.of(spell).installation_used == number]
    if missing.keys() & short_of(needed(here), granted).keys():
        yield about.problem("permissions", f"{message} Until then GitHub refuses what needs them.", hint=hint)
    else:
        yield about.warning("permissions", f"{message} No spell here needs that.", hint=hint)


def repository_of(github: GitHub, spell: Spell) -> Repository:
    """Return a spell's repository, asked through the installation that starts it, PERSONAL also if none does."""
    target = WorkflowTarget.of(spell)
    installation = PERSONAL if github.personal_token else (target.installation_used or PERSONAL)
    return github.repository(installation, target.repository_used)


def reach(github: GitHub, about: About, spell: Spell) -> Generator[Finding, None, RepositoryDetails | None]:
    """Check that a spell's repository is there and open to us; return it, None if it isn't."""
    repository = repository_of(github, spell)
    name, number = repository.name, repository.installation
    if not name:
        hint = "Name it as owner/name in the spell's `repository`, or in GITHUB_REPOSITORY for all spells."
        yield about.problem("repository", "None is named.", hint=hint)
        return None
    if not github.personal_token:
        try:
            actual = github.app.installation_of(name).id
        except errors.NotFound:
            yield about.problem(
                "repository",
                f"The App is not installed on {name}; or there is no such repository.",
                hint=f"Compare the name. Then: the installation's page → Repository access → add {name}.",
            )
            return None
        if actual != number:
            names = f"the settings say {number}" if number else "none is set"
            hint = f"Set the spell's installation_id, or GITHUB_APP_INSTALLATION_ID, to {actual}."
            yield about.problem("repository", f"{name} belongs to installation {actual}; {names}.", hint=hint)
            return None
    try:
        found = repository.details()
    except (errors.NotFound, errors.Refused) as exc:
        whose = "GITHUB_TOKEN must be allowed to see it" if github.personal_token else "the App must be installed on it"
        yield about.problem("repository", f"{name}: GitHub: {exc}", hint=f"Compare the name; {whose}. Was it renamed?")
        return None
    yield _state(about, name, found)
    return found


def _state(about: About, name: str, found: RepositoryDetails) -> Finding:
    full_name = found.full_name or name
    if full_name.lower() != name.lower():
        return about.problem(
            "repository",
            f"{name} is called {full_name} now. GitHub forwards questions there, but no starts.",
            hint=f"Write {full_name} in the spell's `repository`, or in GITHUB_REPOSITORY.",
        )
    if found.archived:
        hint = f"{found.url or name} → Settings → Danger zone → Unarchive; or use another repository."
        return about.problem("repository", f"{name} is archived: nothing can be started there.", hint=hint)
    return about.ok("repository", full_name)
