"""The pages about one account, as its tabs show them: as far as somebody's role goes."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse

from accounts.models import Membership, Role


@dataclass(frozen=True)
class Tab:
    text: str
    name: str  # of its URL
    url: str
    current: bool = False


# What each says of an account: viewers see what casts cost, as they do of each cast, and not what may be spent.
PAGES = (
    ("Usage", "account-usage", Role.VIEWER),
    ("Budget", "account-budget", Role.MEMBER),
    ("Keys", "account-keys", Role.ADMIN),
    ("Members", "account-members", Role.VIEWER),
    ("Callbacks", "account-callbacks", Role.ADMIN),
    ("Audit", "account-audit", Role.OWNER),
    ("Settings", "account-settings", Role.ADMIN),
    ("Money", "money", Role.MEMBER),
)


def tabs(membership: Membership, current: str = "") -> list[Tab]:
    """Return the tabs of an account's pages; `current` is the URL name of the page that is shown."""
    found = []
    for text, name, at_least in PAGES:
        if not Role(membership.role).includes(at_least) or (name == "money" and not settings.BILLING):
            continue
        url = reverse(name, kwargs={"account_id": membership.account_id})
        found.append(Tab(text, name, url, current == name or current.startswith(f"{name}-")))
    return found
