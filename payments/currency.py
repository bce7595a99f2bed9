"""Amounts as people read them. All amounts are integers of the currency's smallest unit, as Stripe and the ledger have.

Source: https://docs.stripe.com/currencies#minor-units, "zero-decimal" and "three-decimal currencies"
"""

from __future__ import annotations

import re

from django.conf import settings

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
# Three-decimal amounts must end in 0. ISK and UGX have no cents any more, but are written with two of them.
MULTIPLE_OF = {**dict.fromkeys(THREE_DECIMAL, 10), "isk": 100, "ugx": 100}

OTHERS = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf "
    "cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr "
    "isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn "
    "nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb "
    "tjs top try ttd twd tzs uah ugx uyu uzs wst xcd xcg yer zar zmw"
)
# In which Stripe charges cards. Source: https://docs.stripe.com/currencies#presentment-currencies
CURRENCIES = ZERO_DECIMAL | THREE_DECIMAL | frozenset(OTHERS.split())
# What a card is charged at least, where Stripe says so; elsewhere its answer does.
# Source: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
LEAST = {
    **dict.fromkeys(["usd", "eur", "chf", "cad", "aud", "nzd", "sgd", "brl", "inr"], 50),
    **{"gbp": 30, "jpy": 50, "dkk": 250, "nok": 300, "sek": 300, "pln": 200, "ron": 200, "aed": 200, "bgn": 100},
    **{"czk": 1500, "hkd": 400, "huf": 17500, "mxn": 1000, "myr": 200, "thb": 1000},
}
MOST = 99_999_999  # eight digits, in most currencies


def decimals(currency: str = "") -> int:
    currency = currency or settings.BILLING_CURRENCY
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
    return cents % step(currency) == 0


def step(currency: str = "") -> int:
    """Return of what a chargeable amount is a multiple."""
    return MULTIPLE_OF.get(currency or settings.BILLING_CURRENCY, 1)


def least(currency: str = "") -> int:
    """Return the least amount that a card can be charged."""
    return LEAST.get(currency or settings.BILLING_CURRENCY, step(currency))


def most(currency: str = "") -> int:
    return MOST - MOST % step(currency)


def plain(cents: int, currency: str = "") -> str:
    """Return an amount as people type it, and `parsed` reads it: `12.50`, without its currency."""
    return money(cents, currency).rpartition(" ")[0].replace(",", "")


def parsed(text: str, currency: str = "") -> int:
    """Return the cents of an amount that somebody typed, such as `12.5`, `12,50` or `1250`. Raise ValueError."""
    places = decimals(currency)
    found = re.fullmatch(r"([0-9]{1,12})(?:[.,]([0-9]+))?", text.strip())
    if not found or len(found[2] or "") > places:
        like = plain(max(25 * 10**places, 20 * least(currency)), currency)
        raise ValueError(f"Give an amount such as {like}, with {places or 'no'} digits after the point at most.")
    return int(found[1] + (found[2] or "").ljust(places, "0"))
