"""What is sold at Stripe, and by which names it is found again: `manage.py stripesetup` makes it.

There is one price: a unit is the smallest unit of BILLING_CURRENCY, so that an invoice is what the ledger says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from payments import client

EVENT_NAME = "spell_platform_usage"  # of the meter
PRODUCT_ID = "spell_platform_usage"
VALUE_KEY, CUSTOMER_KEY = "value", "stripe_customer_id"  # in a meter event's payload
MARK = "spell_platform"  # the key in the metadata of what has no name of its own
KNOWN_SECONDS = 600.0  # for so long what was found is used without another look


class NotSetUp(client.Refused):
    """Stripe does not have what `manage.py stripesetup` makes."""


@dataclass(frozen=True)
class Price:
    """What a metered customer subscribes to."""

    id: str
    meter_id: str


def lookup_key() -> str:
    """Return the name of the price. An installation that changes its currency gets another price."""
    return f"{EVENT_NAME}_{settings.BILLING_CURRENCY}"


_known: dict[tuple[str, str, str], tuple[float, Price]] = {}


def price() -> Price:
    """Return the price, as it is known for some minutes. Raise NotSetUp, or what `client.errors` raises."""
    key = (settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL, settings.BILLING_CURRENCY)
    if (known := _known.get(key)) and known[0] > time.monotonic():
        return known[1]
    with client.errors():
        found = client.client().v1.prices.list({"lookup_keys": [lookup_key()], "active": True})
    if not found.data or found.data[0].recurring is None or not found.data[0].recurring.meter:
        raise NotSetUp("Stripe has no price for metered customers. Run: manage.py stripesetup")
    one = Price(found.data[0].id, found.data[0].recurring.meter)
    _known[key] = (time.monotonic() + KNOWN_SECONDS, one)
    return one


def forget() -> None:
    """Look again at the next use."""
    _known.clear()


def portal_configuration() -> str:
    """Return the id of the portal configuration that `stripesetup` made; blank if there is none: Stripe's default."""
    with client.errors():
        found: Any = client.client().v1.billing_portal.configurations.list({"active": True, "limit": 100})
    return next((one.id for one in found.auto_paging_iter() if client.plain(one.metadata).get(MARK) == "portal"), "")
