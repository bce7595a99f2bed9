"""Who may come: each kind of key, link and user, with what it may do by the rules and not by the code."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, Membership
from casts import links
from casts.models import Cast


@dataclass(frozen=True)
class Identity:
    """One who asks. What is not said is not allowed."""

    name: str
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    user: User | None = None
    # By the rules:
    known: bool = False  # a usable key
    scopes: frozenset[str] = frozenset()
    same_account: bool = True  # as what is asked for
    other_spells: bool = False  # a key for spells that are not asked for
    opens_cast: bool = False  # a link of the cast
    shows_link: bool = False  # some link, good or bad
    role: str = ""
    permissions: frozenset[str] = frozenset()  # of staff
    staff: bool = False
    everything: bool = False  # superuser

    def __str__(self) -> str:
        return self.name


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def of_keys(account: Account, other: Account) -> list[Identity]:
    """Return an identity for each scope, and for each way in which a key can be less than it was."""
    every = frozenset(SCOPES)

    def key(name: str, scopes: frozenset[str], of: Account = account, **more: Any) -> tuple[Any, str]:
        return keys.create(of, name=name, scopes=sorted(scopes), **more)

    made = [
        Identity(f"key with {scope}", bearer(key(scope, frozenset({scope}))[1]), known=True, scopes=frozenset({scope}))
        for scope in SCOPES
    ]
    made.append(Identity("key with every scope", bearer(key("all", every)[1]), known=True, scopes=every))
    for scope in sorted(every):
        others = every - {scope}
        made.append(Identity(f"key without {scope}", bearer(key("most", others)[1]), known=True, scopes=others))
    limited = bearer(key("limited", every, spell_keys=["another"])[1])
    made.append(Identity("key of other spells", limited, known=True, scopes=every, other_spells=True))
    foreign = bearer(key("foreign", every, of=other)[1])
    made.append(Identity("key of another account", foreign, known=True, scopes=every, same_account=False))
    revoked, secret = key("revoked", every)
    keys.revoke(revoked)
    made.append(Identity("revoked key", bearer(secret)))
    expired, secret = key("expired", every)
    expired.expires_at = timezone.now() - dt.timedelta(seconds=1)
    expired.save()
    made.append(Identity("expired key", bearer(secret)))
    return made


def of_links(cast: Cast, other: Cast) -> list[Identity]:
    token = links.token_for(cast.pk)
    return [
        Identity("link", query=f"token={token}", opens_cast=True, shows_link=True),
        Identity("link of another cast", query=f"token={links.token_for(other.pk)}", shows_link=True),
        Identity(
            "link with a flipped letter", query=f"token={token[:-1]}{'A' if token[-1] != 'A' else 'B'}", shows_link=True
        ),
    ]


def of_users(account: Account, other: Account) -> list[Identity]:
    """Return members of each role, strangers, and staff with and without permissions."""

    def user(name: str, **fields: Any) -> User:
        return User.objects.create_user(name.replace(" ", "-"), password=None, **fields)

    made = []
    for role in ("owner", "admin", "member", "viewer"):
        member = user(role)
        Membership.objects.create(account=account, user=member, role=role)
        made.append(Identity(role, user=member, role=role))
    stranger = user("owner of another account")
    Membership.objects.create(account=other, user=stranger, role="owner")
    made.append(Identity("owner of another account", user=stranger))
    made.append(Identity("user without an account", user=user("nobody")))
    made.append(Identity("staff without a permission", user=user("bare", is_staff=True), staff=True))
    for verb in ("view", "change"):
        viewer = user(f"staff who may {verb}", is_staff=True)
        some = Permission.objects.filter(codename__startswith=f"{verb}_")
        viewer.user_permissions.set(some)
        granted = frozenset(
            f"{one.content_type.app_label}.{one.codename}" for one in some.select_related("content_type")
        )
        made.append(Identity(f"staff who may {verb} all", user=viewer, staff=True, permissions=granted))
    everything = user("superuser", is_staff=True, is_superuser=True)
    made.append(Identity("superuser", user=everything, staff=True, everything=True))
    return made
