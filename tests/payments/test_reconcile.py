"""`verifybilling` finds each difference between the ledger, the reports and Stripe, and tells what is under way."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import credit
from accounts.models import Account, Credit
from core.money import money
from payments import catalog, topup_work, topups
from payments.client import client, errors
from payments.folding import fold
from payments.models import Dispute, Invoice, MeterReport, Refund, Subscription, TopUp, Verification
from payments.subscriptions import set_mode
from tests.payments.metered import HOUR, Both, Clock, captured
from tests.payments.paying import with_card
from tests.stripes import Stripe

pytestmark = pytest.mark.django_db


@pytest.fixture
def currency(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.BILLING_CURRENCY = getattr(request, "param", "usd")


@pytest.fixture
def both(currency: None, sold: Stripe, clock: Clock) -> Both:
    """Return a customer with a card, who has topped up 1,000, and is metered with a limit of 500 since."""
    customer = with_card(sold, Account.objects.create(name="Moist"))
    topup = topups.begin(customer, 1000, by="moist")
    topup_work.advance(topup)
    set_mode(customer, "metered", 500, by="Ridcully")
    both = Both(sold, clock, customer)
    both.work()
    state = credit.state(customer.account)
    assert state is not None
    assert state.remaining_cents == 1500
    return both


def verify(*arguments: str) -> tuple[list[str], list[str]]:
    """Return the differences, and what is under way."""
    out = io.StringIO()
    try:
        call_command("verifybilling", *arguments, stdout=out)
    except CommandError as exc:
        _, *differences = str(exc).splitlines()
    else:
        differences = []
    told = out.getvalue().splitlines()
    return differences, [line.removeprefix("Under way: ") for line in told if line.startswith("Under way")]


def month() -> str:
    return f"{timezone.now():%Y-%m}"


@pytest.mark.parametrize("currency", ["usd", "jpy"], indirect=True)
def test_from_the_cast_to_the_paid_invoice_there_is_no_difference(both):
    assert verify() == ([], [])
    began, first = timezone.now(), month()
    captured(both.customer, 300)
    differences, under_way = verify()
    assert differences == []
    assert f"{money(300)} of the ledger wait to be sealed" in under_way[0]
    both.later(HOUR)
    both.work()
    late = f"Moist {first}: {money(300)} of {money(300)} reported are not yet in Stripe's sum."
    assert verify() in (([], []), ([], [late]))
    both.rounds_of_hours(2)
    both.until_next_month()
    for one in both.stripe.objects("invoice"):
        fold("invoice", one["id"])
    invoice = Invoice.objects.get()
    assert (invoice.status, invoice.total_cents, invoice.usage_cents) == ("paid", 300, 300), "by the card"
    assert verify("--month", first) == ([], [])
    assert verify() == ([], [])
    stored = Verification.objects.get()
    assert (stored.differences, stored.under_way, stored.months) == ("", "", f"{began:%Y-%m}, {timezone.now():%Y-%m}")


def lose_a_report(both: Both) -> None:
    MeterReport.objects.all().delete()


def count_more(both: Both) -> None:
    payload = {"stripe_customer_id": str(both.customer.stripe_id), "value": "7"}
    at = int(MeterReport.objects.get().happened_at.timestamp())
    with errors():
        client().v1.billing.meter_events.create({"event_name": catalog.EVENT_NAME, "payload": payload, "timestamp": at})
    both.later(HOUR)


def say_it_counted(both: Both) -> None:
    MeterReport.objects.update(state="counted", cents=400)
    Subscription.objects.update(sealed_upto_entry=10**6)


def fail_a_report(both: Both) -> None:
    MeterReport.objects.update(state="failed", message="No such customer.")


def book_nothing(both: Both) -> None:
    topup = TopUp.objects.create(
        customer=both.customer, cents=50, origin="member", state="succeeded", intent_id="pi_x", ended_at=timezone.now()
    )
    assert topup.pk


def book_otherwise(both: Both) -> None:
    TopUp.objects.update(cents=999)


def book_for_nothing(both: Both) -> None:
    credit.book(both.customer.pk, "topup", 70, "pi_nobodys")


def forget_a_topup(both: Both) -> None:
    TopUp.objects.update(state="new", intent_id=None)


def pay_twice(both: Both) -> None:
    topup = TopUp.objects.get()
    with errors():
        client().v1.payment_intents.create(
            {
                "amount": 1000,
                "currency": "usd",
                "customer": str(both.customer.stripe_id),
                "payment_method": both.customer.payment_method_id,
                "confirm": True,
                "off_session": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "metadata": {"topup": str(topup.pk)},
            }
        )


def give_back(both: Both) -> Refund:
    """Have somebody refund 2.00 at Stripe, and note it."""
    unknown_refund(both)
    fold("refund", both.stripe.objects("refund")[0]["id"])
    return Refund.objects.get()


def unknown_refund(both: Both) -> None:
    with errors():
        client().v1.refunds.create({"payment_intent": str(TopUp.objects.get().intent_id), "amount": 200})


def refund_otherwise(both: Both) -> None:
    give_back(both)
    Refund.objects.update(cents=300)


def fail_a_refund(both: Both) -> None:
    give_back(both)
    Refund.objects.update(state="failed")


def refund_nothing(both: Both) -> None:
    refund = Refund.objects.create(topup=TopUp.objects.get(), cents=200, state="succeeded", refund_id="re_none")
    credit.book(both.customer.pk, "refund", -200, f"refund:{refund.pk}")


def miscount_refunds(both: Both) -> None:
    give_back(both)
    TopUp.objects.update(refunded_cents=5)


def unknown_dispute(both: Both) -> None:
    both.stripe.dispute(str(TopUp.objects.get().intent_id))


def object_to_it(both: Both) -> Dispute:
    unknown_dispute(both)
    fold("dispute", both.stripe.objects("dispute")[0]["id"])
    return Dispute.objects.get()


def win_in_the_books(both: Both) -> None:
    dispute = object_to_it(both)
    credit.book(both.customer.pk, "won", 1000, f"{dispute.pk}:won")


def answer_in_the_books(both: Both) -> None:
    object_to_it(both)
    Dispute.objects.update(status="lost")


def dispute_nothing(both: Both) -> None:
    facts = {"cents": 5, "reason": "fraudulent", "status": "needs_response", "opened_at": timezone.now()}
    Dispute.objects.create(id="du_none", topup=TopUp.objects.get(), **facts)


WRONG: list[tuple[Any, list[str]]] = [
    (
        lose_a_report,
        ["3.00 USD sealed in reports, which come to 0.00 USD", "0.00 USD were reported, and Stripe counts 3"],
    ),
    (count_more, ["3.00 USD were reported, and Stripe counts 3.07 USD."]),
    (say_it_counted, ["which come to 4.00 USD", "4.00 USD were reported, and Stripe counts 3.00 USD."]),
    (fail_a_report, ["(3.00 USD) failed: No such customer."]),
    (book_nothing, ["topup pi_x: 0.50 USD are not credited.", "is paid by pi_x, and Stripe has no such payment."]),
    (book_otherwise, ["10.00 USD are credited in place of 9.99 USD.", "took 10.00 USD; its top-up"]),
    (book_for_nothing, ["topup pi_nobodys: 0.70 USD are credited, and nothing that is known paid them."]),
    (forget_a_topup, ["are credited, and nothing that is known", "was taken, and its top-up"]),
    (unknown_refund, ["gave back 2.00 USD of top-up"]),
    (refund_otherwise, ["-2.00 USD are credited in place of -3.00 USD", "gave back 2.00 USD; here it is 3.00 USD."]),
    (fail_a_refund, [":failed: 2.00 USD are not credited.", "is succeeded, here failed."]),
    (refund_nothing, ["refund re_none of 2.00 USD is succeeded here, and Stripe has none."]),
    (miscount_refunds, ["2.00 USD were given back, here 0.05 USD."]),
    (unknown_dispute, ["is about 10.00 USD of top-up"]),
    (win_in_the_books, ["is needs_response: credit has 0.00 USD for it in place of -10.00 USD."]),
    (answer_in_the_books, ["is needs_response, here lost."]),
    (dispute_nothing, ["dispute du_none is needs_response here, and Stripe has none."]),
    (pay_twice, ["took 10.00 USD; its top-up", "was paid twice: by"]),
]


@pytest.mark.parametrize(("spoil", "told"), WRONG, ids=[spoil.__name__ for spoil, _ in WRONG])
def test_each_difference_is_told_in_a_line(both, spoil, told):
    captured(both.customer, 300)
    both.rounds_of_hours(3)
    assert verify() == ([], [])
    spoil(both)
    both.clock.ahead += HOUR
    differences, _ = verify("--month", month())
    assert len(differences) == len(told), differences
    for line, words in zip(differences, told, strict=True):
        assert words in line
        assert line.startswith(f"Moist {month()}: ")
    assert Verification.objects.get().differences.splitlines() == differences


def test_what_was_given_back_and_disputed_as_it_should_be_is_no_difference(both):
    give_back(both)
    dispute = object_to_it(both)
    both.clock.ahead += HOUR
    assert verify() == ([], [])
    both.stripe.decide(dispute.pk, "won")
    assert "is won, here needs_response" in verify()[0][0]
    fold("dispute", dispute.pk)
    assert verify() == ([], [])


def test_what_came_after_its_invoice_was_final_is_a_difference(both):
    captured(both.customer, 300)
    both.stripe.faults(api={"reset_before": 1.0, "paths": "meter_events"})
    both.until_next_month()
    first = f"{timezone.now() - dt.timedelta(days=20):%Y-%m}"
    both.stripe.faults(reset=True)
    both.rounds_of_hours(30)
    for one in both.stripe.objects("invoice"):
        fold("invoice", one["id"])
    assert verify("--month", first) == ([], []), "Stripe's sum has it"
    [line] = verify("--month", month())[0]
    assert "bills 0.00 USD for" in line
    assert "when 3.00 USD were reported. What came after it was final" in line


def test_an_invoice_that_is_not_known_is_waited_for_and_then_a_difference(both):
    captured(both.customer, 300)
    both.rounds_of_hours(3)
    both.until_next_month()
    both.clock.ahead -= 2 * HOUR - dt.timedelta(minutes=70)  # just after it was paid
    differences, under_way = verify("--month", month())
    assert (differences, len(under_way)) == ([], 1)
    assert "is paid, here not known." in under_way[0]
    both.clock.ahead += 2 * HOUR
    [line] = verify("--month", month())[0]
    assert "is paid, here not known." in line


def test_a_credit_of_another_month_is_no_difference(both):
    Credit.objects.create(account=both.customer.account, kind="topup", cents=5, source="pi_old")
    TopUp.objects.create(
        **{"customer": both.customer, "cents": 5, "origin": "member", "state": "succeeded", "intent_id": "pi_old"},
        ended_at=timezone.now() - dt.timedelta(days=70),
    )
    differences, _ = verify("--month", month())
    assert not [line for line in differences if "credited" in line]


def test_it_says_what_it_could_not_ask(both, settings):
    both.stripe.faults(unreachable=True)
    with pytest.raises(CommandError, match="Stripe can't be asked") as caught:
        call_command("verifybilling")
    assert caught.value.returncode == 2
    assert not Verification.objects.exists()
    with pytest.raises(CommandError, match="is no month"):
        call_command("verifybilling", "--month", "May")
    settings.BILLING = False
    with pytest.raises(CommandError, match="there is no billing"):
        call_command("verifybilling")
