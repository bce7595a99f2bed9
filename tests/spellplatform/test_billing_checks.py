"""What is refused, and what is warned of, before money can be moved wrongly."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from accounts.models import Account, Credit
from payments import books
from spellplatform import billing_checks

LIVE = "sk_live_51Nobodys"
SECRET = "whsec_tests4Qx9Kp2Vn7Rb5Tz1Lm8"
GOOD = {
    "STRIPE_SECRET_KEY": "sk_test_51Nobodys",
    "BILLING": True,
    "STRIPE_API_URL": "https://api.stripe.com",
    "STRIPE_WEBHOOK_SECRETS": [SECRET],
    "BILLING_CURRENCY": "usd",
    "PUBLIC_URL": "https://spells.example.com",
    "DEBUG": False,
}


def found(settings: Any, **changes: Any) -> list[str]:
    for name, value in (GOOD | changes).items():
        setattr(settings, name, value)
    messages = [one for one in run_checks() if str(one.id).startswith(("spell.E04", "spell.W04"))]
    for one in messages:
        told = f"{one.msg} {one.hint}"
        assert one.hint, one.msg
        assert not [s for s in (LIVE, SECRET, str(changes.get("STRIPE_SECRET_KEY"))) if s and s in told], told
    return sorted(str(one.id).removeprefix("spell.") for one in messages)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({}, []),
        ({"STRIPE_SECRET_KEY": "rk_live_51Nobodys"}, []),
        ({"STRIPE_SECRET_KEY": "pk_test_51Nobodys"}, ["E041"]),
        ({"STRIPE_SECRET_KEY": "whsec_51Nobodys"}, ["E041"]),
        ({"STRIPE_SECRET_KEY": "sk_51Nobodys"}, ["E041"]),
        ({"STRIPE_SECRET_KEY": "sk_test_51 Nobodys"}, ["E041"]),
        ({"STRIPE_SECRET_KEY": LIVE, "DEBUG": True}, ["E042"]),
        ({"STRIPE_SECRET_KEY": LIVE, "PUBLIC_URL": "http://127.0.0.1:8000"}, ["E042"]),
        ({"STRIPE_API_URL": "http://stripe.example.com"}, ["E043"]),
        ({"STRIPE_API_URL": "stripe.example.com"}, ["E043"]),
        ({"STRIPE_API_URL": "http://127.0.0.1:8082"}, []),
        ({"STRIPE_API_URL": "http://127.0.0.1:8082", "STRIPE_SECRET_KEY": LIVE}, ["E043", "W040"]),
        ({"STRIPE_API_URL": "https://stripe.example.com", "STRIPE_SECRET_KEY": LIVE}, ["W040"]),
        ({"STRIPE_WEBHOOK_SECRETS": []}, ["E044"]),
        ({"STRIPE_WEBHOOK_SECRETS": [], "DEBUG": True}, []),
        ({"STRIPE_WEBHOOK_SECRETS": [], "PUBLIC_URL": "http://127.0.0.1:8000"}, ["W044"]),
        ({"STRIPE_WEBHOOK_SECRETS": [SECRET, "whsec_local", "whsec_" + "a" * 32]}, ["E045", "E045"]),
        ({"STRIPE_WEBHOOK_SECRETS": [GOOD["STRIPE_SECRET_KEY"]]}, ["E045"]),
        ({"BILLING_CURRENCY": "udd"}, ["E046"]),
        ({"BILLING_CURRENCY": ""}, ["E046"]),
        ({"BILLING_CURRENCY": "kwd"}, []),
        ({"BILLING": False, "STRIPE_SECRET_KEY": "", "STRIPE_API_URL": "x", "BILLING_CURRENCY": "x"}, []),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is(settings: Any, changes: dict[str, Any], ids: list[str]) -> None:
    assert found(settings, **changes) == ids


def test_without_the_library_it_is_said_how_to_get_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        setattr(settings, name, value)
    assert billing_checks.stripe_library(None) == []
    monkeypatch.setattr(billing_checks, "find_spec", lambda name: None)
    [error] = billing_checks.stripe_library(None)
    assert "pip install" in str(error.hint)


@pytest.mark.django_db
def test_currency_and_mode_are_fixed_once_something_is_booked(settings: Any, account: Account) -> None:
    assert found(settings, BILLING_CURRENCY="eur") == []
    books.ensure()
    assert found(settings, BILLING_CURRENCY="usd") == []  # nothing is booked yet
    books.ensure()
    Credit.objects.create(account=account, kind="grant", cents=100, source="grant:1")
    assert found(settings) == []
    assert found(settings, BILLING_CURRENCY="jpy") == ["E047"]
    assert found(settings, BILLING_CURRENCY="jpy", STRIPE_SECRET_KEY=LIVE) == ["E047", "E047"]
    books.ensure()  # changes nothing any more
    assert found(settings, STRIPE_SECRET_KEY=LIVE) == ["E047"]
    assert found(settings) == []
