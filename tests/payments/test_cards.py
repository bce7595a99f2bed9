"""Customers are made at Stripe once, and the card that counts is the one that Stripe says."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from payments import autotopup, cards, customers, topup_work, topups
from payments.client import Missing, Unavailable
from payments.models import Customer
from tests.payments.paying import (
    NEEDS_HOLDER,
    RETURN_URL,
    Killed,
    die,
    fill_in,
    fold_events,
    with_card,
)
from tests.together import together

pytestmark = pytest.mark.django_db
MASTERCARD = "5555555555554444"


@pytest.fixture
def customer(stripe, account):
    return customers.begin(account, email="bursar@example.com")


def saved(customer):
    customer.refresh_from_db()
    return customer.card_brand, customer.card_last4, customer.card_exp_month, customer.card_exp_year


# --- customers -----------------------------------------------------------------------------------------------------


def test_the_row_comes_first_and_the_account_is_billed_from_then_on(stripe, account, customer):
    account.refresh_from_db()
    assert account.billed
    assert stripe.objects("customer") == []
    assert customers.begin(account).pk == customer.pk
    made = customers.at_stripe(customer)
    assert customers.at_stripe(customer) == made
    [there] = stripe.objects("customer")
    assert (there["email"], there["metadata"]["customer"]) == ("bursar@example.com", str(customer.key))


@pytest.mark.parametrize("trouble", ["answer lost", "killed", "renamed meanwhile", "a day passes"])
def test_an_unanswered_request_makes_one_customer(stripe, account, customer, monkeypatch, trouble):
    if trouble == "killed":
        made = customers._made
        with monkeypatch.context() as patched:
            patched.setattr(customers, "_made", lambda one: (made(one), die()))
            with pytest.raises(Killed):
                customers.at_stripe(customer)
    else:
        stripe.faults(api={"reset_after": 1, "times": 1, "paths": "/v1/customers$", "methods": ["POST"]})
        with pytest.raises(Unavailable):
            customers.at_stripe(customer)
    if trouble == "renamed meanwhile":
        Customer.objects.update(email="dean@example.com")
    if trouble == "a day passes":
        stripe.advance(24 * 3600 + 1)
        now = timezone.now() + dt.timedelta(hours=24, seconds=1)
        monkeypatch.setattr(timezone, "now", lambda: now)
    [there] = stripe.objects("customer")
    assert customers.at_stripe(customer) == there["id"]
    assert len(stripe.objects("customer")) == 1


@pytest.mark.parametrize("trouble", ["reset_before", "error_500_kept", "error_500_kept_after"])
@pytest.mark.parametrize("waited", [dt.timedelta(minutes=15), dt.timedelta(hours=30)])
def test_a_customer_whose_making_failed_at_stripe_is_there_soon(stripe, customer, monkeypatch, trouble, waited):
    """Stripe answers its own failure again for as long as it keeps the key: a day, in which nobody could pay."""
    stripe.faults(api={trouble: 1, "times": 1, "paths": "/v1/customers$"})
    for _ in range(2 if "kept" in trouble else 1):
        with pytest.raises(Unavailable):
            customers.at_stripe(customer)
    now = timezone.now() + waited
    monkeypatch.setattr(timezone, "now", lambda: now)
    [made] = {customers.at_stripe(customer), customers.at_stripe(customer)}
    assert [made] == [one["id"] for one in stripe.objects("customer")]


def test_a_customer_deleted_at_stripe_is_made_anew_without_its_card(stripe, account):
    customer = with_card(stripe, account)
    gone = customer.stripe_id
    stripe.client().v1.customers.delete(gone)
    fold_events(stripe)
    customer.refresh_from_db()
    assert customer.deleted_at is not None
    assert customer.payment_method_id == ""
    assert customers.at_stripe(customer) != gone


def test_who_learns_by_a_refusal_that_the_customer_is_gone_has_another_the_next_time(stripe, account):
    """No webhook has told yet."""
    customer = with_card(stripe, account)
    stripe.client().v1.customers.delete(customer.stripe_id)
    with pytest.raises(Missing):
        cards.begin_setup(customer, return_url=RETURN_URL)
    assert cards.begin_setup(customer, return_url=RETURN_URL).url
    customer.refresh_from_db()
    stripe.client().v1.customers.delete(customer.stripe_id)
    pages = [topup_work.advance(topups.begin(customer, 2000, by="bursar", hosted=True)) for _ in range(2)]
    assert [page.state for page in pages] == ["failed", "requires_action"]


def test_the_address_for_receipts_changes_at_stripe_and_here(stripe, customer):
    customers.set_email(customer, "dean@example.com")
    customers.at_stripe(customer)
    customers.set_email(customer, "librarian@example.com")
    assert stripe.objects("customer")[0]["email"] == "librarian@example.com"
    stripe.client().v1.customers.update(customer.stripe_id, {"email": "bursar@example.com"})
    fold_events(stripe)
    customer.refresh_from_db()
    assert customer.email == "bursar@example.com"


@pytest.mark.django_db(transaction=True)
def test_several_at_once_make_one_customer(stripe, customer):
    results = together([lambda: customers.at_stripe(Customer.objects.get(pk=customer.pk))] * 4)
    for result in results:  # while one request is under way, Stripe answers its twins 409
        assert result == stripe.objects("customer")[0]["id"] or isinstance(result, Unavailable), result
    assert len(stripe.objects("customer")) == 1


# --- cards ---------------------------------------------------------------------------------------------------------


def test_a_card_is_saved_on_stripes_page(stripe, customer):
    setup = cards.begin_setup(customer, return_url=RETURN_URL)
    assert saved(customer)[0] == ""
    assert fill_in(setup.url).headers["Location"] == RETURN_URL
    cards.look(setup)
    assert saved(customer) == ("visa", "4242", 12, 2040)
    assert setup.completed_at is not None
    assert stripe.objects("customer")[0]["invoice_settings"]["default_payment_method"] == customer.payment_method_id


def test_a_page_that_was_left_or_whose_card_was_refused_saves_nothing(stripe, customer):
    setup = cards.begin_setup(customer, return_url=RETURN_URL)
    fill_in(setup.url, "4000000000000002")
    fill_in(setup.url, NEEDS_HOLDER, answer="fail")
    fold_events(stripe)
    cards.look(setup)
    stripe.advance(25 * 3600)
    fold_events(stripe)
    cards.look(setup)
    assert (saved(customer)[0], setup.completed_at) == ("", None)


@pytest.mark.parametrize("order", [list, reversed])
def test_of_two_cards_the_newer_counts_in_whichever_order_it_is_told(stripe, customer, order):
    first = cards.begin_setup(customer, return_url=RETURN_URL)
    fill_in(first.url)
    stripe.advance(5)
    fill_in(cards.begin_setup(customer, return_url=RETURN_URL).url, MASTERCARD)
    fold_events(stripe, order=order)
    assert saved(customer)[:2] == ("mastercard", "4444")
    fold_events(stripe, order=order)
    cards.look(first)
    assert saved(customer)[:2] == ("mastercard", "4444")


def test_what_happens_to_the_card_at_stripe_is_noted(stripe, account):
    customer = with_card(stripe, account)
    method = customer.payment_method_id
    stripe.client().v1.payment_methods.update(method, {"card": {"exp_month": 3, "exp_year": 2041}})
    fold_events(stripe)
    assert saved(customer) == ("visa", "4242", 3, 2041)
    stripe.client().v1.payment_methods.detach(method)
    fold_events(stripe)
    assert saved(customer) == ("", "", None, None)


def test_a_removed_card_is_gone_at_stripe_and_comes_back_by_no_old_page(stripe, customer):
    setup = cards.begin_setup(customer, return_url=RETURN_URL)
    fill_in(setup.url)
    cards.look(setup)
    autotopup.switch_on(customer, below_cents=100, cents=1000)
    cards.remove(customer)
    fold_events(stripe, order=list)
    cards.look(setup)
    assert saved(customer) == ("", "", None, None)
    assert not autotopup.is_on(customer)
    assert all(method["customer"] is None for method in stripe.objects("payment_method"))


def test_of_two_looks_at_once_the_later_one_stays(stripe, account, monkeypatch):
    """One reads the old card, and is slow; the other reads and notes the new one meanwhile."""
    customer = with_card(stripe, account)
    shown = cards._shown
    newer = stripe.client().v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.stripe_id})

    def slow(method):
        monkeypatch.setattr(cards, "_shown", shown)
        stripe.advance(5)
        cards.adopt(Customer.objects.get(pk=customer.pk), newer.id)
        return shown(method)

    monkeypatch.setattr(cards, "_shown", slow)
    cards.refresh(customer)
    assert saved(customer)[:2] == ("mastercard", "4444")
