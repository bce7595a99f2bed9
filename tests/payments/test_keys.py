"""Stripe keeps a failure under its key for a day: another key is taken, and never a second payment made."""

from __future__ import annotations

import datetime as dt
import random
from contextlib import suppress
from typing import Any

import pytest

from accounts.models import Account
from payments import cards, client, customers, refunds, topup_work, topups
from payments.models import Customer, Refund, TopUp
from payments.refunds import RefundWork
from payments.topups import State
from tests.payments.metered import Clock
from tests.payments.paying import Killed, booked, die, fill_in, fold_events, later, remaining, with_card, work
from tests.stripes import Stripe

pytestmark = pytest.mark.django_db
INTENTS, PAGES, REFUNDS = "/v1/payment_intents$", "/v1/checkout/sessions$", "/v1/refunds$"
FAULTS = ("reset_before", "reset_after", "error_5xx", "error_5xx_after", "error_500_kept", "error_500_kept_after")
DEADLY = (
    "payments.topups.fold_intent",
    "payments.refunds.fold_refund",
    "payments.keys.renew",
    "payments.keys._as_read",
)
MINUTES = [dt.timedelta(seconds=seconds) for seconds in (1, 2, 70, 140, 280)]


def fail(stripe: Stripe, path: str, faults: dict[str, float], times: int | None = 1) -> None:
    stripe.faults(reset=True, api={**faults, "times": times, "paths": path, "methods": ["POST"]})


def kept(acted: bool) -> dict[str, float]:
    return {"error_500_kept_after" if acted else "error_500_kept": 1.0}


def keys_of(stripe: Stripe, path: str) -> list[str]:
    return list(dict.fromkeys(one["idempotency_key"] for one in stripe.record(path.rstrip("$"), "POST")))


def wait(clock: Clock, model: Any, times: int = len(MINUTES)) -> None:
    for after in MINUTES[:times]:
        clock.ahead += after
        later(model)
        work(model)


@pytest.mark.parametrize("acted", [True, False])
@pytest.mark.parametrize("hosted", [True, False])
def test_a_topup_goes_on_under_its_next_key_if_nothing_was_made(stripe, account, clock, hosted, acted):
    customer = with_card(stripe, account)
    path, kind = (PAGES, "checkout.session") if hosted else (INTENTS, "payment_intent")
    fail(stripe, path, kept(acted))
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar", hosted=hosted))
    assert topup.state == State.NEW
    wait(clock, TopUp, 2)
    assert len(keys_of(stripe, path)) == 1, "what Stripe may still be at is given a minute"
    wait(clock, TopUp)
    topup.refresh_from_db()
    assert topup.state == (State.REQUIRES_ACTION if hosted else State.SUCCEEDED)
    page = "-page" if hosted else ""
    assert keys_of(stripe, path) == [f"topup-{topup.pk}{page}", f"topup-2-{topup.pk}{page}"][: 1 if acted else 2]
    assert len(stripe.objects(kind)) == 1
    if hosted:
        fill_in(topup.action_url)
        wait(clock, TopUp, 1)
    assert booked(account) == [("topup", 2500)]


def test_keys_are_used_up_one_by_one_until_the_day_is_over(stripe, account, clock):
    customer = with_card(stripe, account)
    fail(stripe, INTENTS, kept(False), None)
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    for _ in range(60):
        clock.ahead += dt.timedelta(minutes=30)
        later(TopUp)
        work(TopUp)
    topup.refresh_from_db()
    assert (topup.state, topup.code, topup.keys_spent > 10) == (State.FAILED, "unreachable", True)
    assert (stripe.objects("payment_intent"), booked(account)) == ([], [])


@pytest.mark.parametrize("acted", [True, False])
def test_a_refund_is_given_once(stripe, account, clock, acted):
    topup = topup_work.advance(topups.begin(with_card(stripe, account), 2500, by="bursar"))
    fail(stripe, REFUNDS, kept(acted))
    refund = refunds.begin(topup, 1000, reason="broken", by="operator")
    work(Refund)
    wait(clock, Refund)
    refund.refresh_from_db()
    assert (refund.state, remaining(account)) == (Refund.State.SUCCEEDED, 1500)
    assert len(stripe.objects("refund")) == 1
    assert len(keys_of(stripe, REFUNDS)) == (1 if acted else 2)


@pytest.mark.parametrize("acted", [True, False])
def test_a_customer_is_made_at_the_third_time(stripe, account, acted):
    """Not a day later: until there is one, no card is saved."""
    customer = customers.begin(account)
    fail(stripe, "/v1/customers$", kept(acted))
    for _ in range(2):
        with pytest.raises(client.Unavailable):
            cards.begin_setup(customer, return_url="http://testserver/")
    assert cards.begin_setup(customer, return_url="http://testserver/").url
    assert len(stripe.objects("customer")) == 1
    assert Customer.objects.get().stripe_id == stripe.objects("customer")[0]["id"]


def test_who_has_looked_before_the_key_was_used_up_takes_no_other(stripe, account, clock):
    """Of two workers with one row, the slower one must not take the key after the next."""
    customer = with_card(stripe, account)
    fail(stripe, INTENTS, kept(False))
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    wait(clock, TopUp, 1)
    slow = TopUp.objects.get()
    assert slow.spent_at is not None
    clock.ahead += dt.timedelta(minutes=2)
    fail(stripe, INTENTS, {"reset_after": 1.0})
    topup_work.step(TopUp.objects.get())
    topup_work.send(slow)
    topup.refresh_from_db()
    assert (topup.keys_spent, topup.state) == (1, State.SUCCEEDED)
    assert (len(stripe.objects("payment_intent")), booked(account)) == (1, [("topup", 2500)])


def test_what_was_made_for_a_customer_that_was_deleted_since_is_found_too(stripe, account, clock):
    customer = with_card(stripe, account)
    fail(stripe, INTENTS, kept(True))
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    stripe.client().v1.customers.delete(customer.stripe_id)
    cards.refresh(customer)
    clock.ahead += dt.timedelta(seconds=1)
    assert customers.at_stripe(customer) == stripe.objects("customer")[0]["id"]
    wait(clock, TopUp)
    topup.refresh_from_db()
    assert (topup.state, len(stripe.objects("payment_intent"))) == (State.SUCCEEDED, 1)


@pytest.mark.parametrize("seed", range(6))
def test_no_schedule_of_faults_and_kills_takes_the_money_twice(stripe, account, clock, monkeypatch, seed):
    schedule(random.Random(seed), stripe, account, clock, monkeypatch)


def schedule(
    chance: random.Random, stripe: Stripe, account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have a top-up, and then its refund, go through trouble, and in the end through none."""
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar", hosted=chance.random() < 0.3)
    for _ in range(chance.randrange(1, 10)):
        trouble(chance, stripe, topup, topup_work.step, monkeypatch)
        clock.ahead += dt.timedelta(seconds=chance.choice((1, 5, 61, 300)))
    for _ in range(4):
        clock.ahead += dt.timedelta(minutes=2)
        topup_work.step(TopUp.objects.get())
    topup.refresh_from_db()
    if topup.hosted:
        assert len(stripe.objects("checkout.session")) == 1
        fill_in(topup.action_url)
        topup_work.step(topup)
    assert (len(stripe.objects("payment_intent")), booked(account)) == (1, [("topup", 2500)])
    refund = refunds.begin(topup, 1000, reason="broken", by="operator")
    for _ in range(chance.randrange(1, 6)):
        trouble(chance, stripe, refund, RefundWork().step, monkeypatch)
        clock.ahead += dt.timedelta(seconds=chance.choice((1, 5, 61, 300)))
    for _ in range(4):
        clock.ahead += dt.timedelta(minutes=2)
        RefundWork().step(refund)
    refund.refresh_from_db()
    assert (refund.state, remaining(account), len(stripe.objects("refund"))) == (Refund.State.SUCCEEDED, 1500, 1)


def trouble(chance: random.Random, stripe: Stripe, row: Any, step: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step a row, perhaps twice, the second time as it was before, among faults and kills; perhaps fold events."""
    fail(stripe, "", {fault: chance.choice((0.0, 0.2, 0.5)) for fault in FAULTS}, None)
    stale = type(row)._base_manager.get(pk=row.pk)
    with monkeypatch.context() as patched:
        if chance.random() < 0.3:
            patched.setattr(chance.choice(DEADLY), die)
        with suppress(Killed, client.StripeTrouble):
            step(type(row)._base_manager.get(pk=row.pk))
            if chance.random() < 0.3:
                send = topup_work.send if isinstance(row, TopUp) else refunds.send
                send(stale)
    stripe.faults(reset=True)
    if chance.random() < 0.2:
        fold_events(stripe, order=chance.choice((reversed, list)))
