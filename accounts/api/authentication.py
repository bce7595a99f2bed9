"""API keys: who asks, and whether the key may do this."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import keys, principals
from accounts.models import ApiKey
from accounts.principals import Principal
from accounts.rationing.keys import admit
from core.errors import Forbidden, Unauthorized
from core.rationing.visits import visit

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module, which a setting names


KEY_HINT = "Send an API key: Authorization: Bearer sk_live_spl_..."


class ApiRequest(Request):
    """DRF's request, with what authentication attached."""

    auth: ApiKey
    user: Principal  # type: ignore[assignment]  # whom DRF takes for a user of Django


def bearer(request: HttpRequest | Request) -> str | None:
    """Return the request's API key, None without Authorization. Raise Unauthorized for another scheme."""
    header = request.headers.get("Authorization", "")
    if not header:
        return None
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized(KEY_HINT)
    return secret.strip()


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer sk_live_spl_…`."""

    def authenticate(self, request: Request) -> tuple[Principal, ApiKey]:
        secret = bearer(request)
        if secret is None:
            raise Unauthorized(KEY_HINT)
        key = keys.authenticate(secret)
        admit(key, visit.get())
        return principals.of_key(key), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="spell-platform"'


def require(key: ApiKey, scope: str, why: str = "") -> None:
    """Raise Forbidden unless the key has this scope."""
    if scope not in key.scopes:
        lacks = f"This API key lacks the scope {scope}; it has {', '.join(key.scopes)}."
        raise Forbidden(f"{why} {lacks}".strip(), required_scope=scope)


class HasScope(BasePermission):
    """The key has the scope that the view names for this method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Raise Forbidden, naming the scope, if the key lacks it."""
        scopes: dict[str, str] = getattr(view, "scopes", {})
        # Both tell no more than GET does.
        method = "GET" if request.method in ("HEAD", "OPTIONS") else str(request.method)
        if method in scopes:
            require(cast(ApiKey, request.auth), scopes[method])
        return True
