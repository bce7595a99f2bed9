"""The page about money, as members of each role see it."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from accounts import credit
from accounts.audit.models import AuditEntry
from accounts.models import Account, ApiKey, Membership, Role
from casts.models import Spell
from payments import customers
from payments.models import CardSetup, Customer, Dispute, Invoice, TopUp
from tests.accounts.people import PASSWORD
from tests.casts.conftest import accept_cast
from tests.console import HOSTILE, page, queries, shown
from tests.payments.paying import DECLINED_LATER, fill_in, with_card
from tests.stripes import Stripe


def member(account: Account, role: str = Role.OWNER) -> Client:
    user = User.objects.create_user(f"{role}-{User.objects.count()}", password=PASSWORD)
    Membership.objects.create(account=account, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def path(account: Account) -> str:
    return f"/account/money/{account.pk}/"


def send(client: Client, account: Account, act: str, **fields: str) -> Any:
    """Send a form, and return the page that comes of it."""
    return client.post(path(account), {"act": act, **fields}, follow=True)


def told(answer: Any) -> str:
    return shown(" ".join(re.findall(r'<p class="told".*?</p>', answer.text, re.DOTALL)))


def test_where_billing_is_off_there_is_no_page_and_no_way_to_it(account: Account):
    client = member(account)
    assert client.get("/account/money/").status_code == client.get(path(account)).status_code == 404
    assert "/account/money/" not in client.get("/home/").text


def test_each_role_sees_and_does_what_it_may(account: Account, billing: None):
    customers.begin(account)
    credit.book(account.pk, "grant", 1250, "grant:1")
    for role in (Role.OWNER, Role.ADMIN):
        text = page(member(account, role), path(account))
        assert "12.50 USD" in text
        assert 'name="act" value="top_up"' in text
    client = member(account, Role.MEMBER)
    assert "12.50 USD" in page(client, path(account))
    assert "<form" not in page(client, path(account)).partition("<main")[2]
    assert client.post(path(account), {"act": "portal"}).status_code == 403
    client = member(account, Role.VIEWER)
    assert client.get(path(account)).status_code == 403
    assert "the money of no account" in page(client, "/account/money/")
    assert Client().get(path(account)).headers["Location"].startswith("/login/")
    assert not AuditEntry.objects.filter(action__startswith="billing").exists()


def test_what_is_shown_as_paid_is_in_the_credit_that_is_shown(account: Account, billing: None, monkeypatch: Any):
    customer = customers.begin(account)
    row = TopUp.objects.create(customer=customer, cents=1000, origin="member", state="processing")
    state = credit.state

    def paid_meanwhile(*given: Any) -> Any:
        found = state(*given)
        TopUp.objects.filter(pk=row.pk).update(state="succeeded")
        return found

    monkeypatch.setattr(credit, "state", paid_meanwhile)
    text = page(member(account), path(account))
    assert "under way" in text
    assert TopUp.objects.get().state == "succeeded"


def test_who_belongs_to_several_accounts_chooses(account: Account, billing: None):
    client = member(account)
    assert client.get("/account/money/").headers["Location"] == path(account)
    Membership.objects.create(account=Account.objects.create(name="Another"), user=User.objects.get(), role="member")
    assert "Another" in page(client, "/account/money/")
    assert 'class="switch"' in page(client, path(account))
    assert "cost no credit" in page(client, path(account))
    assert "not billed" in told(send(client, account, "top_up", amount="10"))


def test_each_act_needs_a_password_that_was_shown_lately_and_goes_on_with_it(
    account: Account, billing: None, settings: Any
):
    customers.begin(account)
    client = member(account)
    settings.REAUTHENTICATE_SECONDS = 0.0
    for act in ("save_card", "remove_card", "portal", "auto", "top_up"):
        answer = client.post(path(account), {"act": act, "amount": "25", "below": "10", "once": "x"})
        assert answer.headers["Location"].startswith("/account/confirm/"), act
    assert not TopUp.objects.exists()
    settings.REAUTHENTICATE_SECONDS = 900.0
    done = client.post(answer.headers["Location"], {"password": PASSWORD}, follow=True)
    assert TopUp.objects.get().cents == 2500
    assert "Stripe has not said yet" in told(done)


def test_a_card_is_saved_charged_and_removed(account: Account, stripe: Stripe):
    client = member(account)
    customers.begin(account)
    away = send(client, account, "save_card")
    setup = CardSetup.objects.get()
    assert away.redirect_chain == [(f"{path(account)}to-stripe/card/{setup.pk}/", 302)]
    assert f'content="0; url={setup.url}"' in away.text
    assert f'href="{setup.url}"' in away.text
    back = fill_in(setup.url).headers["Location"]
    assert back == f"http://testserver{path(account)}?back=card"
    assert "Charge Visa ending 4242" in page(client, back)  # before any webhook
    assert client.get(f"{path(account)}to-stripe/card/{setup.pk}/").headers["Location"] == path(account)

    form = {"amount": "12.50", "how": "card", "once": "7c9e6679-7425-40de-944b-e07fc1f90ae7"}
    assert "12.50 USD were added" in told(send(client, account, "top_up", **form))
    send(client, account, "top_up", **form)  # sent twice
    assert TopUp.objects.count() == len(stripe.objects("payment_intent")) == 1
    assert "By itself" not in told(send(client, account, "auto", below="0", amount="20"))
    assert "20.00 USD are taken" in page(client, path(account))
    assert "no longer" in told(send(client, account, "auto", off="1", below="", amount=""))
    assert "removed" in told(send(client, account, "remove_card"))
    assert "None is saved" in page(client, path(account))
    done = [*AuditEntry.objects.filter(account_id=account.pk).order_by("id").values_list("action", flat=True)]
    assert done == [
        *("billing.save_card", "billing.top_up"),
        *("billing.set_auto_topup", "billing.set_auto_topup", "billing.remove_card"),
    ]


def test_a_decline_and_a_page_that_was_left_are_shown_with_what_to_do(account: Account, stripe: Stripe):
    with_card(stripe, account)
    client = member(account)
    send(client, account, "save_card")
    fill_in(CardSetup.objects.get().url, DECLINED_LATER)
    page(client, f"{path(account)}?back=card")
    declined = send(client, account, "top_up", amount="30", how="card")
    assert "The card was not charged" in told(declined)
    assert "The card was declined" in told(declined)
    away = send(client, account, "top_up", amount="30", how="page")
    topup = TopUp.objects.first()
    assert topup is not None
    assert topup.action_url in away.text
    assert f"to-stripe/topup/{topup.pk}/" in page(client, path(account))  # whoever left goes on
    fill_in(topup.action_url)
    send(client, account, "top_up", amount="40", how="page")
    client.get(f"{path(account)}to-stripe/topup/{topup.pk}/")
    back = client.get(f"{path(account)}?back=topup")  # from the older of two pages
    assert "30.00 USD were added" in told(back)
    assert page(client, path(account)).count("waits for you") == 1
    portal = send(client, account, "portal")
    assert re.search(r'http-equiv="refresh" content="0; url=http://127\.0\.0\.1', portal.text)


def test_what_was_typed_wrong_says_how_it_is_right(account: Account, billing: None):
    customers.begin(account)
    client = member(account)
    for amount in ("", "ten", "1.234", "-5", "1e3", "٣", "9" * 30):
        assert "Give an amount such as 25.00" in told(send(client, account, "top_up", amount=amount)), amount
    typed = send(client, account, "top_up", amount="0.4")
    assert "0.50 USD at least" in told(typed)
    assert 'value="0.4"' in typed.text  # to be put right
    assert "no saved card" in told(send(client, account, "auto", below="5", amount="20"))
    assert "not whole" in told(send(client, account, "odd"))
    assert "Stripe does not answer" in told(send(client, account, "save_card"))
    assert not TopUp.objects.exists()


def test_it_shows_what_was_paid_what_is_owed_and_what_was_spent(
    account: Account, api_key: ApiKey, spell: Spell, billing: None
):
    customer = customers.begin(account)
    credit.book(account.pk, "topup", 5000, "pi_1")
    accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})
    card = {"card_brand": HOSTILE[:40], "card_last4": "4242", "card_exp_month": 1, "card_exp_year": 2020}
    Customer.objects.update(payment_method_id="pm_1", **card)
    for state in TopUp.State.values:
        row = TopUp.objects.create(
            customer=customer, cents=1000, refunded_cents=100, origin="auto", state=state, message=HOSTILE,
            receipt_url="https://pay.example/r",
        )  # fmt: skip
        TopUp.objects.filter(pk=row.pk, state__in=TopUp.OPEN).update(origin="member")
    Dispute.objects.create(id="du_1", topup=row, cents=1, reason="x", status="needs_response", opened_at=timezone.now())
    moments = dict.fromkeys(("period_start", "period_end", "created_at", "due_at"), timezone.now())
    Invoice.objects.create(
        id="in_1",
        number="A-1",
        customer=customer,
        status="open",
        total_cents=777,
        pdf_url="https://pay.example/p",
        **moments,
    )
    client = member(account)
    text = page(client, path(account))
    for part in ("are held", "7.77 USD", "1.00 USD given back", "disputed", "expired in 01/2020", "is overdue", "A-1"):
        assert part in shown(text), part
    before = queries(client, path(account))
    for _ in range(5):
        TopUp.objects.create(customer=customer, cents=1000, origin="member", state="succeeded")
    assert queries(client, path(account)) == before


def test_the_way_to_stripe_leads_nowhere_else(account: Account, billing: None):
    customer = customers.begin(account)
    topup = TopUp.objects.create(customer=customer, cents=1, origin="member", action_url="javascript:alert(1)")
    client = member(account)
    assert client.get(f"{path(account)}to-stripe/topup/{topup.pk}/").status_code == 404
    other = member(Account.objects.create(name="Another"))
    assert other.get(f"{path(account)}to-stripe/topup/{topup.pk}/").status_code == 404


def test_a_page_at_stripe_that_nobody_wants_any_more_is_closed(account: Account, stripe: Stripe):
    client = member(account)
    customers.begin(account)
    send(client, account, "top_up", amount="12.50", how="page", once="one")
    topup = TopUp.objects.get()
    assert 'name="act" value="cancel"' in page(client, path(account))
    for nothing in ("", "7c9e6679-7425-40de-944b-e07fc1f90ae7"):
        send(client, account, "cancel", topup=nothing)
    assert "Nobody can pay" in told(send(client, account, "cancel", topup=str(topup.pk)))
    assert fill_in(topup.action_url).status_code == 410
    assert 'value="cancel"' not in page(client, path(account))
