"""A cast that the credit does not pay begins the automatic top-up with which it would."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from accounts import credit
from accounts.models import Account
from casts.models import Spell
from payments import autotopup
from payments.models import Customer, TopUp
from tests.casts.client import Api
from tests.payments.paying import booked, remaining, with_card, work
from tests.stripes import Stripe
from tests.together import together

pytestmark = pytest.mark.django_db
PRICE = 500


@pytest.fixture
def customer(stripe: Stripe, account: Account, spell: Spell, settings: Any) -> Customer:
    """It has 200 and tops up below 100, so no cast at 500 ever brings its credit below the mark."""
    settings.CREDIT_LOW = ["payments.autotopup.credit_low"]
    settings.CREDIT_REFUSED = ["payments.autotopup.cast_refused"]
    Spell.objects.update(price_cents=PRICE)
    Account.objects.update(monthly_cap_cents=None)
    found = with_card(stripe, account)
    credit.book(account.pk, "grant", 200, "grant:1")
    autotopup.switch_on(found, below_cents=100, cents=1000)
    return found


def cast(secret: str, spell: Spell) -> Any:
    return Api(secret).post("/cast", {"spell_key": spell.key, "input": {}})


def test_it_is_told_when_to_try_again_and_passes_then(stripe, account, secret, spell, customer):
    for detail in ("A top-up of 10.00 USD has begun", "is under way"):
        refused = cast(secret, spell)
        assert (refused.status_code, refused.json()["scope"], refused.headers["Retry-After"]) == (402, "credit", "5")
        assert detail in refused.json()["detail"]
    assert work(TopUp) == 2
    assert cast(secret, spell).status_code == 201
    assert booked(account) == [("grant", 200), ("topup", 1000)]


def test_what_would_not_help_or_is_not_wanted_is_not_charged(stripe, account, secret, spell, customer):
    Spell.objects.update(price_cents=1201)
    refused = cast(secret, spell)
    assert "Automatic top-ups add 10.00 USD, which is not enough" in refused.json()["detail"]
    assert "Retry-After" not in refused.headers
    Spell.objects.update(price_cents=PRICE)
    autotopup.switch_off(customer, why="The card was removed.")
    assert cast(secret, spell).json()["detail"].endswith("GET /api/v1/billing says how.")
    assert not TopUp.objects.exists()


def test_while_a_card_is_declined_refused_casts_charge_no_oftener(stripe, secret, spell, customer, clock):
    stripe.faults(cards={"decline": "insufficient_funds"})
    tried = []
    for _ in range(60):
        for _ in range(3):
            assert cast(secret, spell).status_code == 402
            work(TopUp)
        tried.append(TopUp.objects.count())
        clock.ahead += dt.timedelta(minutes=10)
    assert (tried[0], tried[5], tried[6], tried[41], tried[43], tried[-1]) == (1, 1, 2, 2, 3, 3)
    customer.refresh_from_db()
    assert "failed 3 times in a row" in customer.auto_topup_off_reason


def test_no_sequence_of_casts_charges_more_than_they_need(stripe, account, secret, spell, customer, clock):
    """Each automatic top-up was needed: it came below the mark, or let a cast through that had been refused."""
    chance = random.Random(5)
    for _ in range(40):
        price = chance.choice((50, 400, 900, 1300, 5000))
        Spell.objects.update(price_cents=price)
        before, left = TopUp.objects.count(), remaining(account)
        status = cast(secret, spell).status_code
        begun = TopUp.objects.count() - before
        needed = left - price < 100 <= left if status == 201 else left < price <= left + 1000
        as_many_as_may = TopUp.objects.filter(created_at__gt=clock.now() - autotopup.MOST_WITHIN).count() - begun
        assert begun == (needed and as_many_as_may < autotopup.MOST)
        work(TopUp)
        clock.ahead += dt.timedelta(minutes=chance.choice((1, 15)))
    paid = sum(cents for kind, cents in booked(account) if kind == "topup")
    assert paid == 1000 * TopUp.objects.count()
    assert paid > 10_000, "else this has shown little"


@pytest.mark.django_db(transaction=True)
def test_casts_that_are_refused_while_it_is_paid_begin_no_other_topup(stripe, account, customer):
    refused = [lambda: autotopup.cast_refused(account.pk, PRICE)] * 4
    for _ in range(3):
        answers = together([*refused, lambda: work(TopUp), autotopup.sweep, *refused])
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        work(TopUp)
        assert (TopUp.objects.count(), remaining(account)) == (1, 1200)
