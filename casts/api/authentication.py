"""Who asks, and what they may see."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import keys
from accounts.models import Account, ApiKey
from casts import links
from casts.models import Cast
from core.db.statements import Rows
from core.errors import Forbidden, SpellError, Unauthorized

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module, by its setting

BY_ID = Rows(Cast, "id", related="spell")
HOW = "Send an API key: Authorization: Bearer sk_live_spl_..."


class CastNotFound(SpellError):
    """No such cast, or another account's, which is the same to the caller."""

    code, status, title = "CAST_NOT_FOUND", 404, "Cast not found"


class ApiRequest(Request):
    """DRF's request, with what authentication attached."""

    auth: ApiKey


def bearer(request: HttpRequest | Request) -> str | None:
    """Return the request's API key, or None if it carries no Authorization; raise Unauthorized for another scheme."""
    header = request.headers.get("Authorization", "")
    if not header:
        return None
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized(HOW)
    return secret.strip()


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk_live_spl_…`."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey]:
        """Return the key; raise Unauthorized."""
        secret = bearer(request)
        if secret is None:
            raise Unauthorized(HOW)
        key = keys.authenticate(secret)
        return key, key

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 asks for."""
        return 'Bearer realm="spell-platform"'


def require(key: ApiKey, scope: str) -> None:
    """Raise Forbidden unless the key has this scope."""
    if scope not in key.scopes:
        raise Forbidden(f"This API key lacks the scope {scope}; it has {', '.join(key.scopes)}.", required_scope=scope)


class HasScope(BasePermission):
    """The key has the scope that the view names for this method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raise Forbidden, naming the scope, if it is missing."""
        scopes: dict[str, str] = getattr(view, "scopes", {})
        method = "GET" if request.method in ("HEAD", "OPTIONS") else str(request.method)
        if method in scopes:
            require(cast(ApiKey, request.auth), scopes[method])
        return True


def visible_cast(cast_id: str, *, of: Account | None = None) -> Cast:
    """Return the cast that a path names, one of this account's (None: anybody's); raise CastNotFound."""
    try:
        found = BY_ID.first(uuid.UUID(cast_id))
    except ValueError:
        found = None
    if found is None or (of is not None and found.account_id != of.pk):
        raise not_found(cast_id)
    return found


def not_found(cast_id: str) -> CastNotFound:
    """Return what is raised for a cast that is not there, and for one that the caller may not see."""
    return CastNotFound(f"There is no cast {cast_id[:64]} in this account.")


def check_link(cast_id: str, token: str) -> None:
    """Raise Unauthorized unless this token opens this cast."""
    if not links.opens(cast_id, token):
        raise Unauthorized("This link has expired or is not whole. Ask for a new one with GET /api/v1/casts/{id}.")


def readable_cast(request: HttpRequest, cast_id: str) -> Cast:
    """Return a cast that a browser or a client may read: by signed link, API key, or session.

    Raise Unauthorized if nothing usable was shown, CastNotFound if it opens other casts, not this one.
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
        raise Unauthorized(f"{HOW}, or open the cast's progress_url, which carries a token.")
    cast = visible_cast(cast_id)
    if not user.is_staff and not cast.account.members.filter(pk=user.pk).exists():
        raise not_found(cast_id)
    return cast


def session_user(request: HttpRequest) -> Any:
    """Return who is logged in, or None. API paths run without the session middleware, so it is asked here."""
    if not hasattr(request, "session"):
        SessionMiddleware(lambda r: HttpResponse()).process_request(request)
    user = get_user(request)
    return user if user.is_authenticated else None
