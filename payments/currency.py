"""Amounts as people read them. All amounts are integers of the currency's smallest unit, as Stripe and the ledger have.

Source: https://docs.stripe.com/currencies#minor-units, "zero-decimal" and "three-decimal currencies"
"""

from __future__ import annotations

from django.conf import settings

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
# Three-decimal amounts must end in 0. ISK and UGX have no cents any more, but are written with two of them.
MULTIPLE_OF = {**dict.fromkeys(THREE_DECIMAL, 10), "isk": 100, "ugx": 100}


def decimals(currency: str) -> int:
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def money(cents: int, currency: str = "") -> str:
    """Return an amount with its currency, such as `12.50 USD`, `1,250 JPY`, `-1.250 KWD`."""
    currency = currency or settings.BILLING_CURRENCY
    places = decimals(currency)
    whole, rest = divmod(abs(cents), 10**places)
    text = f"{whole:,}" + (f".{rest:0{places}}" if places else "")
    return f"{'-' if cents < 0 else ''}{text} {currency.upper()}"


def chargeable(cents: int, currency: str = "") -> bool:
    """Return whether a card can be charged exactly this amount in the currency, apart from Stripe's least amounts."""
    return cents % MULTIPLE_OF.get(currency or settings.BILLING_CURRENCY, 1) == 0
