"""What GitHub says of an App, its installations and webhook, a repository and its workflows: what `doctor` judges by.

Reads only what we use, and takes whatever is missing or odd for blank. Pure: no network.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from github_integration.wire import JSON, parse_time, plain

NAME_CHARS = 140  # of owner/name, that the database holds


@dataclass(frozen=True)
class AppDetails:
    """The App that we are. `permissions` and `events`: what it asks of those who install it."""

    id: int
    name: str
    slug: str
    owner: str
    owned_by_organization: bool
    url: str
    permissions: dict[str, str]
    events: tuple[str, ...]


def app_details(app: JSON) -> AppDetails:
    owner = _mapping(app.get("owner"))
    return AppDetails(
        id=_number(app.get("id")),
        name=plain(app.get("name")),
        slug=plain(app.get("slug")),
        owner=plain(owner.get("login")),
        owned_by_organization=owner.get("type") == "Organization",
        url=plain(app.get("html_url")),
        permissions=_permissions(app.get("permissions")),
        events=tuple(plain(event) for event in app.get("events") or ()),
    )


@dataclass(frozen=True)
class NewApp:
    """An App that was just made, with its credentials, which GitHub tells this once."""

    id: int
    name: str
    slug: str
    url: str
    pem: str = field(repr=False)
    webhook_secret: str = field(repr=False)


def new_app(app: JSON) -> NewApp:
    return NewApp(
        id=_number(app.get("id")),
        name=plain(app.get("name")),
        slug=plain(app.get("slug")),
        url=plain(app.get("html_url")),
        pem=plain(app.get("pem")),
        webhook_secret=plain(app.get("webhook_secret")),
    )


@dataclass(frozen=True)
class InstallationDetails:
    """One installation of the App. `suspended_at` as GitHub writes it, blank if it is not suspended."""

    id: int
    account: str
    url: str
    suspended_at: str
    permissions: dict[str, str]


def installation_details(installation: JSON) -> InstallationDetails:
    account = _mapping(installation.get("account"))
    return InstallationDetails(
        id=_number(installation.get("id")),
        account=plain(account.get("login") or account.get("slug")),  # an enterprise has no login
        url=plain(installation.get("html_url")),
        suspended_at=plain(installation.get("suspended_at")),
        permissions=_permissions(installation.get("permissions")),
    )


@dataclass(frozen=True)
class HookConfig:
    """The App's webhook; GitHub masks the secret. Without a webhook everything is blank."""

    url: str = ""
    content_type: str = ""
    certificate_checked: bool = True
    has_secret: bool = False


def hook_config(config: JSON) -> HookConfig:
    return HookConfig(
        url=plain(config.get("url")),
        content_type=plain(config.get("content_type")),
        certificate_checked=str(config.get("insecure_ssl") or "0") == "0",  # comes as text or as a number
        has_secret=bool(config.get("secret")),
    )


@dataclass(frozen=True)
class RepositoryDetails:
    full_name: str
    default_branch: str
    archived: bool
    url: str


def repository_details(repository: JSON) -> RepositoryDetails:
    return RepositoryDetails(
        full_name=plain(repository.get("full_name")),
        default_branch=plain(repository.get("default_branch")),
        archived=bool(repository.get("archived")),
        url=plain(repository.get("html_url")),
    )


@dataclass(frozen=True)
class ListedRepository:
    """One of an installation's repositories. `number` outlives its name."""

    number: int
    full_name: str
    default_branch: str
    pushed_at: dt.datetime | None


def listed_repository(repository: JSON) -> ListedRepository | None:
    """Return what a list, or a webhook, says of a repository; None if it can't be read."""
    number, name = _number(repository.get("id")), plain(repository.get("full_name"))
    if number <= 0 or "/" not in name or len(name) > NAME_CHARS:
        return None
    branch = plain(repository.get("default_branch"))
    return ListedRepository(number, name, branch, parse_time(repository.get("pushed_at")))


@dataclass(frozen=True)
class Entry:
    """What a folder of a repository holds: a "file", a "dir", or something else. `id` is that of its content."""

    name: str
    path: str
    kind: str
    size: int
    id: str


def entry(listed: JSON) -> Entry:
    return Entry(
        name=plain(listed.get("name")),
        path=plain(listed.get("path")),
        kind=plain(listed.get("type")),
        size=_number(listed.get("size")),
        id=plain(listed.get("sha")),
    )


def file_content(file: JSON, *, most_bytes: int) -> bytes:
    """Return the bytes of a file. Raise ValueError, whose text says why there are none."""
    if file.get("type") != "file":
        raise ValueError("it is no file")
    if _number(file.get("size")) > most_bytes:
        raise ValueError(f"it has {file['size']:,} bytes; {most_bytes:,} are read at most")
    if file.get("encoding") != "base64":
        raise ValueError("GitHub shows no content of it")
    return base64.b64decode(plain(file.get("content")))


@dataclass(frozen=True)
class CheckRun:
    """A check run on a commit; `key` is what whoever made it calls it."""

    id: int
    key: str
    annotations: int


def check_run(shown: JSON) -> CheckRun:
    count = _number(_mapping(shown.get("output")).get("annotations_count"))
    return CheckRun(_number(shown.get("id")), plain(shown.get("external_id")), count)


@dataclass(frozen=True)
class WorkflowDetails:
    """One workflow. `state` is "active", or says why GitHub won't start it."""

    name: str
    path: str
    state: str
    url: str


def workflow_details(workflow: JSON) -> WorkflowDetails:
    return WorkflowDetails(
        name=plain(workflow.get("name")),
        path=plain(workflow.get("path")),
        state=plain(workflow.get("state"), "active"),
        url=plain(workflow.get("html_url")),
    )


@dataclass(frozen=True)
class EnvironmentDetails:
    """One environment of a repository. `keeps_waiting`: what a run in it has to wait for, blank if for nothing."""

    name: str
    keeps_waiting: str


def environment_details(environment: JSON) -> EnvironmentDetails:
    rules = [_mapping(rule) for rule in environment.get("protection_rules") or ()]
    waits = []
    if any(rule.get("type") == "required_reviewers" for rule in rules):
        waits.append("a reviewer's approval")
    if minutes := max((_number(rule.get("wait_timer")) for rule in rules), default=0):
        waits.append(f"{minutes} minutes")
    return EnvironmentDetails(name=plain(environment.get("name")), keeps_waiting=" and ".join(waits))


def calls_left(rate_limits: JSON) -> int | None:
    """Return how many calls of the primary limit are left, None if the answer doesn't tell."""
    left = _mapping(_mapping(rate_limits.get("resources")).get("core")).get("remaining")
    return left if isinstance(left, int) else None


def _mapping(value: JSON) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: JSON) -> int:
    return value if isinstance(value, int) else 0


def _permissions(value: JSON) -> dict[str, str]:
    return {plain(name): plain(level) for name, level in _mapping(value).items()}
