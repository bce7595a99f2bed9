"""Billing turned on, with the local Stripe on the other side."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.utils import timezone

from payments import catalog
from payments.client import client, errors
from payments.inbox import StripeEventWork
from payments.models import StripeEvent
from payments.setup import Setup
from tests.payments.metered import Both, Clock, metered
from tests.stripes import Stripe

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer  # with the test client's json()

ENDPOINT = "/api/webhooks/stripe"
WEBHOOK_SECRET = "whsec_tests-Zq4Wm9Rk2Vx7Yp1Tn6-nobodys"
THREAD = threading.local()


def turn_on(settings: Any, url: str, key: str) -> None:
    """Turn billing on, as far as settings that are read once can be turned on later."""
    settings.STRIPE_SECRET_KEY, settings.BILLING, settings.STRIPE_API_URL = key, True, url
    settings.STRIPE_WEBHOOK_SECRETS = [WEBHOOK_SECRET]


@pytest.fixture
def stripe(stripe_server: Stripe, settings: Any) -> Stripe:
    """The local Stripe, anew and empty, as the one that the platform uses."""
    turn_on(settings, stripe_server.url, stripe_server.key)
    return stripe_server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Our clock, to be moved; Stripe has its own."""
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock.now)
    return clock


@pytest.fixture
def billing(settings: Any) -> None:
    """Billing is on, and nobody listens where Stripe should be."""
    turn_on(settings, "http://127.0.0.1:9", "sk_test_local")


def signed(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    """Return the header with which Stripe signs a webhook, as its library makes it for tests."""
    from stripe import WebhookSignature

    made: str = WebhookSignature.generate_signature_header(
        body.decode(), secret, int(time.time() if at is None else at)
    )
    return made


def deliver(body: Any, signature: str | None = None, **headers: str) -> Answer:
    """POST a webhook; it is signed well unless a signature is given (blank: there is none)."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers["Stripe-Signature"] = signed(raw) if signature is None else signature
    if not hasattr(THREAD, "client"):
        THREAD.client = Client()
    client: Client = THREAD.client
    return client.post(ENDPOINT, raw, "application/json", headers={k: v for k, v in headers.items() if v})


def work_off() -> int:
    """Have a worker apply every event that is pending, due or not; return how many."""
    StripeEvent.due_rows().filter(due_at__isnull=False).update(due_at=timezone.now())
    rows = StripeEventWork().rows().claim(limit=100, lease=dt.timedelta(seconds=30))
    for row in rows:
        row.give_back(StripeEventWork().step(row))
    return len(rows)


@pytest.fixture
def sold(stripe: Stripe) -> Stripe:
    """Stripe has what is sold."""
    catalog.forget()
    setup = Setup(lambda text: None)
    setup.product()
    setup.price(setup.meter())
    return stripe


@pytest.fixture
def both(sold: Stripe, clock: Clock) -> Both:
    with errors():
        made = client().v1.customers.create({"name": "Vetinari"})
    return Both(sold, clock, metered(stripe_id=made.id))
