"""Amounts as people read and type them, on pages, in the admin and in mails. On the wire they are integers.

All amounts are integers of the smallest unit of BILLING_CURRENCY, as Stripe and the ledger have them, also where
billing is off: then it only says in what prices are written.
Source: https://docs.stripe.com/currencies#minor-units, "zero-decimal" and "three-decimal currencies"
"""

from __future__ import annotations

import re

from django.conf import settings

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])


def decimals(currency: str = "") -> int:
    currency = currency or settings.BILLING_CURRENCY
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def money(cents: int, currency: str = "") -> str:
    """Return an amount with its currency, such as `12.50 USD`, `1,250 JPY`, `-1.250 KWD`."""
    return f"{_digits(cents, currency)} {name(currency)}".rstrip()


def name(currency: str = "") -> str:
    return (currency or settings.BILLING_CURRENCY).upper()


def plain(cents: int, currency: str = "") -> str:
    """Return an amount as people type it, and `parsed` reads it: `12.50`, without its currency."""
    return _digits(cents, currency).replace(",", "")


def rounded(cents: int | float, currency: str = "") -> str:
    """Return an amount for the axis of a chart: without its currency, and without decimals if they are 0."""
    text = _digits(round(cents), currency)
    return text.rstrip("0").rstrip(".") if "." in text and not float(text.replace(",", "")) % 1 else text


def parsed(text: str, currency: str = "", *, example: int = 0) -> int:
    """Return the cents of an amount that somebody typed, such as `12.5`, `12,50` or `1250`. Raise ValueError.

    `example`: the amount that is named then, in cents; 25 units if it is 0.
    """
    places = decimals(currency)
    found = re.fullmatch(r"([0-9]{1,12})(?:[.,]([0-9]+))?", text.strip())
    if not found or len(found[2] or "") > places:
        like = plain(example or 25 * 10**places, currency)
        raise ValueError(f"Give an amount such as {like}, with {places or 'no'} digits after the point at most.")
    return int(found[1] + (found[2] or "").ljust(places, "0"))


def _digits(cents: int, currency: str) -> str:
    places = decimals(currency)
    whole, rest = divmod(abs(cents), 10**places)
    return f"{'-' if cents < 0 else ''}{whole:,}" + (f".{rest:0{places}}" if places else "")
