"""In which currencies Stripe charges cards, and which amounts; how an amount is written is in `core.money`."""

from __future__ import annotations

from django.conf import settings

from core import money
from core.money import THREE_DECIMAL, ZERO_DECIMAL

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


def parsed(text: str) -> int:
    """Return the cents of an amount that somebody typed; its example can be charged. Raise ValueError."""
    return money.parsed(text, example=max(25 * 10 ** money.decimals(), 20 * least()))
