"""Stripe's own page about what a customer paid: invoices, receipts, cards."""

from __future__ import annotations

from typing import Any

from payments import catalog, client, customers
from payments.models import Customer


def link(customer: Customer, *, return_url: str) -> str:
    """Return the page's address, which opens for some minutes. Raise StripeTrouble."""
    wanted: Any = {"customer": customers.at_stripe(customer), "return_url": return_url}
    if configuration := catalog.portal_configuration():
        wanted["configuration"] = configuration
    with client.errors():
        return client.client().v1.billing_portal.sessions.create(wanted).url
