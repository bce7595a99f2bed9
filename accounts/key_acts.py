"""What is done with API keys, over the API and by members in the browser; each with its entry in the audit log."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from accounts import keys, principals
from accounts.audit import log
from accounts.errors import KeyMadeBefore
from accounts.models import SCOPES, ApiKey, Membership, Role
from accounts.principals import Principal
from core.errors import Forbidden

# What a member of this role may have a key do, which is what such a member may do: admins don't read the audit log.
MAY_GIVE = {Role.OWNER: frozenset(SCOPES), Role.ADMIN: frozenset(SCOPES) - {"audit"}}
MADE_BEFORE = (
    "This form has made a key already. Its secret was shown then, and can't be shown again: if you don't have it, "
    "revoke that key and make another."
)


def make_below(who: Principal, maker: ApiKey, **wanted: Any) -> tuple[ApiKey, str]:
    """Make a key with a key; see `keys.create_below`."""
    with transaction.atomic():
        key, secret = keys.create_below(maker, **wanted)
        log.record(who, "key.create", key, after=facts_of(key))
    return key, secret


def make(
    membership: Membership,
    *,
    form: uuid.UUID,
    name: str,
    scopes: Sequence[str],
    spell_keys: list[str] | None,
    expires_at: dt.datetime | None,
) -> tuple[ApiKey, str]:
    """Make a key for a member, once for each form.

    Raise Forbidden for a scope that the member's role does not have, TooManyKeys, and KeyMadeBefore.
    """
    check_may_give(Role(membership.role), scopes)
    who = principals.of_member(membership)
    asked: dict[str, Any] = {"name": name, "scopes": list(scopes), "spell_keys": spell_keys, "expires_at": expires_at}
    try:
        with transaction.atomic():
            if ApiKey.objects.filter(form=form).exists():
                raise KeyMadeBefore(MADE_BEFORE)
            keys.check_room(membership.account)
            key, secret = keys.create(membership.account, **asked, by=who, form=form)
            log.record(who, "key.create", key, after=facts_of(key))
    except IntegrityError as exc:  # at the same time
        raise KeyMadeBefore(MADE_BEFORE) from exc
    return key, secret


def check_may_give(role: Role, scopes: Sequence[str]) -> None:
    """Raise Forbidden, naming what is too much."""
    if excess := [scope for scope in scopes if scope not in MAY_GIVE.get(role, ())]:
        raise Forbidden(f"Your role, {role.value}, has not the scope(s) {', '.join(excess)}; you can't give them away.")


def rotate(who: Principal, key: ApiKey, *, overlap: dt.timedelta) -> tuple[ApiKey, str]:
    """Replace a key; see `keys.rotate`. A member gives no scope away that the role has not."""
    if who.key is None:
        check_may_give(who.role or Role.VIEWER, key.scopes)
    with transaction.atomic():
        made, secret = keys.rotate(key, overlap=overlap, by=who)
        key.refresh_from_db()
        facts = {"replaced_by": made.pk, "replaced_by_prefix": made.prefix, "expires_at": key.expires_at}
        log.record(who, "key.rotate", key, after=facts)
    return made, secret


def revoke(who: Principal, key: ApiKey, *, descendants: bool) -> list[int]:
    """Revoke a key, and all that it made if `descendants`; return the ids of those that this call revoked."""
    with transaction.atomic():
        if descendants:
            done = [one.pk for one in keys.revoke_with_descendants([key])]
        else:
            done = [key.pk] if keys.revoke(key) else []
        log.record(who, "key.revoke", key, after={"revoked": done})
    return done


def facts_of(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in ("name", "prefix", "scopes", "spell_keys", "expires_at")}
