"""Which casts a request may read."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse

from accounts import keys
from accounts.api.authentication import KEY_HINT, bearer, require
from accounts.models import Account
from casts import links
from casts.errors import CastNotFound
from casts.models import Cast
from core.db.compiled import Param, Select
from core.errors import Unauthorized

BY_ID = Select(lambda: Cast.objects.filter(pk=Param(Cast, "id")).select_related("spell").order_by())


def visible_cast(cast_id: str, *, of: Account | None = None) -> Cast:
    """Return the cast with this id if it is this account's (None: anybody's); raise CastNotFound."""
    try:
        found = BY_ID.first(id=uuid.UUID(cast_id))
    except ValueError:
        found = None
    if found is None or (of is not None and found.account_id != of.pk):
        raise not_found(cast_id)
    return found


def not_found(cast_id: str) -> CastNotFound:
    # The same for a cast of another account: nobody learns which ids exist.
    return CastNotFound(f"There is no cast {cast_id[:64]} in this account.")


def check_link(cast_id: str, token: str) -> int:
    """Return when this cast's token expires (as time.time()); raise Unauthorized unless it is for this cast."""
    if (expires_at := links.expiry_of(cast_id, token)) is None:
        raise Unauthorized("This link has expired or is not whole. Ask for a new one with GET /api/v1/casts/{id}.")
    return expires_at


def readable_cast(request: HttpRequest, cast_id: str) -> Cast:
    """Return a cast that the request may read, by signed link, API key or session.

    Raise Unauthorized if the request shows none that is valid, CastNotFound if it is for other casts only.
    """
    token = request.GET.get("token")
    if token is not None:
        check_link(cast_id, token)
        return visible_cast(cast_id)
    secret = bearer(request)
    if secret is not None:
        key = keys.authenticate(secret)
        require(key, "casts:read")
        return visible_cast(cast_id, of=key.account)
    user = session_user(request)
    if user is None:
        raise Unauthorized(f"{KEY_HINT}, or open the cast's progress_url, which carries a token.")
    cast = visible_cast(cast_id)
    if not user.is_staff and not cast.account.members.filter(pk=user.pk).exists():
        raise not_found(cast_id)
    return cast


def session_user(request: HttpRequest) -> Any:
    # API paths run without the session middleware.
    if not hasattr(request, "session"):
        SessionMiddleware(lambda r: HttpResponse()).process_request(request)
    user = get_user(request)
    return user if user.is_authenticated else None
