"""What GitHub makes of an App's manifest, and what it says when it makes nothing of it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from .apps import EVENT_NEEDS, App
from .outcome_bodies import is_web_address

MAX_NAME = 34
_KEYS = {
    *("name", "url", "hook_attributes", "redirect_url", "callback_urls", "setup_url", "description", "public"),
    *("default_events", "default_permissions", "request_oauth_on_install", "setup_on_update"),
}
# Sent to every App; nobody can subscribe to them.
_UNASKED = ("installation", "installation_repositories", "installation_target", "github_app_authorization", "meta")
_WRITABLE = (
    *("actions", "actions_variables", "administration", "attestations", "checks", "codespaces", "contents"),
    *("dependabot_secrets", "deployments", "discussions", "environments", "issues", "members", "packages", "pages"),
    *("pull_requests", "repository_custom_properties", "repository_hooks", "secret_scanning_alerts", "secrets"),
    *("security_events", "single_file", "statuses", "vulnerability_alerts", "organization_administration"),
    *("organization_custom_roles", "organization_hooks", "organization_packages", "organization_secrets"),
    *("organization_self_hosted_runners", "organization_user_blocking"),
)
LEVELS = {
    **dict.fromkeys(_WRITABLE, ("read", "write")),
    "metadata": ("read",),
    "workflows": ("write",),
    "repository_projects": ("read", "write", "admin"),
    "organization_projects": ("read", "write", "admin"),
    "organization_custom_properties": ("read", "write", "admin"),
}


class BadManifest(Exception):
    """The manifest makes no App; `problems` say why, in GitHub's words where they are known."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read(text: str, owner: str, name: str | None = None) -> App:
    """Return the App that a manifest describes, without id and key. Raise BadManifest.

    `name` is what the person at the page has written in place of the manifest's.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise BadManifest(["Error: the manifest is no JSON."]) from None
    if not isinstance(given, dict):
        raise BadManifest(["Error: the manifest is not an object."])
    if problems := [*_shape(given)]:
        raise BadManifest(problems)
    permissions = dict(given.get("default_permissions") or {})
    events = list(dict.fromkeys(map(str, given.get("default_events") or [])))
    if problems := [*_subscriptions(permissions, events)]:
        raise BadManifest(problems)
    title = str(name if name is not None else given.get("name") or "").strip()
    hook = given.get("hook_attributes") or {}
    return App(
        id=0,
        slug=slug(title),
        name=title,
        owner=owner,
        client_id="",
        public_key="",
        permissions={**permissions, "metadata": "read"},
        events=events,
        url=given["url"],
        description=given.get("description") or None,
        redirect_url=given.get("redirect_url") or "",
        setup_url=given.get("setup_url") or "",
        setup_on_update=bool(given.get("setup_on_update")),
        public=bool(given.get("public", False)),
        webhook_url=hook["url"] if hook and hook.get("active", True) else "",
    )


def name_problem(name: str, taken: bool) -> str:
    """Return what is wrong with an App's name, empty if nothing is."""
    if not slug(name):
        return "Name can't be blank"
    if len(name) > MAX_NAME:
        return f"Name is too long (maximum is {MAX_NAME} characters)"
    return "Name has already been taken" if taken else ""


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _shape(given: dict[str, Any]) -> Iterator[str]:
    yield from (f'Error: "{key}" is not a permitted key.' for key in given if key not in _KEYS)
    hook = given.get("hook_attributes")
    # GitHub names the key without the object that it belongs to.
    if not given.get("url") or (hook is not None and not (isinstance(hook, dict) and hook.get("url"))):
        yield 'Error: "url" wasn\'t supplied.'
    for names, kind, said in (
        (("name", "description"), str, "a string"),
        (("public", "setup_on_update", "request_oauth_on_install"), bool, "a boolean"),
        (("default_permissions",), dict, "an object"),
        (("default_events", "callback_urls"), list, "an array"),
    ):
        for name in names:
            if given.get(name) is not None and not isinstance(given[name], kind):
                yield f"Error: {name} is not {said}."
    addresses = {key: given.get(key) for key in ("url", "redirect_url", "setup_url")}
    addresses["hook_attributes.url"] = hook.get("url") if isinstance(hook, dict) else None
    callbacks = given.get("callback_urls")
    addresses |= {f"callback_urls[{n}]": one for n, one in enumerate(callbacks if isinstance(callbacks, list) else [])}
    for key, value in addresses.items():
        if value and not (isinstance(value, str) and is_web_address(value)):
            yield f"Error: {key} must be a valid URL."


def _subscriptions(permissions: dict[str, Any], events: list[str]) -> Iterator[str]:
    for name, level in permissions.items():
        if name not in LEVELS:
            yield f"Default permission records resource is not included in the list: {name}"
        elif level not in LEVELS[name]:
            yield f"Default permission records action is not included in the list: {name}: {level}"
    unsupported = [one for one in events if one in _UNASKED or one not in EVENT_NEEDS]
    if unsupported:
        yield f"Default events unsupported: {', '.join(unsupported)}"
    lacking = [
        one for one in events if one in _UNASKED or (EVENT_NEEDS.get(one, "metadata") not in ("metadata", *permissions))
    ]
    if lacking:
        yield f"Default events are not supported by permissions: {', '.join(lacking)}"
