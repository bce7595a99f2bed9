"""Who asks: an API key, a link, a user or a command. Whoever must know takes a `Principal`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from django.contrib.auth.models import User

from accounts.models import ApiKey, Membership, Role


class Kind(StrEnum):
    KEY = "key"
    LINK = "link"
    USER = "user"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and for which account, as far as that is known.

    `label` is for people, in logs and in the audit log: short, and never a secret.
    """

    kind: Kind
    label: str
    account_id: int | None = None
    key: ApiKey | None = None
    user: User | None = None
    role: Role | None = None  # the user's in that account; None: no member of it
    cast_id: uuid.UUID | None = None  # the only cast that a link opens

    # DRF asks these of its `request.user`.
    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True


def of_key(key: ApiKey) -> Principal:
    return Principal(Kind.KEY, key.prefix, account_id=key.account_id, key=key)


def of_link(cast_id: uuid.UUID) -> Principal:
    return Principal(Kind.LINK, f"link to {cast_id}", cast_id=cast_id)


def of_user(user: User, *, account_id: int | None = None) -> Principal:
    """Return a user as one who asks about this account (None: about none), with the role that the user has there."""
    found = None
    if account_id is not None:
        found = Membership.objects.filter(user=user, account=account_id).values_list("role", flat=True).first()
    return Principal(
        Kind.USER,
        user.get_username(),
        account_id=account_id if found else None,
        user=user,
        role=Role(found) if found else None,
    )


def of_member(membership: Membership) -> Principal:
    """Return the user whose place in an account this is, as one who asks about that account."""
    user = membership.user
    return Principal(
        Kind.USER, user.get_username(), account_id=membership.account_id, user=user, role=Role(membership.role)
    )


def of_command(name: str) -> Principal:
    return Principal(Kind.COMMAND, name)
