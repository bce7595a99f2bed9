"""The manifest of our GitHub App, and where it is sent. docs/github-app-manifest.json is made of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

NAME_CHARS = 34  # GitHub's limit
LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")
WEBHOOK_PATH, INSTALLED_PATH = "/api/webhooks/github", "/github/installed/"
PERMISSIONS = {
    "actions": "write",  # start workflows, follow and cancel runs
    "checks": "write",  # read annotations; tell a commit what became of its spells
    "contents": "read",  # workflow files, and the repository's own spells
    "metadata": "read",  # GitHub requires it of every App
}
EVENTS = ["push", "workflow_job", "workflow_run"]


class BadAnswer(ValueError):
    """Something that was given can't be used; str() says what, and how it should be."""


@dataclass(frozen=True)
class Asked:
    """What App somebody wants, and at which GitHub. Raise BadAnswer."""

    github: str = "https://github.com"
    organization: str = ""
    name: str = "Spell Platform"
    public_url: str = ""
    webhooks: bool = True
    repository_dispatch: bool = False

    def __post_init__(self) -> None:
        if origin_of(self.github) != self.github:
            raise BadAnswer("GitHub's address must be scheme and host alone, such as https://github.com.")
        if self.github.startswith("http://") and not is_local(self.github):
            raise BadAnswer("GitHub's address must begin with https://: the App's private key comes from there.")
        if self.organization and not LOGIN.fullmatch(self.organization):
            raise BadAnswer("The organization must be its name in GitHub's addresses, such as acme.")
        if not self.name.strip() or len(self.name) > NAME_CHARS or not self.name.isprintable():
            raise BadAnswer(f"The App's name must have 1 to {NAME_CHARS} characters.")
        if self.public_url and origin_of(self.public_url) != self.public_url:
            raise BadAnswer(
                "The public address must be scheme, host and port alone, such as https://spells.example.com."
            )

    def as_kept(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def api_url(self) -> str:
        """Where this GitHub's API is. On this machine it is the local GitHub, whose pages and API share an address."""
        host = urlsplit(self.github).netloc
        if host == "github.com" or host.endswith(".ghe.com"):
            return f"https://api.{host}"
        return self.github if is_local(self.github) else f"{self.github}/api/v3"

    @property
    def owner_path(self) -> str:
        return f"/organizations/{self.organization}" if self.organization else ""

    @property
    def apps_page(self) -> str:
        """The page that lists the owner's Apps."""
        return f"{self.github}{self.owner_path}/settings/apps"

    def form_action(self, state: str) -> str:
        """Return where the form with the manifest goes."""
        return f"{self.apps_page}/new?state={state}"

    def manifest(self, redirect_url: str) -> dict[str, Any]:
        """Return what GitHub makes the App of.

        Without webhooks neither `hook_attributes` nor events are named: GitHub refuses an address that it can't reach,
        active or not, and events without one.
        """
        made: dict[str, Any] = {
            "name": self.name,
            "description": "Starts the workflows that Spell Platform hands out, and follows their runs.",
            "url": self.public_url if not is_local(self.public_url) and self.public_url else self.homepage,
            "public": False,
        }
        if self.webhooks:
            made["hook_attributes"] = {"url": self.public_url + WEBHOOK_PATH, "active": True}
        made["redirect_url"] = redirect_url
        if self.public_url:
            made |= {"setup_url": self.public_url + INSTALLED_PATH, "setup_on_update": True}
        contents = {"contents": "write"} if self.repository_dispatch else {}
        made["default_permissions"] = PERMISSIONS | contents
        return made | ({"default_events": EVENTS} if self.webhooks else {})

    @property
    def homepage(self) -> str:
        """What stands for our own address where that is nobody else's to open."""
        return f"{self.github}/{self.organization}" if self.organization else self.github


def github_of(api_url: str) -> str:
    """Return the address of a GitHub's pages, given that of its API."""
    origin = origin_of(api_url)
    host = urlsplit(origin).netloc
    if host.startswith("api.") and (host == "api.github.com" or host.endswith(".ghe.com")):
        return f"https://{host.removeprefix('api.')}"
    return origin


def origin_of(url: str) -> str:
    """Return scheme, host and port of a web address in lower case, blank if it is none."""
    try:
        parts = urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.lower()}" if known and re.fullmatch(r"[\w.:\[\]-]+", parts.netloc) else ""


def is_local(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = (urlsplit(url).hostname or "").lower()
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
