"""Who may read a cast, and how much of it. Whatever shows anything of a cast asks `may_read`."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.contrib.sessions.middleware import SessionMiddleware
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from accounts import keys, principals, second_factor
from accounts.api.authentication import KEY_HINT, bearer, require
from accounts.models import ApiKey, Role
from accounts.principals import Kind, Principal
from accounts.rationing.keys import admit
from casts import links
from casts.errors import CastNotFound
from casts.links import Link
from casts.models import Cast, Spell
from core import access
from core.db.compiled import Param, Select
from core.errors import Forbidden, Unauthorized
from core.rationing import Allowance, visits
from core.rationing.visits import Visit, visit

LINK = Allowance("link", "This link")
MOST_RETRIES = 50  # of one cast, one after the other, that are followed back to the first
BY_ID = Select(lambda: Cast.objects.filter(pk=Param(Cast, "id")).select_related("spell").order_by())


class Reach(IntEnum):
    """How much of a cast somebody may read."""

    NOTHING = 0
    STATUS = 1  # that it exists, its status and its price; see casts.disclosure
    ALL = 2


class About(NamedTuple):
    """What of a cast decides who may read it."""

    cast_id: uuid.UUID
    account_id: int
    spell_key: str


def may_read(principal: Principal, cast: Cast | About) -> Reach:
    """Return how much of this cast the principal may read."""
    about = cast if isinstance(cast, About) else About(cast.pk, cast.account_id, cast.spell.key)
    if principal.kind == Kind.KEY:
        assert principal.key is not None
        reads = "casts:read" in principal.key.scopes and serves(principal.key, about)
        return Reach.ALL if reads else Reach.NOTHING
    if principal.kind == Kind.LINK:
        return Reach.ALL if principal.cast_id == about.cast_id else Reach.NOTHING
    if principal.kind == Kind.USER:
        assert principal.user is not None
        return reach_of_user(principal.user, principal.role if principal.account_id == about.account_id else None)
    return Reach.ALL  # who runs commands has the database


def reach_of_user(user: User, role: Role | None) -> Reach:
    """Return how much a user may read of the casts of an account in which the user has this role (None: no member)."""
    # Being staff is no reason: of the admin, too, staff see only what they have permissions for.
    reach = reach_of_role(role)
    return Reach.ALL if reach < Reach.ALL and user.has_perm("casts.view_cast") else reach


def reach_of_role(role: Role | None) -> Reach:
    if role is None:
        return Reach.NOTHING
    return Reach.ALL if role.reads_contents else Reach.STATUS


def may_change(principal: Principal, cast: Cast) -> bool:
    """Return whether the principal may cancel and retry this cast. A key's scope for that is the view's to ask for."""
    if principal.kind == Kind.USER:
        return principal.account_id == cast.account_id and may_cast(principal.role)
    return principal.key is not None and serves(principal.key, About(cast.pk, cast.account_id, cast.spell.key))


def may_cast(role: Role | None) -> bool:
    """Return whether members with this role cast in the browser, at the account's cost."""
    return role is not None and role.includes(Role.MEMBER)


def serves(key: ApiKey, about: About) -> bool:
    """Return whether a cast is one of those that a key is for, whatever the key may do with it."""
    return key.account_id == about.account_id and key.allows_spell(about.spell_key)


def named_by(cast: Cast) -> ApiKey | None:
    """Return the API key that said where a cast's end is told (callback_url).

    Of what a member cast again that is the key of the cast before it.
    """
    for _ in range(MOST_RETRIES):
        if cast.placed_by_id is None or cast.retry_of is None:
            break
        cast = cast.retry_of
    return cast.api_key


# --- Over the API, by key ----------------------------------------------------------------------------------------


def readable_by(principal: Principal, cast_id: str) -> Cast:
    """Return a cast that may be read; raise CastNotFound."""
    cast = found(cast_id)
    if not may_read(principal, cast):
        raise not_found(cast_id)
    access.know(cast_id=str(cast.pk))
    return cast


def changeable_by(principal: Principal, cast_id: str) -> Cast:
    """Return a cast that may be cancelled and retried; raise CastNotFound."""
    cast = found(cast_id)
    if not may_change(principal, cast):
        raise not_found(cast_id)
    access.know(cast_id=str(cast.pk))
    return cast


def served_by(key: ApiKey, casts: QuerySet[Cast, Any]) -> QuerySet[Cast, Any]:
    """Return those of the account's casts that this key is for."""
    ours = casts.filter(account=key.account_id)
    return ours if key.spell_keys is None else ours.filter(of_spells(key.spell_keys))


def of_spells(keys: Sequence[str]) -> Q:
    """Return what finds the casts of these spells.

    Their numbers are looked up first: only so does the database know how many casts to expect, and an index to use
    where there are few among many.
    """
    return Q(spell__in=list(Spell.objects.filter(key__in=keys).values_list("pk", flat=True)))


def found(cast_id: str) -> Cast:
    try:
        cast = BY_ID.first(id=uuid.UUID(cast_id))
    except ValueError:
        cast = None
    if cast is None:
        raise not_found(cast_id)
    return cast


def not_found(cast_id: str) -> CastNotFound:
    # The same for a cast of another account, and of a spell that is not the key's: nobody learns which ids exist.
    return CastNotFound(f"There is no cast {cast_id[:64]} in this account.")


# --- By link, key or session -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """A cast, who reads it, and how much of it."""

    cast: Cast
    principal: Principal
    reach: Reach

    def whole(self) -> Cast:
        """Return the cast for what only those may see who may read all of it; raise Forbidden for others."""
        if self.reach < Reach.ALL:
            raise Forbidden(
                "As a viewer of this account you see that its casts exist, their status and price, and nothing that is "
                "in them. An owner of the account can give you another role."
            )
        return self.cast


def check_link(cast_id: str, token: str) -> Link:
    """Return what a token says; raise Unauthorized unless it is for this cast."""
    if (link := links.read_token(cast_id, token)) is None:
        raise Unauthorized("This link has expired or is not whole. Ask for a new one with GET /api/v1/casts/{id}.")
    access.note(by="link")
    return link


def check_epoch(link_epoch: int, cast_epoch: int) -> None:
    """Raise Unauthorized for a link that was made before the cast's links were revoked."""
    if link_epoch != cast_epoch:
        raise Unauthorized("This link was revoked. Ask for a new one with GET /api/v1/casts/{id}.")


def admit_link(cast_id: uuid.UUID | str, token: str, of: Visit | None) -> None:
    """Spend one request of a link that was found good. Raise RateLimited."""
    subject = f"{cast_id} {hashlib.sha256(token.encode()).hexdigest()[:8]}"
    visits.admit(of, (LINK, subject, settings.RATION_PER_LINK))


def readable_cast(request: HttpRequest, cast_id: str) -> Reading:
    """Return a cast of which the request may read anything, by signed link, API key or session.

    Raise Unauthorized if the request shows none that is valid, CastNotFound if it is for other casts only.
    """
    token = request.GET.get("token")
    if token is not None:
        link = check_link(cast_id, token)
        cast = found(cast_id)
        check_epoch(link.epoch, cast.links_epoch)
        admit_link(cast_id, token, visit.get())
        return reading(principals.of_link(cast.pk), cast)
    secret = bearer(request)
    if secret is not None:
        key = keys.authenticate(secret)
        admit(key, visit.get())
        require(key, "casts:read")
        return reading(principals.of_key(key), found(cast_id))
    user = session_user(request)
    if user is None:
        raise Unauthorized(f"{KEY_HINT}, or open the cast's progress_url, which carries a token.")
    cast = found(cast_id)
    return reading(principals.of_user(user, account_id=cast.account_id), cast)


def reading(principal: Principal, cast: Cast) -> Reading:
    reach = may_read(principal, cast)
    if not reach:
        raise not_found(str(cast.pk))
    return Reading(cast, principal, reach)


def session_user(request: HttpRequest) -> Any:
    # API paths run without the session middleware.
    if not hasattr(request, "session"):
        SessionMiddleware(lambda r: HttpResponse()).process_request(request)
    user = get_user(request)
    if not user.is_authenticated or second_factor.missing(user):
        return None
    access.note(user=user.pk)
    return user
