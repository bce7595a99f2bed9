from typing import Any

import pytest

from core.money import money
from payments.currency import chargeable, parsed
from payments.topups import check_amount


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (1250, "usd", "12.50 USD"),
        (-5, "eur", "-0.05 EUR"),
        (1250, "jpy", "1,250 JPY"),
        (123456, "kwd", "123.456 KWD"),
        (0, "usd", "0.00 USD"),
    ],
)
def test_amounts_are_written_as_their_currency_is(cents, currency, text):
    assert money(cents, currency) == text


@pytest.mark.parametrize(
    ("cents", "currency", "can"),
    [(1, "usd", True), (1, "jpy", True), (1250, "kwd", True), (1255, "kwd", False), (150, "isk", False)],
)
def test_some_currencies_are_charged_in_steps(cents, currency, can):
    assert chargeable(cents, currency) is can


@pytest.mark.parametrize("code", ["usd", "jpy", "kwd", "huf", "czk"])
def test_the_amount_that_is_given_as_an_example_can_be_charged(code: str, settings: Any):
    settings.BILLING_CURRENCY = code
    with pytest.raises(ValueError, match="such as") as told:
        parsed("x")
    example = str(told.value).partition("such as ")[2].partition(",")[0]
    check_amount(parsed(example))
