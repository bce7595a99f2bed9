"""What may be charged in which currency. Source: https://docs.stripe.com/currencies

Amounts are in the currency's smallest unit. Stripe's least amounts are those of an account that is paid out in the same
currency; for the currencies without one here it converts half a dollar, which is about what stands here.
"""

from localstripe.errors import ApiError, invalid

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
# The last digit of three decimals must be 0; these two have no cents any more, but are written with them.
MULTIPLE_OF = {**dict.fromkeys(THREE_DECIMAL, 10), "isk": 100, "ugx": 100}
LEAST = {
    **{"usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50},
    **{"gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50},
    **{"pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "isk": 7000, "ugx": 200_000, "zar": 900},
    **{"try": 2000, "ils": 200, "cop": 200_000, "php": 3000, "idr": 800_000, "twd": 1600, "cny": 400, "sar": 200},
    **{"bif": 1500, "clp": 500, "djf": 90, "gnf": 4500, "kmf": 250, "krw": 700, "mga": 2500, "pyg": 4000, "rwf": 700},
    **{"vnd": 13_000, "vuv": 60, "xaf": 300, "xof": 300, "xpf": 60},
    **{"bhd": 190, "jod": 360, "kwd": 160, "omr": 200, "tnd": 1560},
}
MOST = 99_999_999


def decimals(currency: str) -> int:
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def written(amount: int, currency: str) -> str:
    """Return an amount as Stripe's messages have it, such as $6.00 or ¥600."""
    places = decimals(currency)
    whole, rest = divmod(amount, 10**places)
    symbol = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}.get(currency, "")
    number = f"{symbol}{whole:,}" + (f".{rest:0{places}}" if places else "")
    return number if symbol else f"{number} {currency}"


def known(currency: str, param: str = "currency") -> str:
    """Return a currency in lower case. Raise Stripe's error if it is none."""
    found = currency.lower()
    if found not in LEAST:
        listed = ", ".join(LEAST)
        raise invalid(f"Invalid currency: {found}. Stripe currently supports these currencies: {listed}", param)
    return found


def check_amount(amount: int, currency: str, param: str = "amount") -> None:
    """Raise Stripe's error for what a card can't be charged."""
    if amount < LEAST[currency]:
        text = f"Amount must be at least {written(LEAST[currency], currency)} {currency}"
        raise ApiError(400, text, code="amount_too_small", param=param)
    if amount > MOST:
        text = f"Amount must be no more than {written(MOST, currency)} {currency}"
        raise ApiError(400, text, code="amount_too_large", param=param)
    check_multiple(amount, currency, param)


def check_multiple(amount: int, currency: str, param: str = "amount") -> None:
    unit = MULTIPLE_OF.get(currency, 1)
    if amount % unit:
        text = f"Invalid amount. In {currency}, the amount must be evenly divisible by {unit}."
        raise ApiError(400, text, code="invalid_charge_amount", param=param)
