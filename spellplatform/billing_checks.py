"""System checks of what has to do with money: what must not serve, and what should be looked at. Nothing without it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, connections

from payments import books
from payments.client import live
from payments.currency import CURRENCIES
from payments.models import Books
from payments.setup import reachable, webhook_url
from spellplatform.checks import LEAST_WEBHOOK, LEAST_WEBHOOK_BITS, is_plain, on_this_machine, weakness
from spellplatform.env import host_of

KEY = re.compile(r"[sr]k_(test|live)_[A-Za-z0-9_]+")
WHERE_KEY = "It is under Developers > API keys in Stripe's Dashboard. See docs/how-to/billing.md."
WHERE_SIGNED = (
    "Each endpoint has its own: Developers > Webhooks > the endpoint > Signing secret, or `manage.py stripesetup` "
    "shows it once. See docs/how-to/billing.md."
)


@register()
def stripe_library(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.BILLING or find_spec("stripe") is not None:
        return []
    hint = "pip install 'stripe>=16.1,<17', or leave STRIPE_SECRET_KEY out: then nothing is billed."
    return [Error("STRIPE_SECRET_KEY needs the package stripe.", hint=hint, id="spell.E040")]


def misfit(key: str) -> str:
    """Say why a text is no secret key of Stripe's, blank if it may be one. Never the key."""
    if key.startswith("pk_"):
        return "is a publishable key, which can't charge anybody"
    if key.startswith("whsec_"):
        return "is a webhook's secret, which belongs into STRIPE_WEBHOOK_SECRET"
    if not KEY.fullmatch(key):
        return "is no secret key of Stripe's: these begin with sk_test_, sk_live_, rk_test_ or rk_live_"
    return ""


@register()
def stripe_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.BILLING:
        return []
    if problem := misfit(settings.STRIPE_SECRET_KEY):
        return [Error(f"STRIPE_SECRET_KEY {problem}.", hint=WHERE_KEY, id="spell.E041")]
    if not live():
        return []
    hint = "Use a test key (sk_test_…) here; docs/how-to/billing.md says how to go live."
    if settings.DEBUG:
        return [Error("STRIPE_SECRET_KEY moves real money, and DEBUG is on.", hint=hint, id="spell.E042")]
    if not settings.PUBLIC_URL.startswith("https://"):
        told = "STRIPE_SECRET_KEY moves real money, and PUBLIC_URL is not https://: Stripe sends webhooks by TLS alone."
        return [Error(told, hint=hint, id="spell.E042")]
    return []


@register()
def stripe_api_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    url = settings.STRIPE_API_URL
    if not settings.BILLING:
        return []
    hint = "Leave it out for Stripe itself; the local Stripe is at http://127.0.0.1:8082."
    if not url.startswith(("http://", "https://")) or not host_of(url):
        return [Error("STRIPE_API_URL must begin with https:// (or http://).", hint=hint, id="spell.E043")]
    if is_plain(url):
        told = "STRIPE_API_URL is http:// and no address of this machine: the secret key would be readable on the way."
        return [Error(told, hint=hint, id="spell.E043")]
    if live() and on_this_machine(url):
        told = "STRIPE_SECRET_KEY moves real money, and STRIPE_API_URL is this machine: no money would be moved."
        return [Error(told, hint=hint, id="spell.E043")]
    return []


@register()
def stripe_webhook_secret(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.BILLING or settings.DEBUG:
        return []
    if not settings.STRIPE_WEBHOOK_SECRETS:
        if not reachable(webhook_url()):
            told = "STRIPE_WEBHOOK_SECRET is not set: no webhook is taken, and Stripe can't reach PUBLIC_URL anyway."
            hint = "The worker asks Stripe every STRIPE_SWEEP_SECONDS. `stripe listen` brings webhooks at once."
            return [Warning(told, hint=hint, id="spell.W044")]
        return [Error("STRIPE_WEBHOOK_SECRET is not set.", hint=WHERE_SIGNED, id="spell.E044")]
    return [
        Error(
            f"STRIPE_WEBHOOK_SECRET, entry {n}, {problem}: whoever guesses it signs as Stripe.",
            hint=WHERE_SIGNED,
            id="spell.E045",
        )
        for n, secret in enumerate(settings.STRIPE_WEBHOOK_SECRETS, 1)
        if (problem := secret_misfit(secret))
    ]


def secret_misfit(secret: str) -> str:
    if not secret.startswith("whsec_"):
        return "is no signing secret of Stripe's, which begin with whsec_"
    return weakness(secret.removeprefix("whsec_"), least=LEAST_WEBHOOK, bits=LEAST_WEBHOOK_BITS)


@register()
def billing_currency(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.BILLING or settings.BILLING_CURRENCY in CURRENCIES:
        return []
    hint = "Write it as Stripe does, such as usd, eur or jpy: https://docs.stripe.com/currencies"
    return [Error("BILLING_CURRENCY is no currency in which Stripe charges cards.", hint=hint, id="spell.E046")]


@register()
def billing_books(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Amounts in the database say neither which currency they are in, nor whether they are real money."""
    if not settings.BILLING:
        return []
    try:
        kept = read_books()
    except DatabaseError:  # away, or not made yet: whoever needs it says so
        return []
    hint = (
        "Amounts that were booked can't be converted: set it back, or begin with a database of its own. See "
        "docs/how-to/billing.md."
    )
    return [Error(told, hint=hint, id="spell.E047") for told in books.differences(kept)]


def read_books() -> Books | None:
    try:
        return books.kept()
    except SynchronousOnlyOperation:  # a server has us loaded within its event loop
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(read_and_close).result()


def read_and_close() -> Books | None:
    try:
        return books.kept()
    finally:
        connections.close_all()


@register()
def api_url_of_live_key(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.BILLING or not live() or host_of(settings.STRIPE_API_URL).endswith("stripe.com"):
        return []
    told = "STRIPE_API_URL is not Stripe's, and the key that is sent there moves real money."
    return [Warning(told, hint="Leave it out, unless that is a proxy of yours.", id="spell.W040")]
