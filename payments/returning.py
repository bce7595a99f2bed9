"""Where a page of Stripe's leads back to: a page of ours, or of an origin that the operator allows."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from rest_framework import serializers

from core.urls import absolute


def money_page(account_id: int, **query: str) -> str:
    """Return the address of an account's page about money."""
    return absolute(reverse("money", args=[account_id]), **query)


def valid_return_url(url: str) -> None:
    """Raise ValidationError for an address that Stripe's page must not lead to: links of ours are trusted."""
    allowed = [settings.PUBLIC_URL, *settings.BILLING_RETURN_ORIGINS]
    origin = origin_of(url)
    if origin is None or origin not in {origin_of(one) for one in allowed}:
        raise serializers.ValidationError(
            f"Stripe's page may lead back to {', '.join(allowed)}; an operator may allow others "
            "(BILLING_RETURN_ORIGINS)."
        )


def origin_of(url: str) -> str | None:
    """Return scheme, host and port of a web address; None for anything else, and for what browsers read otherwise."""
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}"
