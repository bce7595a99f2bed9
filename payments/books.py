"""In what money this installation's amounts are: the currency, and whether it is real. Noted before any is booked.

Neither is beside the amounts, and both are settings: changed afterwards, yen would be read as cents, and what was paid
with test cards as money.
"""

from __future__ import annotations

from django.conf import settings

from accounts.models import Credit
from payments.client import live
from payments.models import Books, Customer


def kept() -> Books | None:
    """Return in what the amounts are, None if nothing was ever booked."""
    found = Books.objects.filter(pk=Books.SINGLETON_PK).first()
    if found is None or not (Customer.objects.exists() or Credit.objects.exists()):
        return None
    return found


def differences(kept: Books | None) -> list[str]:
    """Say what the settings have otherwise than what was booked."""
    if kept is None:
        return []
    found = []
    if kept.currency != settings.BILLING_CURRENCY:
        found.append(f"BILLING_CURRENCY is {settings.BILLING_CURRENCY}, but what is booked here is in {kept.currency}.")
    if kept.livemode != live():
        now, then = ("live", "test") if live() else ("test", "live")
        found.append(
            f"STRIPE_SECRET_KEY is a key of {now} mode, but the customers here were made in {then} mode: Stripe knows "
            "none of them by this key."
        )
    return found


def ensure() -> None:
    """Note in what money amounts are from now on, unless something is booked already. Any worker may call this."""
    if kept() is None:
        now = {"currency": settings.BILLING_CURRENCY, "livemode": live()}
        Books.objects.update_or_create(defaults=now, pk=Books.SINGLETON_PK)
