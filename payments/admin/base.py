"""What the admin's pages about money share."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin.base import NOTHING, ConsoleAdmin, ReadOnlyAdmin, code, column, external_link
from core.money import money
from payments import client

STRIPE = "https://api.stripe.com"


class OfBilling(ConsoleAdmin):
    """Where billing is off, the index does not name its tables; whoever knows their addresses still reads them."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(settings.BILLING) and super().has_module_permission(request)


class Evidence(OfBilling, ReadOnlyAdmin):
    """Records that nobody edits."""


def amount(cents: int | None) -> str:
    return NOTHING if cents is None else money(cents)


def at_stripe(kind: str, key: str | None) -> SafeString | str:
    """Return a link to an object's page at Stripe, `kind` as its address there says; just the id elsewhere."""
    if not key or settings.STRIPE_API_URL != STRIPE:
        return code(key)
    test = "" if client.live() else "test/"
    return external_link(f"https://dashboard.stripe.com/{test}{kind}/{key}", code(key))


def stripe_link(kind: str, name: str, title: str) -> Any:
    """Return a column that shows an id as a link to Stripe."""
    return column(name, lambda key: at_stripe(kind, key), title)
