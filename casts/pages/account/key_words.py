"""What the pages about API keys say."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey
from casts.models import Spell
from casts.pages.account.key_forms import OVERLAPS
from core import limits

DEEPEST = 5  # steps by which a key is shown below its maker
ENDED_SHOWN = 50


class KeysPage:
    """All keys of an account: the valid ones as a tree, and the newest of those that ended."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @cached_property
    def all(self) -> list[ApiKey]:
        newest = ApiKey.objects.filter(account=self.account).select_related("created_by_user", "created_by_key")
        return list(newest.order_by("-pk")[: limits.KEYS_SHOWN])

    @property
    def valid(self) -> list[dict[str, Any]]:
        """Return the valid keys, each after its maker, if that is valid too."""
        rows = [key for key in self.all if key.usable]
        here = {key.pk for key in rows}
        below: dict[int | None, list[ApiKey]] = defaultdict(list)
        for key in rows:
            below[key.created_by_key_id if key.created_by_key_id in here else None].append(key)
        found: list[dict[str, Any]] = []
        left = [(key, 0) for key in reversed(below[None])]
        while left:
            key, depth = left.pop()
            found.append(line(key) | {"depth": min(depth, DEEPEST)})
            left += [(child, depth + 1) for child in reversed(below[key.pk])]
        return found

    @property
    def ended(self) -> list[dict[str, Any]]:
        return [line(key) for key in self.all if not key.usable][:ENDED_SHOWN]


class KeyPage:
    """One key."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    @property
    def line(self) -> dict[str, Any]:
        return line(self.key)

    @property
    def scopes(self) -> list[tuple[str, str]]:
        return [(scope, SCOPES.get(scope, scope)) for scope in self.key.scopes]

    @property
    def spells(self) -> list[str]:
        """Return the names of the spells that it is limited to."""
        wanted = self.key.spell_keys or []
        names = Spell.objects.names(wanted)
        return [names.get(key, key) for key in wanted]

    @cached_property
    def below(self) -> list[ApiKey]:
        """Return its valid descendants."""
        return keys.usable_below([self.key])

    @property
    def rotates(self) -> bool:
        return self.key.usable and self.key.replaced_by_id is None

    @property
    def overlaps(self) -> list[tuple[str, str]]:
        return [(name, overlap.text) for name, overlap in OVERLAPS.items()]


def line(key: ApiKey) -> dict[str, Any]:
    scopes = "everything" if set(key.scopes) == set(SCOPES) else ", ".join(key.scopes)
    spells = "every spell" if key.spell_keys is None else ", ".join(key.spell_keys[:3])
    more = len(key.spell_keys or ()) - 3
    return {
        "key": key,
        "scopes": scopes,
        "spells": f"{spells} and {more} more" if more > 0 else spells or "no spell",
        "maker": maker(key),
        "state": "revoked" if key.revoked_at else "valid" if key.usable else "expired",
        "soon": bool(key.usable and key.expires_at and (key.expires_at - timezone.now()).days < 7),
    }


def maker(key: ApiKey) -> str:
    """Return who made a key; an operator without the name, as over the API."""
    if key.created_by_key is not None:
        return f"key {key.created_by_key.name}"
    if key.created_by_user is not None:
        return "an operator" if key.created_by_user.is_staff else key.created_by_user.get_username()
    return "the command line"
