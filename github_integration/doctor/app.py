"""Who we are to GitHub: the App and what it may do, or the personal token."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from casts.models import Spell
from github_integration import errors
from github_integration.api import GitHub
from github_integration.details import AppDetails
from github_integration.doctor.findings import About, Finding

ABOUT = About("GitHub App")
RANK = {"read": 1, "write": 2, "admin": 3}


def credentials(github: GitHub) -> Generator[Finding, None, AppDetails | None]:
    """Prove who we are; return the App, None if there is none or it could not be asked."""
    if github.personal_token:
        yield _personal(github)
        return None
    if not github.app_id:
        yield ABOUT.problem(
            "credentials",
            "GITHUB_APP_ID is not set, nor GITHUB_TOKEN.",
            hint="Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY; `manage.py connectgithub` makes an App and sets both: "
            "docs/how-to/github-actions-setup.md, step 2.",
        )
        return None
    try:
        app = github.app.details()
    except errors.NotConfigured as exc:
        yield ABOUT.problem(
            "private key",
            str(exc),
            hint="Give GITHUB_APP_PRIVATE_KEY the absolute path of the .pem file that the App's page made under "
            "“Generate a private key”, readable by this user.",
        )
        return None
    except (errors.AuthFailed, errors.NotFound) as exc:
        yield ABOUT.ok("private key", "readable")
        yield _refused(github, exc)
        return None
    yield ABOUT.ok("private key", "readable")
    yield ABOUT.ok("GITHUB_APP_ID", f"GitHub knows us as “{app.name}” (App ID {app.id})")
    return app


def _personal(github: GitHub) -> Finding:
    about = About("Personal token")
    try:
        left = github.calls_left()
    except errors.NotFound:  # Enterprise Server without rate limits
        left = None
    except errors.AuthFailed as exc:
        return about.problem(
            "GITHUB_TOKEN",
            f"GitHub: {exc}. It is wrong, has expired, or is another server's.",
            hint="Make a new one under https://github.com/settings/personal-access-tokens, for the spells' "
            "repositories, with Actions: read and write. Or set GITHUB_APP_ID: then the token is not used.",
        )
    calls = "" if left is None else f"; {left} calls are left in this hour"
    return about.ok("GITHUB_TOKEN", f"GitHub takes it{calls}. It does not tell what the token may do")


def _refused(github: GitHub, exc: errors.GitHubError) -> Finding:
    """Explain why GitHub does not take our proof: the clock, the key, or the id."""
    if clock := exc.clock(dt.datetime.now(dt.UTC)):
        return ABOUT.problem(
            "GITHUB_APP_ID",
            f"GitHub: {exc}. {clock}, and the App's proof of who it is lives for minutes only.",
            hint="Set the clock, and keep it right with NTP (timedatectl set-ntp true). Then run the doctor again.",
        )
    if isinstance(exc, errors.AuthFailed):
        return ABOUT.problem(
            "GITHUB_APP_ID",
            f"GitHub: {exc}. The key is one, but not of the App {github.app_id}; or it was deleted there.",
            hint="Set GITHUB_APP_PRIVATE_KEY and GITHUB_APP_ID of the same App. Its page, under “Private keys”, lists "
            "the keys that count, and makes new ones.",
        )
    return ABOUT.problem(
        "GITHUB_APP_ID",
        f"GitHub: {exc}. There is no App {github.app_id} at {github.api_url}.",
        hint="Set GITHUB_APP_ID to the “App ID” at the top of the App's page. On Enterprise Server and ghe.com, "
        "GITHUB_API_URL must name that server; old ones know no client ID.",
    )


def needed(spells: Iterable[Spell]) -> dict[str, str]:
    """Return the permissions without which these spells can't be cast."""
    by_event = any(spell.runtime == Spell.Runtime.REPOSITORY_DISPATCH for spell in spells)
    return {"actions": "write", "metadata": "read"} | ({"contents": "write"} if by_event else {})


# Without these casts work; and what can't be done then.
WORTH_HAVING = {
    "checks": {
        "read": "Without it a failed cast shows its log, but neither the annotations of its step nor why GitHub ended "
        "a run that never began.",
        "write": "Without more, a commit that changes its repository's spells can't be told what became of them; it is "
        "in the admin only.",
    },
    "contents": {
        "read": "Without it no file can be read: no spells are made of workflows (importspells, the admin, a "
        "repository's own spells.toml), and what a workflow declares is not checked before a cast is accepted.",
    },
}


def short_of(wanted: Mapping[str, str], granted: Mapping[str, str]) -> dict[str, str]:
    """Return those of the wanted permissions that are not granted to that extent."""
    return {name: level for name, level in wanted.items() if RANK.get(granted.get(name, ""), 0) < RANK.get(level, 0)}


def listed(permissions: Mapping[str, str]) -> str:
    """Write permissions as GitHub does: `actions: write`."""
    return ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))


def permissions(app: AppDetails, spells: Iterable[Spell], *, of_many: bool = False) -> Iterator[Finding]:
    """Compare what the App asks of those who install it with what the spells need; `of_many`: there are others."""
    asked, wanted = app.permissions, needed(spells)
    page = f"{settings_page(app)} → Permissions & events → Repository permissions"
    for name, level in (missing := short_of(wanted, asked)).items():
        why = {
            "actions": "Without it no workflow can be started or followed.",
            "contents": "GitHub counts sending a repository_dispatch event as writing.",
        }.get(name, "GitHub requires it of every App.")
        yield ABOUT.problem(
            f"permission {name}",
            f"The App asks for {name}: {asked.get(name, 'nothing')}, and needs {level}. {why}",
            hint=f"{page}: {name.capitalize()}, {_access(level)}. Then accept the change on each installation's page.",
        )
    for name in wanted:
        if name not in missing:
            yield ABOUT.ok(f"permission {name}", asked[name])
    for name in WORTH_HAVING:
        if name not in wanted:
            yield _worth(name, asked, page, too_much=not of_many)


def _worth(name: str, asked: Mapping[str, str], page: str, *, too_much: bool) -> Finding:
    """Say what an App without a permission, or with less of it, can't do; or with more, need not."""
    if too_much and name == "contents" and not short_of({"contents": "write"}, asked):
        return ABOUT.warning(
            "permission contents",
            "The App may change files, and no spell needs that: only repository_dispatch does.",
            hint=f"{page}: Contents, read-only.",
        )
    for level, without in WORTH_HAVING[name].items():
        told_otherwise = level == "write" and not short_of({"statuses": "write"}, asked)
        if short_of({name: level}, asked) and not told_otherwise:
            hint = f"{page}: {name.capitalize()}, {_access(max(WORTH_HAVING[name], key=RANK.__getitem__))}. "
            return ABOUT.warning(
                f"permission {name}", without, hint=f"{hint}Then accept it on each installation's page."
            )
    return ABOUT.ok(f"permission {name}", asked[name])


def _access(level: str) -> str:
    return "read and write" if level == "write" else "read-only"


def settings_page(app: AppDetails) -> str:
    """Return the address of the App's settings, or words for it where GitHub doesn't say enough."""
    page = urlsplit(app.url)
    if not (app.owner and app.slug and page.netloc):
        return "The App's settings"
    of = f"/organizations/{app.owner}" if app.owned_by_organization else ""
    return f"{page.scheme}://{page.netloc}{of}/settings/apps/{app.slug}"
