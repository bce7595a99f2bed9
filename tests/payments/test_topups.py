"""Money comes from a card once, and is credited once, whatever happens in between."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from payments import customers, topup_work, topups
from payments.errors import AmountRefused, NoCard, TopUpUnderWay
from payments.models import TopUp
from tests.casts.client import Api
from tests.payments.paying import (
    DECLINED,
    NEEDS_HOLDER,
    RETURN_URL,
    VISA,
    Killed,
    booked,
    die,
    fill_in,
    fold_events,
    later,
    remaining,
    told,
    with_card,
    work,
)
from tests.together import together

State = TopUp.State
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("currency", ["usd", "jpy", "kwd"])
def test_the_saved_card_is_charged_and_the_credit_booked_once(stripe, account, settings, currency):
    settings.BILLING_CURRENCY = currency
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    assert topup_work.advance(topup).state == State.SUCCEEDED
    assert work(TopUp) == 1  # the receipt
    topup.refresh_from_db()
    [intent] = stripe.objects("payment_intent")
    assert (intent["amount_received"], intent["currency"]) == (2500, currency)
    assert intent["metadata"]["topup"] == str(topup.pk)
    assert topup.intent_id == intent["id"]
    assert topup.receipt_url.startswith("http")
    assert booked(account) == [("topup", 2500)]
    assert remaining(account) == 2500
    [event] = told(account, "topup.")
    assert (event["kind"], event["cents"], event["topup_id"]) == ("topup.succeeded", 2500, str(topup.pk))
    later(TopUp)
    assert work(TopUp) == 0


@pytest.mark.parametrize(
    ("decline", "code", "told_as"),
    [
        ("generic_decline", "card_declined", "generic_decline"),
        ("insufficient_funds", "card_declined", "insufficient_funds"),
        ("expired_card", "expired_card", ""),
        ("processing_error", "processing_error", ""),
        ("stolen_card", "card_declined", "generic_decline"),  # Stripe wants it told so
        ("unheard_of", "card_declined", "unheard_of"),
    ],
)
def test_a_declined_card_fails_the_topup_with_its_code_and_plain_words(stripe, account, decline, code, told_as):
    customer = with_card(stripe, account)
    stripe.faults(cards={"decline": decline})
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    assert (topup.state, topup.code, topup.decline_code) == (State.FAILED, code, told_as)
    assert topup.message.endswith(".")
    assert "stolen" not in topup.message
    fold_events(stripe)
    later(TopUp)
    work(TopUp)
    [event] = told(account, "topup.")
    assert (event["kind"], event["decline_code"]) == ("topup.failed", told_as)
    assert booked(account) == []
    assert len(stripe.objects("payment_intent")) == 1


def test_a_topup_is_paid_on_stripes_page_with_the_second_card_and_the_card_is_saved(stripe, account):
    customer = customers.begin(account)
    topup = topup_work.advance(
        topups.begin(customer, 1000, by="bursar", hosted=True, save_card=True, return_url=RETURN_URL)
    )
    assert topup.state == State.REQUIRES_ACTION
    assert "declined" in fill_in(topup.action_url, DECLINED).text
    fold_events(stripe)
    topup.refresh_from_db()
    assert (topup.state, topup.decline_code) == (State.REQUIRES_ACTION, "generic_decline")
    assert fill_in(topup.action_url).headers["Location"] == RETURN_URL
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    customer.refresh_from_db()
    assert (topup.state, topup.action_url, topup.message) == (State.SUCCEEDED, "", "")
    assert (customer.card_last4, customer.card_brand) == ("4242", "visa")
    assert booked(account) == [("topup", 1000)]


def test_a_card_that_is_removed_before_it_is_saved_holds_nothing_up(stripe, account):
    customer = customers.begin(account)
    topup = topup_work.advance(topups.begin(customer, 1000, by="bursar", hosted=True, save_card=True))
    fill_in(topup.action_url)
    topup_work.look(topup)
    [method] = stripe.objects("payment_method")
    stripe.client().v1.payment_methods.detach(method["id"])
    later(TopUp)
    assert work(TopUp) == 1
    topup.refresh_from_db()
    assert (topup.save_card, topup.failed_steps, remaining(account)) == (False, 0, 1000)


def test_a_page_that_nobody_paid_ends_the_topup(stripe, account):
    topup = topup_work.advance(topups.begin(customers.begin(account), 1000, by="bursar", hosted=True))
    stripe.advance(25 * 3600)
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    assert (topup.state, topup.code, topup.action_url) == (State.CANCELLED, "expired", "")
    assert booked(account) == []
    assert told(account, "topup.") == []


@pytest.mark.parametrize("paid", [False, True])
def test_a_member_closes_a_page_unless_it_is_paid_already(stripe, account, paid):
    topup = topup_work.advance(topups.begin(customers.begin(account), 1000, by="bursar", hosted=True))
    url = topup.action_url
    if paid:
        fill_in(url)
    topup = topup_work.cancel(topup)
    assert topup.state == (State.SUCCEEDED if paid else State.CANCELLED)
    assert fill_in(url).status_code == (200 if paid else 410)
    assert remaining(account) == (1000 if paid else 0)


@pytest.mark.parametrize("outcome", ["paid", "left"])
def test_a_card_whose_bank_wants_its_holder_is_paid_on_a_page_instead_and_never_twice(stripe, account, outcome):
    customer = with_card(stripe, account, "pm_card_authenticationRequired")
    topup = topup_work.advance(topups.begin(customer, 1500, by="bursar"))
    assert topup.state == State.REQUIRES_ACTION
    work(TopUp)
    topup.refresh_from_db()
    assert topup.action_url
    [waits] = told(account, "topup.")
    assert (waits["kind"], waits["state"], waits["action_url"]) == ("topup.failed", "requires_action", topup.action_url)
    [first] = stripe.objects("payment_intent")
    assert first["status"] == "canceled"
    if outcome == "paid":
        fill_in(topup.action_url)
    else:
        stripe.advance(25 * 3600)
    fold_events(stripe)
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    assert topup.state == (State.SUCCEEDED if outcome == "paid" else State.FAILED)
    assert booked(account) == ([("topup", 1500)] if outcome == "paid" else [])
    assert [event["state"] for event in told(account, "topup.")] == ["requires_action", topup.state]
    received = [intent["amount_received"] for intent in stripe.objects("payment_intent")]
    assert sum(received) == sum(cents for _, cents in booked(account))


def test_the_card_s_bank_asks_on_the_page_too(stripe, account):
    topup = topup_work.advance(topups.begin(customers.begin(account), 1000, by="bursar", hosted=True))
    fill_in(topup.action_url, NEEDS_HOLDER, answer="fail")
    fold_events(stripe)
    topup.refresh_from_db()
    assert (topup.state, topup.code) == (State.REQUIRES_ACTION, "payment_intent_authentication_failure")
    fill_in(topup.action_url, NEEDS_HOLDER, answer="complete")
    fold_events(stripe)
    topup.refresh_from_db()
    assert (topup.state, booked(account)) == (State.SUCCEEDED, [("topup", 1000)])


@pytest.mark.parametrize(
    ("cents", "currency"), [(49, "usd"), (10**8, "usd"), (0, "jpy"), (-5, "usd"), (1255, "kwd"), (150, "isk")]
)
def test_an_amount_that_no_card_can_be_charged_is_refused_before_anything_is_stored(account, settings, cents, currency):
    settings.BILLING_CURRENCY = currency
    with pytest.raises(AmountRefused):
        topups.begin(customers.begin(account), cents, by="bursar", hosted=True)
    assert not TopUp.objects.exists()


def test_without_a_card_and_while_one_charge_is_under_way_no_charge_begins(stripe, account):
    customer = customers.begin(account)
    with pytest.raises(NoCard):
        topups.begin(customer, 1000, by="bursar")
    customer = with_card(stripe, account)
    first = topups.begin(customer, 1000, by="bursar", request_key="once")
    with pytest.raises(TopUpUnderWay) as refused:
        topups.begin(customer, 1000, by="bursar")
    assert refused.value.extra["topup_id"] == str(first.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        topups.begin(customer, 1000, by="bursar", request_key="once")


def test_a_decline_leaves_402_and_a_topup_lets_the_next_cast_through(stripe, account, secret, spell):
    customer = with_card(stripe, account)
    stripe.faults(cards={"decline": "insufficient_funds"})
    topup_work.advance(topups.begin(customer, 1000, by="bursar"))
    order = {"spell_key": spell.key, "input": {}}
    refused = Api(secret).post("/cast", order)
    assert (refused.status_code, refused.json()["scope"]) == (402, "credit")
    stripe.faults(cards={"decline": ""})
    topup_work.advance(topups.begin(customer, 1000, by="bursar"))
    assert Api(secret).post("/cast", order).status_code == 201
    assert remaining(account) == 1000 - spell.price_cents


def test_neither_cards_nor_what_stripe_says_of_people_gets_into_logs(stripe, account, caplog):
    caplog.set_level("DEBUG")
    customer = customers.begin(account, email="bursar@example.com")
    topup = topup_work.advance(topups.begin(customer, 1000, by="bursar", hosted=True, save_card=True))
    fill_in(topup.action_url, DECLINED)
    fill_in(topup.action_url)
    fold_events(stripe)
    work(TopUp)
    assert booked(account)
    written = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert str(topup.pk) in written
    for private in (VISA, DECLINED, "bursar@example.com", "A. Bursar", "billing_details", "last4"):
        assert private not in written


# --- killed, unanswered, at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["reset_before", "reset_after", "error_5xx", "error_5xx_after", "error_500_kept_after", "rate_limit"]
)
@pytest.mark.parametrize("hosted", [False, True])
def test_an_answer_that_never_came_is_made_up_for_under_the_same_key(stripe, account, fault, hosted):
    customer = with_card(stripe, account)
    path = "/v1/checkout/sessions$" if hosted else "/v1/payment_intents$"
    stripe.faults(api={fault: 1, "times": 2, "paths": path, "methods": ["POST"]})
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar", hosted=hosted))
    assert topup.state == State.NEW
    for _ in range(3):
        later(TopUp)
        work(TopUp)
    topup.refresh_from_db()
    assert topup.state == (State.REQUIRES_ACTION if hosted else State.SUCCEEDED)
    keys = {asked["idempotency_key"] for asked in stripe.record(path.rstrip("$"), "POST")}
    assert len(keys) == 1
    assert len(stripe.objects("checkout.session" if hosted else "payment_intent")) == 1
    assert booked(account) == ([] if hosted else [("topup", 2500)])


@pytest.mark.parametrize("acted", [True, False])
def test_after_a_day_of_doubt_stripe_s_list_decides_and_nothing_is_sent_again(stripe, account, monkeypatch, acted):
    customer = with_card(stripe, account)
    if acted:
        stripe.faults(api={"reset_after": 1, "times": 1, "paths": "/v1/payment_intents$", "methods": ["POST"]})
    else:
        stripe.faults(unreachable=True)
    topup = topup_work.advance(topups.begin(customer, 2500, by="bursar"))
    assert topup.state == State.NEW
    stripe.faults(unreachable=False)
    stripe.advance(24 * 3600 + 1)
    now = timezone.now() + dt.timedelta(hours=24, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: now)
    work(TopUp)
    topup.refresh_from_db()
    sent = stripe.record("/v1/payment_intents", "POST")
    if acted:
        assert (topup.state, booked(account)) == (State.SUCCEEDED, [("topup", 2500)])
    else:
        assert (topup.state, topup.code, booked(account)) == (State.FAILED, "unreachable", [])
    assert len(sent) <= 1
    assert len(stripe.objects("payment_intent")) == (1 if acted else 0)


def test_a_payment_that_stripe_left_half_made_ends_after_a_day(stripe, account, monkeypatch):
    """It would be found again and again, and hold up every later charge of the card."""
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    TopUp.objects.filter(pk=topup.pk).update(first_sent_at=timezone.now())
    half = {"amount": 2500, "currency": "usd", "customer": customer.stripe_id, "metadata": {"topup": str(topup.pk)}}
    made = stripe.client().v1.payment_intents.create({**half, "allowed_payment_method_types": ["card"]})
    begun = timezone.now()
    for hours, state in ((1, State.NEW), (24, State.CANCELLED)):
        now = begun + dt.timedelta(hours=hours)
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        later(TopUp)
        work(TopUp)
        topup.refresh_from_db()
        assert (topup.state, topup.intent_id) == (state, made.id)
    assert booked(account) == []


def test_a_payment_that_the_key_does_not_know_is_asked_for_again_when_the_key_is_right(stripe, account):
    topup = topups.begin(with_card(stripe, account), 2500, by="bursar")
    [made] = [topup_work.advance(topup).intent_id]
    TopUp.objects.filter(pk=topup.pk).update(state=State.PROCESSING, intent_id="pi_of_another_account")
    waiting = topup_work.advance(TopUp.objects.get(pk=topup.pk))
    assert (waiting.state, waiting.due_at is not None) == (State.PROCESSING, True)
    TopUp.objects.filter(pk=topup.pk).update(intent_id=made)
    later(TopUp)
    work(TopUp)
    assert TopUp.objects.get(pk=topup.pk).state == State.SUCCEEDED


@pytest.mark.parametrize("acted", [True, False])
def test_a_worker_killed_around_the_call_leaves_one_payment(stripe, account, monkeypatch, acted):
    """It dies after its intent is committed, before the call; or after the call, before its answer is folded."""
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    with monkeypatch.context() as patched:
        if acted:
            patched.setattr(topups, "fold_intent", die)
        else:
            patched.setattr("payments.client.client", die)
        with pytest.raises(Killed):
            topup_work.step(topup)
    assert len(stripe.objects("payment_intent")) == acted
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    assert (topup.state, booked(account)) == (State.SUCCEEDED, [("topup", 2500)])
    assert len(stripe.objects("payment_intent")) == 1


def test_a_webhook_that_comes_before_the_answer_books_it(stripe, account, monkeypatch):
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    fold = topups.fold_intent

    def webhook_first(answer):
        monkeypatch.setattr(topups, "fold_intent", fold)
        fold_events(stripe)
        assert booked(account) == [("topup", 2500)]
        return fold(answer)

    monkeypatch.setattr(topups, "fold_intent", webhook_first)
    topup_work.step(topup)
    assert booked(account) == [("topup", 2500)]
    assert len(told(account, "topup.")) == 1


def test_money_of_the_other_mode_or_another_currency_buys_nothing(stripe, account, settings):
    customer = with_card(stripe, account)
    topup = topup_work.advance(topups.begin(customer, 1000, by="bursar", hosted=True))
    fill_in(topup.action_url)
    paid = stripe.objects("payment_intent")[0]
    assert not topups.fold_facts(paid | {"livemode": True})
    settings.BILLING_CURRENCY = "eur"
    later(TopUp)
    work(TopUp)
    topup.refresh_from_db()
    assert (topup.state, topup.code, booked(account)) == (State.FAILED, "currency", [])
    assert topup.to_settle.endswith("took 1000 USD in its smallest unit, and nothing is credited.")
    TopUp.objects.update(to_settle="")  # as an operator says
    topups.fold_facts(paid | {"status": "succeeded"})
    assert not TopUp.objects.exclude(to_settle="").exists()
    settings.STRIPE_SECRET_KEY = "sk_live_1"
    with pytest.raises(customers.OtherMode):
        customers.at_stripe(customer)


def test_should_a_topup_be_paid_twice_all_that_was_paid_is_credited(stripe, account, caplog):
    topup = topup_work.advance(topups.begin(with_card(stripe, account), 1000, by="bursar"))
    [first] = stripe.objects("payment_intent")
    topups.fold_facts(first | {"id": "pi_second"})
    topups.fold_facts(first | {"id": "pi_second"})
    topup.refresh_from_db()
    assert topup.intent_id == first["id"]
    assert "paid again, by pi_second" in topup.to_settle
    assert booked(account) == [("topup", 1000), ("topup", 1000)]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["paid again"]


def test_a_payment_of_somebody_else_in_the_same_stripe_account_is_nobody_s(stripe, account):
    stripe.client().v1.payment_intents.create(
        {"amount": 999, "currency": "usd", "metadata": {"topup": "order-17"}}, {"idempotency_key": "theirs"}
    )
    [theirs] = stripe.objects("payment_intent")
    assert topups.fold_facts(theirs) is False


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_take_the_money_once(stripe, account):
    customer = with_card(stripe, account)
    topup = topups.begin(customer, 2500, by="bursar")
    together([lambda: topup_work.step(TopUp.objects.get(pk=topup.pk))] * 4)
    later(TopUp)
    work(TopUp)
    assert booked(account) == [("topup", 2500)]
    assert len(stripe.objects("payment_intent")) == 1
    assert len(told(account, "topup.")) == 1
