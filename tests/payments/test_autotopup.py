"""Credit that runs low tops itself up, until the card is declined three times in a row."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.utils import timezone

from accounts import budget, credit
from payments import autotopup, cards, subscriptions, topup_work, topups
from payments.errors import AmountRefused, NoCard, PaysByInvoice
from payments.models import TopUp
from tests.payments.paying import booked, fold_events, remaining, told, with_card, work
from tests.together import together

pytestmark = pytest.mark.django_db
AUTO = TopUp.Origin.AUTO


@pytest.fixture
def customer(stripe, account, settings):
    """It has 1000 of credit, and tops up by 2000 when there are less than 500."""
    settings.CREDIT_LOW = ["payments.autotopup.credit_low"]
    found = with_card(stripe, account)
    credit.book(account.pk, "grant", 1000, "grant:1")
    autotopup.switch_on(found, below_cents=500, cents=2000)
    account.refresh_from_db()
    return found


def spend(account, cents):
    budget.hold(account, cast_id=uuid.uuid4(), cents=cents)


def test_it_tops_up_once_when_a_cast_takes_credit_below_the_mark(stripe, account, customer):
    spend(account, 500)
    assert not TopUp.objects.exists()
    spend(account, 1)
    spend(account, 1)
    autotopup.sweep()
    [topup] = TopUp.objects.all()
    assert (topup.origin, topup.cents) == (AUTO, 2000)
    work(TopUp)
    assert booked(account) == [("grant", 1000), ("topup", 2000)]
    assert remaining(account) == 2498
    autotopup.sweep()
    assert TopUp.objects.count() == 1


def test_it_goes_on_while_one_topup_is_not_enough(stripe, account, customer):
    autotopup.switch_on(customer, below_cents=5000, cents=2000)
    work(TopUp)
    assert TopUp.objects.count() == 2
    assert remaining(account) == 5000


def test_ten_an_hour_are_the_most(stripe, account, customer, monkeypatch):
    with pytest.raises(AmountRefused) as caught:
        autotopup.switch_on(customer, below_cents=20_001, cents=2000)
    assert caught.value.extra["least_cents"] == 2001
    autotopup.switch_on(customer, below_cents=20_000, cents=2000)
    credit.book(account.pk, "grant", -11_000, "grant:taken-back")
    work(TopUp, rounds=20)
    assert TopUp.objects.count() == 10
    later = timezone.now() + dt.timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    autotopup.sweep()
    work(TopUp, rounds=20)
    assert remaining(account) == 20_000


def test_what_was_not_asked_for_is_not_charged_once_it_is_switched_off(stripe, account, customer):
    """Stripe is away when credit falls, and it is switched off before Stripe is back."""
    stripe.faults(unreachable=True)
    spend(account, 600)
    work(TopUp)
    autotopup.switch_off(customer)
    stripe.faults(unreachable=False)
    TopUp.due_rows().update(due_at=timezone.now())
    work(TopUp)
    [topup] = TopUp.objects.all()
    customer.refresh_from_db()
    assert (topup.state, topup.code, customer.auto_topup_failures) == ("cancelled", "switched_off", 0)
    assert not stripe.objects("payment_intent")


def test_who_pays_by_invoice_does_not_top_up_as_well(stripe, account, customer):
    autotopup.switch_off(customer)
    subscriptions.set_mode(customer, "metered", 10_000, by="an operator")
    with pytest.raises(PaysByInvoice):
        autotopup.switch_on(customer, below_cents=500, cents=2000)
    spend(account, 600)
    autotopup.sweep()
    assert not TopUp.objects.exists()


def test_it_is_switched_off_after_three_declines_in_a_row_and_on_again_by_the_member(
    stripe, account, customer, monkeypatch
):
    stripe.faults(cards={"decline": "insufficient_funds"})
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    spend(account, 600)
    for number, wait in enumerate([dt.timedelta(hours=1), dt.timedelta(hours=6), None], 1):
        work(TopUp)
        customer.refresh_from_db()
        assert customer.auto_topup_failures == number == TopUp.objects.count()
        assert autotopup.is_on(customer) == (number < 3)
        spend(account, 1)
        autotopup.sweep()
        assert TopUp.objects.count() == number  # a bank that says no is not asked again at once
        now += (wait or dt.timedelta(days=30)) + dt.timedelta(seconds=1)
        autotopup.sweep()
        assert TopUp.objects.count() == number + (number < 3)
    fold_events(stripe)
    customer.refresh_from_db()
    assert (customer.auto_topup_failures, customer.auto_topup_cents) == (3, 2000)
    assert "not enough money" in customer.auto_topup_off_reason
    events = told(account, "topup.failed")
    assert [event["automatic_topups_on"] for event in events] == [True, True, False]

    stripe.faults(cards={"decline": ""})
    autotopup.switch_on(customer, below_cents=500, cents=2000)
    work(TopUp)
    customer.refresh_from_db()
    assert (customer.auto_topup_failures, customer.auto_topup_off_reason) == (0, "")
    assert remaining(account) == 1000 - 603 + 2000


def test_one_that_succeeds_forgets_those_that_failed(stripe, account, customer, monkeypatch):
    stripe.faults(cards={"decline": "insufficient_funds"})
    spend(account, 600)
    work(TopUp)
    stripe.faults(cards={"decline": ""})
    later = timezone.now() + dt.timedelta(hours=2)
    monkeypatch.setattr(timezone, "now", lambda: later)
    autotopup.sweep()
    work(TopUp)
    customer.refresh_from_db()
    assert customer.auto_topup_failures == 0
    assert remaining(account) == 2400


def test_while_a_member_is_waited_for_nothing_more_is_charged(stripe, account, customer):
    method = stripe.client().v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": customer.stripe_id}
    )
    cards.adopt(customer, method.id)
    spend(account, 600)
    work(TopUp)
    spend(account, 1)
    autotopup.sweep()
    [topup] = TopUp.objects.all()
    assert (topup.state, topup.hosted) == (TopUp.State.REQUIRES_ACTION, True)
    assert told(account, "topup.failed")[0]["action_url"] == topup.action_url


def test_it_needs_a_card_and_amounts_that_can_be_charged(stripe, account, customer):
    with pytest.raises(AmountRefused):
        autotopup.switch_on(customer, below_cents=500, cents=10)
    with pytest.raises(AmountRefused):
        autotopup.switch_on(customer, below_cents=-1, cents=1000)
    cards.remove(customer)
    assert customer.auto_topup_off_reason == "The card was removed."
    with pytest.raises(NoCard):
        autotopup.switch_on(customer, below_cents=500, cents=1000)
    spend(account, 600)
    autotopup.sweep()
    assert not TopUp.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_casts_sweeps_and_payments_at_once_make_one_topup_at_a_time_and_wait_for_nobody(stripe, account, customer):
    spend(account, 495)
    topup = topups.begin(customer, 1000, by="bursar")
    results = together(
        [
            *[lambda: spend(account, 3)] * 4,
            *[autotopup.sweep] * 2,
            lambda: topup_work.step(TopUp.objects.get(pk=topup.pk)),
            lambda: work(TopUp),
        ]
    )
    assert [result for result in results if isinstance(result, Exception)] == []
    work(TopUp)
    automatic = TopUp.objects.filter(origin=AUTO)
    assert automatic.filter(state__in=TopUp.OPEN).count() == 0
    assert automatic.count() <= 1
    assert booked(account).count(("topup", 2000)) == automatic.count()
    assert remaining(account) == 1000 - 507 + 1000 + 2000 * automatic.count()
