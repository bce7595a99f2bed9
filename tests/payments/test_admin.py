"""The operator's pages about money, and what of it needs attention."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.utils import timezone

from accounts import budget, credit
from accounts.audit.models import AuditEntry
from accounts.errors import BudgetExceeded
from accounts.models import Account
from core.queue.due import GIVE_UP_AFTER
from payments import attention, customers
from payments.models import (
    Customer,
    Dispute,
    Invoice,
    MeterReport,
    Refund,
    StripeEvent,
    Subscription,
    TopUp,
    Verification,
)
from tests.console import HOSTILE, listed, page, queries, shown
from tests.payments.paying import remaining, with_card, work
from tests.stripes import Stripe

AGO = dt.timedelta(days=2)


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def topup(customer: Customer, **fields: Any) -> TopUp:
    row = TopUp.objects.create(**{"customer": customer, "cents": 1000, "origin": "member"} | fields)
    TopUp.objects.filter(pk=row.pk).update(created_at=timezone.now() - AGO)
    return row


def everything(account: Account) -> dict[str, Any]:
    """Store one of each that needs an operator, with texts of others."""
    customer, now = customers.begin(account), timezone.now()
    paid = topup(customer, state="succeeded", message=HOSTILE, intent_id=f"pi_{account.pk}")
    refund = Refund.objects.create(topup=paid, cents=5, reason=HOSTILE, by="operator", state="failed", message=HOSTILE)
    moments = dict.fromkeys(("period_start", "period_end", "created_at", "due_at"), now - AGO)
    hours = {"hour": now - AGO, "happened_at": now - AGO, "after_entry": 0}
    return {
        "customer": customer,
        "topup": topup(customer),
        "parked": topup(customer, state="processing", failed_steps=GIVE_UP_AFTER + 1, failure=HOSTILE),
        "waiting": topup(customer, state="requires_action", origin="auto"),
        "refund": refund,
        "dispute": Dispute.objects.create(
            id=f"du_{account.pk}", topup=paid, cents=7, reason=HOSTILE, status="needs_response", opened_at=now,
            due_by=now + AGO,
        ),
        "meterreport": MeterReport.objects.create(
            customer=customer, upto_entry=9, cents=3, state="failed", message=HOSTILE, **hours
        ),
        "subscription": Subscription.objects.create(customer=customer, message=HOSTILE),
        "invoice": Invoice.objects.create(
            id=f"in_{account.pk}", customer=customer, number=HOSTILE[:40], status="open", total_cents=7, **moments
        ),
        "stripeevent": StripeEvent.objects.create(
            id=f"evt_{account.pk}", type="a.b", created=now, received_at=now, state="failed", error=HOSTILE
        ),
    }  # fmt: skip


def test_every_list_and_page_opens_and_takes_no_more_queries_for_more_rows(
    operator: Client, account: Account, billing: None
):
    found = everything(account)
    Verification.objects.create(at=timezone.now(), differences=HOSTILE)
    Customer.objects.update(auto_topup_off_reason=HOSTILE, card_brand="visa", payment_method_id="pm_1", card_last4="42")
    names = [name for name in found if name not in ("parked", "waiting")]
    before = {}
    for name in names:
        page(operator, f"/admin/payments/{name}/{found[name].pk}/change/")
        before[name] = queries(operator, f"/admin/payments/{name}/")
        assert listed(operator, f"/admin/payments/{name}/", q=account.name if name != "stripeevent" else "evt_") >= 1
    for number in range(3):
        everything(Account.objects.create(name=f"Account {number}"))
    for name in names:
        assert queries(operator, f"/admin/payments/{name}/") == before[name], name
    assert "Payments" in page(operator, "/admin/")


def test_where_billing_is_off_the_index_names_nothing_of_it(operator: Client):
    assert "/admin/payments/" not in page(operator, "/admin/")


def test_billing_is_turned_on_for_an_account_and_how_it_pays_is_changed(
    operator: Client, account: Account, billing: None
):
    add = "/admin/payments/customer/add/"
    assert operator.post(add, {"account": account.pk, "email": "pay@example.com"}).status_code == 302
    account.refresh_from_db()
    assert (account.billed, Customer.objects.get().email) == (True, "pay@example.com")
    change = f"/admin/payments/customer/{account.pk}/change/"

    def saved(mode: str, limit: str, email: str = "pay@example.com") -> Any:
        form = {"billed": "on", "mode": mode, "credit_limit_cents": limit, "email": email}
        return operator.post(change, form)

    for limit in ("", "0"):
        assert "up to it, it casts" in shown(saved("metered", limit).text)
    assert saved("metered", "5000").status_code == 302
    assert (Customer.objects.get().mode, Subscription.objects.count()) == ("metered", 1)
    # Its invoices are mailed.
    assert "e-mail address" in shown(saved("metered", "5000", "").text)
    assert saved("prepaid", "5000").status_code == 302
    customer = Customer.objects.get()
    assert (customer.mode, customer.credit_limit_cents) == ("prepaid", None)
    Customer.objects.update(email="")
    assert "e-mail address" in shown(saved("metered", "1", "").text)
    assert Customer.objects.get().mode == "prepaid"
    entries = AuditEntry.objects.filter(action__startswith="admin.customer").order_by("id")
    assert [entry.action.rpartition(".")[2] for entry in entries] == ["add", "change", "change"]
    assert operator.post(f"/admin/payments/customer/{account.pk}/delete/", {"post": "yes"}).status_code == 403


def test_where_invoices_are_mailed_is_changed_at_stripe_too_or_not_at_all(
    transactional_db: None, operator: Client, account: Account, stripe: Stripe
):
    customer = customers.begin(account)
    customers.at_stripe(customer)
    change = f"/admin/payments/customer/{account.pk}/change/"
    for outage, address in ((False, "pay@example.com"), (True, "else@example.com")):
        if outage:
            stripe.faults(unreachable=True)
        assert operator.post(change, {"billed": "on", "mode": "prepaid", "email": address}).status_code == 302
    stripe.faults(reset=True)
    [at_stripe] = stripe.objects("customer")
    assert Customer.objects.get().email == at_stripe["email"] == "pay@example.com"
    assert "The mail address stays as it was" in shown(operator.get(change).text)


def test_billing_is_turned_off_for_an_account_and_on_again(operator: Client, account: Account, billing: None):
    customer = customers.begin(account)
    credit.book(account.pk, "grant", 5, "g", by="x")
    Customer.objects.update(auto_topup_below_cents=1, auto_topup_cents=100)
    before = budget.hold(account, cast_id=uuid.uuid4(), cents=5)
    change = f"/admin/payments/customer/{account.pk}/change/"
    Customer.objects.update(mode="metered", credit_limit_cents=1)
    refused = operator.post(change, {"mode": "metered", "credit_limit_cents": "1", "email": "pay@example.com"})
    assert "Make it prepaid first" in shown(refused.text)
    account.refresh_from_db()
    assert account.billed
    Customer.objects.update(mode="prepaid", credit_limit_cents=None)
    assert operator.post(change, {"mode": "prepaid"}).status_code == 302
    account.refresh_from_db()
    customer.refresh_from_db()
    assert (account.billed, customer.auto_topup_off_reason) == (False, "Billing was turned off.")
    free = budget.hold(account, cast_id=uuid.uuid4(), cents=7)
    assert (before.on_credit, free.on_credit) == (True, False)
    for entry in (before, free):
        budget.settle(entry.cast_id, capture_cents=None)
    assert operator.post(change, {"billed": "on", "mode": "prepaid"}).status_code == 302
    account.refresh_from_db()
    with pytest.raises(BudgetExceeded), transaction.atomic():
        budget.hold(account, cast_id=uuid.uuid4(), cents=1)
    call_command("verifyledger")


def test_a_refund_is_asked_for_given_once_and_taken_from_credit(operator: Client, account: Account, stripe: Stripe):
    from payments import topup_work, topups

    paid = topup_work.advance(topups.begin(with_card(stripe, account), 2000, by="owner"))
    path, press = "/admin/payments/topup/", {"action": "refund", "_selected_action": str(paid.pk)}
    asked = operator.post(path, press)
    assert 'value="20.00"' in asked.text
    for amount, reason, why in (
        ("0", "it was late", "Give back something"),
        ("much", "it was late", "Give an amount"),
        ("5", "", "This field is required"),
        ("20.01", "it was late", "20.00 USD can be refunded"),
    ):
        wrong = operator.post(path, press | {"asked": "yes", "amount": amount, "reason": reason})
        assert why in shown(wrong.text), (amount, shown(wrong.text))
    assert not Refund.objects.exists()
    done = operator.post(path, press | {"asked": "yes", "amount": "5.50", "reason": "it was late"}, follow=True)
    assert "5.50 USD will be given back" in shown(done.text)
    work(Refund)
    assert [one["amount"] for one in stripe.objects("refund")] == [550]
    assert remaining(account) == 1450
    spend = press | {"asked": "yes", "amount": "14.50", "reason": "all of it"}
    credit.book(account.pk, "grant", -1000, "grant:1")
    assert "4.50 USD that it has not spent" in shown(operator.post(path, spend).text)
    assert AuditEntry.objects.filter(action="admin.topup.refund").count() == Refund.objects.count() == 1
    refund = Refund.objects.get()
    assert (refund.state, refund.by, refund.reason) == ("succeeded", "operator", "it was late")
    entry = AuditEntry.objects.filter(action="admin.topup.refund").latest("id")
    assert (entry.actor, entry.object_id) == ("operator", str(paid.pk))
    assert entry.after == {"cents": 550, "reason": "it was late", "spent_too": False}
    operator.post(path, spend | {"spent_too": "on"})
    assert remaining(account) == -1000


def test_two_top_ups_are_not_given_back_at_once_and_nobody_refunds_without_the_permission(
    operator: Client, account: Account, billing: None
):
    customer = customers.begin(account)
    rows = [str(topup(customer, state="succeeded").pk) for _ in range(2)]
    path, press = "/admin/payments/topup/", {"action": "refund", "_selected_action": rows}
    assert "one by one" in shown(operator.post(path, press, follow=True).text)
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_topup", "change_topup"]))
    viewer = Client()
    viewer.force_login(user)
    sent = press | {"_selected_action": rows[:1], "asked": "yes", "amount": "1", "reason": "mine"}
    viewer.post(path, sent, follow=True)
    assert not Refund.objects.exists()


def test_what_should_not_wait_needs_attention_and_its_buttons_act(
    operator: Client, account: Account, billing: None, settings: Any
):
    settings.ATTENTION = [f"payments.attention.{name}" for name in ("topups", "disputes", "reports", "events")]
    found = everything(account)
    Customer.objects.update(auto_topup_off_reason="The card was removed.")  # by a member, who knows
    assert "top up by itself" not in shown(page(operator, "/admin/attention/"))
    Customer.objects.update(auto_topup_off_reason="It failed 3 times in a row.", auto_topup_failures=3)
    Verification.objects.create(at=timezone.now(), differences="2026-11: 3 more here")
    text = page(operator, "/admin/attention/")
    for part in (
        *("Stripe has not said what became", "has not confirmed", "did not arrive", "does not top up by itself"),
        *("needs evidence", "Stripe refused", "not go as they should", "overdue", "could not be applied"),
        *("Difference between", "3 more here", f"{found['dispute'].due_by:%Y-%m-%d %H:%M}"),
    ):
        assert part in shown(text), part
    press = {"action": "look_now", "select_across": "1", "index": "0", "_selected_action": "all", "back": "attention"}
    operator.post(f"/admin/payments/topup/?pk__exact={found['parked'].pk}", press)
    found["parked"].refresh_from_db()
    assert (found["parked"].failed_steps, found["parked"].due_at is not None) == (0, True)
    TopUp.objects.filter(pk=found["parked"].pk).update(to_settle="pi_1 took 1000 EUR")
    assert "pi_1 took 1000 EUR" in page(operator, "/admin/attention/")
    assert "pi_1" in page(operator, f"/admin/payments/topup/{found['parked'].pk}/change/")
    operator.post("/admin/payments/topup/?to_settle__gt=", press | {"action": "settled"})
    assert not TopUp.objects.exclude(to_settle="").exists()
    assert "pi_1 took 1000 EUR" not in page(operator, "/admin/attention/")
    operator.post("/admin/payments/meterreport/?state__exact=failed", press | {"action": "try_again"})
    assert MeterReport.objects.get().state != "failed"
    operator.post("/admin/payments/stripeevent/?state__exact=failed", press | {"action": "apply_again"})
    assert StripeEvent.objects.get().state == "pending"
    before = queries(operator, "/admin/attention/")
    for number in range(3):
        everything(Account.objects.create(name=f"Account {number}"))
    assert queries(operator, "/admin/attention/") <= before + 4  # beyond three of a kind they are counted
    bare = User.objects.create_user("bare", is_staff=True)
    assert [getattr(attention, name)(bare) for name in ("topups", "disputes", "reports", "events")] == [None] * 4


def test_what_is_at_stripe_is_linked_in_the_mode_of_the_key(operator: Client, account: Account, settings: Any):
    settings.BILLING, settings.STRIPE_API_URL = True, "https://api.stripe.com"
    customers.begin(account)
    Customer.objects.update(stripe_id="cus_1")
    credit.book(account.pk, "grant", 5, "grant:1")
    live, test = "dashboard.stripe.com/customers/", "dashboard.stripe.com/test/customers/"
    for key, link in (("sk_test_1", test), ("rk_live_1", live)):
        settings.STRIPE_SECRET_KEY = key
        assert f'href="https://{link}cus_1"' in page(operator, f"/admin/payments/customer/{account.pk}/change/")
