"""What must be there at Stripe before anybody pays, made or put right. `manage.py stripesetup` tells of each step.

Everything is found again by a name: the product by its id, the meter by its event's name, the price by its lookup key,
the others by their metadata. So it may be run again, and twice at once: what two make at the same moment, they ask for
under the same idempotency key.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings

from payments import catalog, client
from payments.folding import SNAPSHOT_TYPES, THIN_TYPES

T = TypeVar("T")
WAITS = (0.2, 0.5, 1.0, 2.0)  # seconds, after Stripe's trouble
WEBHOOK_PATH = "/api/webhooks/stripe"
NAME = "Spell Platform"
HINTS = (
    "The customers' receipts and invoice e-mails, taxes and the logo are settings of your account at Stripe: "
    "https://dashboard.stripe.com/settings/billing/invoice",
    "Usage that is told late counts for an invoice until it is final. Give it 24 to 72 hours: "
    "https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period",
)
PORTAL: dict[str, Any] = {
    "features": {
        "customer_update": {"enabled": True, "allowed_updates": ["address", "email", "name", "tax_id"]},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        # An operator ends it (mode prepaid), so that all is invoiced.
        "subscription_cancel": {"enabled": False},
        "subscription_update": {"enabled": False},
    }
}


@dataclass
class Setup:
    """One run. `tell` gets a line for each thing; what is missing or wrong is only counted if `check`."""

    tell: Callable[[str], None]
    check: bool = False
    wrong: int = 0
    secrets: list[str] = field(default_factory=list)  # of webhooks: shown by Stripe once

    def run(self) -> None:
        """Raise what `client.errors` raises."""
        self.product()
        self.price(self.meter())
        self.endpoint()
        self.destination()
        self.portal()
        catalog.forget()

    # --- what is sold ------------------------------------------------------------------------------------------

    def product(self) -> None:
        wanted = {"id": catalog.PRODUCT_ID, "name": f"{NAME} usage", "metadata": {catalog.MARK: "usage"}}
        try:
            found = persist(lambda: _stripe().products.retrieve(catalog.PRODUCT_ID))
        except client.Missing:
            if self.missing("the product"):
                products = _stripe().products
                self.made("product", wanted, products.create, products.retrieve)
            return
        # Its name is on invoices: an operator may have chosen another.
        if found.active or not self.differs("The product is archived"):
            return self.right(f"product {found.id}") if found.active else None
        persist(lambda: _stripe().products.update(found.id, {"active": True}))

    def meter(self) -> str:
        """Return the meter's id; blank if there is none."""
        meters = listed(lambda: _stripe().billing.meters.list({"limit": 100}))
        named = [one for one in meters if one.event_name == catalog.EVENT_NAME]
        active = next((one for one in named if one.status == "active"), None)
        if active is not None:
            if (how := _wrong_meter(active)) and self.differs(f"Meter {active.id} {how}"):
                # It can't be changed. What it counted stays with it, and so do its prices.
                self.tell("  It can't be changed. Deactivate it at Stripe when nothing is owed on it; run this again.")
                self.wrong += 1
            elif not how:
                self.right(f"meter {active.id}")
            return str(active.id)
        old = next((one for one in named if not _wrong_meter(one)), None)
        if old is not None:
            if self.differs(f"Meter {old.id} is not active"):
                persist(lambda: _stripe().billing.meters.reactivate(old.id))
            return str(old.id)
        if not self.missing("the meter"):
            return ""
        wanted: Any = {
            "display_name": f"{NAME} usage",
            "event_name": catalog.EVENT_NAME,
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": catalog.CUSTOMER_KEY},
            "value_settings": {"event_payload_key": catalog.VALUE_KEY},
        }
        return str(persist(lambda: _stripe().billing.meters.create(wanted, _once("meter", wanted))).id)

    def price(self, meter_id: str) -> None:
        key, currency = catalog.lookup_key(), settings.BILLING_CURRENCY
        prices = listed(lambda: _stripe().prices.list({"lookup_keys": [key]}))
        found = min(prices, key=lambda one: not one.active, default=None)
        wanted: Any = {
            "product": catalog.PRODUCT_ID,
            "currency": currency,
            "unit_amount": 1,
            "tax_behavior": "exclusive",
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
            "lookup_key": key,
            "transfer_lookup_key": True,
            "nickname": f"1 of the smallest unit of {currency.upper()}",
        }
        if found is not None:
            how = _wrong_price(found, meter_id)
            if not how and found.active:
                return self.right(f"price {found.id}: a unit is the smallest unit of {currency.upper()}")
            if not self.differs(f"Price {found.id} {how or 'is archived'}"):
                return None
            if not how:
                persist(lambda: _stripe().prices.update(found.id, {"active": True}))
                return None
            self.tell("  It can't be changed: another takes its place. Who has subscribed to it stays with it.")
        elif not self.missing(f"the price in {currency.upper()}"):
            return None
        options = _once("price", [wanted, found and found.id])
        persist(lambda: _stripe().prices.create(wanted, options))
        return None

    # --- what Stripe tells us --------------------------------------------------------------------------------------

    def endpoint(self) -> None:
        url, wanted = webhook_url(), sorted(SNAPSHOT_TYPES)
        if not reachable(url):
            self.tell(f"- no webhooks: Stripe can't reach {url}. The worker asks instead, a little later;")
            self.tell("  or have Stripe's own program bring them: stripe listen --forward-to " + url)
            return
        found = marked("webhook", lambda: _stripe().webhook_endpoints.list({"limit": 100}))
        if found is None:
            if self.missing(f"the webhook endpoint {url}"):
                asked: Any = {
                    "url": url,
                    "enabled_events": wanted,
                    "api_version": _api_version(),
                    "description": NAME,
                    "metadata": {catalog.MARK: "webhook"},
                }
                endpoints = _stripe().webhook_endpoints
                self.secrets.append(self.made("endpoint", asked, endpoints.create, endpoints.retrieve).secret)
            return
        how = [
            *(["goes elsewhere"] if found.url != url else []),
            *(["is disabled"] if found.status != "enabled" else []),
            *(["is told of other events"] if sorted(found.enabled_events) != wanted else []),
        ]
        if not how:
            return self.right(f"webhook endpoint {found.id}: {url}")
        if self.differs(f"Webhook endpoint {found.id} {' and '.join(how)}"):
            changes = {"url": url, "enabled_events": wanted, "disabled": False}
            persist(lambda: _stripe().webhook_endpoints.update(found.id, changes))
        return None

    def destination(self) -> None:
        """What is found wrong with usage later is told to destinations of the newer kind alone."""
        url, wanted = webhook_url(), sorted(THIN_TYPES)
        if not reachable(url):
            return
        service: Any = client.client().v2.core.event_destinations
        found = marked("meter", lambda: service.list({"include": ["webhook_endpoint.url"]}))
        if found is None:
            if self.missing("the event destination for errors of the meter"):
                asked: Any = {
                    "name": f"{NAME}, errors of the meter",
                    "type": "webhook_endpoint",
                    "event_payload": "thin",
                    "enabled_events": wanted,
                    "webhook_endpoint": {"url": url},
                    "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
                    "metadata": {catalog.MARK: "meter"},
                }
                made = self.made("destination", asked, service.create, service.retrieve)
                self.secrets.append(made.webhook_endpoint.signing_secret)
            return
        at = found.webhook_endpoint.url if found.webhook_endpoint else None
        if found.status == "enabled" and sorted(found.enabled_events) == wanted and at in (None, url):
            return self.right(f"event destination {found.id}")
        if self.differs(f"Event destination {found.id} is disabled, goes elsewhere or is told of other events"):
            changes = {"enabled_events": wanted, "webhook_endpoint": {"url": url}}
            persist(lambda: service.update(found.id, changes))
            if found.status != "enabled":
                persist(lambda: service.enable(found.id))
        return None

    # --- what customers see ------------------------------------------------------------------------------------------

    def portal(self) -> None:
        wanted = {**PORTAL, "business_profile": {"headline": NAME}, "default_return_url": settings.PUBLIC_URL}
        digest = _digest(wanted)
        found = marked("portal", lambda: _stripe().billing_portal.configurations.list({"limit": 100}))
        if found is None:
            if self.missing("the configuration of the customer portal"):
                asked: Any = {**wanted, "metadata": {catalog.MARK: "portal", "as": digest}}
                persist(lambda: _stripe().billing_portal.configurations.create(asked, _once("portal", asked)))
            return
        if found.active and client.plain(found.metadata).get("as") == digest:
            return self.right(f"customer portal {found.id}")
        if self.differs(f"The customer portal's configuration {found.id} is another"):
            changes: Any = {**wanted, "active": True, "metadata": {catalog.MARK: "portal", "as": digest}}
            persist(lambda: _stripe().billing_portal.configurations.update(found.id, changes))
        return None

    # --- telling ---------------------------------------------------------------------------------------------------

    def right(self, what: str) -> None:
        self.tell(f"✓ {what}")

    def missing(self, what: str) -> bool:
        """Tell that something is missing; return whether to make it."""
        self.tell(f"✗ There is not yet {what}." if self.check else f"+ Made: {what}.")
        self.wrong += self.check
        return not self.check

    def differs(self, how: str) -> bool:
        """Tell that something is otherwise; return whether to put it right."""
        self.tell(f"✗ {how}." if self.check else f"~ {how}: put right.")
        self.wrong += self.check
        return not self.check

    def made(self, what: str, asked: Any, make: Callable[[Any, Any], Any], keeps: Callable[[str], Any]) -> Any:
        """Make something. If the answer is an old one, of what has been deleted since, make another."""
        found = persist(lambda: make(asked, _once(what, asked)))
        try:
            persist(lambda: keeps(found.id))
        except client.Missing:
            key = f"stripesetup-{what}-{secrets.token_hex(8)}"
            found = persist(lambda: make(asked, {"idempotency_key": key}))
        return found


def persist(ask: Callable[[], T]) -> T:
    """Return what Stripe answers; raise what `client.errors` raises. Another run may be asking for the same (409)."""
    for seconds in WAITS:
        try:
            with client.errors():
                return ask()
        except client.Unavailable:
            time.sleep(seconds)
    with client.errors():
        return ask()


def listed(ask: Callable[[], Any]) -> list[Any]:
    return persist(lambda: list(ask().auto_paging_iter()))


def marked(what: str, ask: Callable[[], Any]) -> Any:
    """Return the first of a list that we have made for this, None if there is none."""
    return next((one for one in listed(ask) if client.plain(one.metadata).get(catalog.MARK) == what), None)


def webhook_url() -> str:
    url: str = settings.PUBLIC_URL
    return url.rstrip("/") + WEBHOOK_PATH


def _stripe() -> Any:
    return client.client().v1


def _api_version() -> str:
    import stripe

    return stripe.api_version if isinstance(stripe.api_version, str) else ""


def _once(what: str, asked: Any) -> Any:
    """Return the options with which two who ask for the same at the same time get the same."""
    return {"idempotency_key": f"stripesetup-{what}-{_digest(asked)}"}


def _digest(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:24]


def _wrong_meter(found: Any) -> str:
    """Say in which way a meter is not ours; blank if it is."""
    if found.default_aggregation.formula != "sum" or found.event_time_window:
        return "does not add up what it is told"
    if found.customer_mapping.event_payload_key != catalog.CUSTOMER_KEY:
        return f"expects the customer as {found.customer_mapping.event_payload_key}"
    if found.value_settings.event_payload_key != catalog.VALUE_KEY:
        return f"expects the value as {found.value_settings.event_payload_key}"
    return ""


def _wrong_price(found: Any, meter_id: str) -> str:
    if (found.currency, found.unit_amount) != (settings.BILLING_CURRENCY, 1):
        return f"is {found.unit_amount} {found.currency.upper()} a unit"
    if found.recurring is None or found.recurring.meter != meter_id or found.recurring.interval != "month":
        return "is not for the meter, by the month"
    if found.product != catalog.PRODUCT_ID:
        return f"is of the product {found.product}"
    return ""


def reachable(url: str) -> bool:
    """Return whether Stripe may reach an address: it does not reach this machine, but the local Stripe does."""
    return not _is_local(url) or _is_local(settings.STRIPE_API_URL)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "testserver", "::1") or host.startswith("127.")
