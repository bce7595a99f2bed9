"""How an account pays over the API: what is answered, once for each key, and what is refused."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import credit, keys
from accounts.audit.models import AuditEntry
from accounts.models import Account, AccountEvent, ApiKey
from core import limits
from payments import customers
from payments.models import CardSetup, Customer, Dispute, Invoice, TopUp
from tests.payments.paying import DECLINED_LATER, NEEDS_HOLDER, fill_in, with_card
from tests.stripes import Stripe

BASE = "/api/v1/billing"
Ask = Callable[..., Any]


@pytest.fixture
def ask(account: Account) -> Ask:
    key = keys.create(account, name="money", scopes=["billing"])[1]
    client = Client()

    def send(method: str, path: str = "", body: Any = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return client.generic(
            method, BASE + path, "" if body is None else json.dumps(body), "application/json", headers=sent
        )

    return send


@pytest.fixture
def customer(account: Account, billing: None) -> Customer:
    """A billed account without a card; nobody listens where Stripe should be."""
    return customers.begin(account)


def ended(customer: Customer, **fields: Any) -> TopUp:
    return TopUp.objects.create(
        **{"customer": customer, "cents": 1000, "origin": "member", "state": "failed", "ended_at": timezone.now()}
        | fields
    )


def test_where_billing_is_off_there_is_none(ask: Ask, settings: Any):
    for method, path in (("GET", ""), ("POST", "/topups"), ("GET", f"/topups/{uuid.uuid4()}"), ("GET", "/invoices")):
        answer = ask(method, path, {} if method == "POST" else None)
        assert (answer.status_code, answer.json()["code"]) == (404, "BILLING_OFF")
    secret = keys.create(ApiKey.objects.get().account, name="casts", scopes=["casts:read"])[1]
    for billing, status in ((False, 404), (True, 403)):  # whatever the key may do
        settings.BILLING = billing
        assert Client().get(BASE, headers={"Authorization": f"Bearer {secret}"}).status_code == status


def test_billing_that_began_with_a_grant_is_topped_up_like_any_other(ask: Ask, account: Account, stripe: Stripe):
    credit.begin_billing(account)
    credit.book(account.pk, "grant", 5, "grant:1")
    shown = ask("GET").json()
    assert (shown["billed"], shown["mode"], shown["credit"]["remaining_cents"]) == (True, "prepaid", 5)
    assert ask("POST", "/topups", {"cents": 1000, "hosted": True}).json()["state"] == "requires_action"


def test_an_account_that_is_not_billed_says_so_and_pays_nothing(ask: Ask, billing: None):
    shown = ask("GET").json()
    assert (shown["billed"], shown["mode"], shown["credit"], shown["card"]) == (False, None, None, None)
    for path, body in (("/setup", {}), ("/topups", {"cents": 1000}), ("/portal", {})):
        assert ask("POST", path, body).json()["code"] == "NOT_BILLED"
    assert ask("PATCH", "", {"auto_topup": None}).status_code == 409


@pytest.mark.parametrize(
    ("currency", "decimals", "bad"),
    [("usd", 2, [49, 100_000_000]), ("jpy", 0, [49]), ("kwd", 3, [1001])],
)
def test_amounts_fit_the_currency(ask: Ask, customer: Customer, settings: Any, currency: str, decimals: int, bad: Any):
    settings.BILLING_CURRENCY = currency
    shown = ask("GET").json()
    assert (shown["currency"], shown["decimals"]) == (currency, decimals)
    for cents in bad:
        answer = ask("POST", "/topups", {"cents": cents, "hosted": True})
        assert (answer.status_code, answer.json()["code"]) == (422, "TOPUP_AMOUNT"), cents
        assert currency.upper() in answer.json()["detail"]
    assert not TopUp.objects.exists()


def test_what_can_t_be_done_says_what_to_do(ask: Ask, customer: Customer):
    refused = [
        ("POST", "/topups", {"cents": 1000}, "NO_CARD"),
        ("PATCH", "", {"auto_topup": {"below_cents": 100, "cents": 1000}}, "NO_CARD"),
        ("PATCH", "", {"auto_topup": {"cents": 1000}}, "VALIDATION_ERROR"),
        ("PATCH", "", {"auto": None}, "VALIDATION_ERROR"),
        ("POST", "/topups", {"cents": "10"}, "VALIDATION_ERROR"),
        ("POST", "/topups", {"cents": True}, "VALIDATION_ERROR"),
        ("POST", "/topups", {"cents": 2**70}, "VALIDATION_ERROR"),
        ("POST", "/setup", {"return_url": "https://elsewhere.example/"}, "VALIDATION_ERROR"),
        ("POST", "/setup", {}, "PAYMENTS_UNAVAILABLE"),
        ("GET", "/topups/nothing", None, "TOPUP_NOT_FOUND"),
        ("GET", f"/topups/{uuid.uuid4()}", None, "TOPUP_NOT_FOUND"),
        ("GET", "/topups?state=odd", None, "VALIDATION_ERROR"),
    ]
    for method, path, body, code in refused:
        assert ask(method, path, body).json()["code"] == code, (path, body)
    assert ask("POST", "/topups", {"cents": 1000}, Idempotency_Key="a b").status_code == 400
    assert not TopUp.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://elsewhere.example/",
            "//elsewhere.example",
            "javascript:alert(1)",
            "http://testserver@evil.example/",
        ),
        *(
            "http://testserver.evil.example/",
            "https://testserver/",
            "http://testserver:81/",
            "http:testserver",
            "/money",
        ),
        *(
            "http://testserver\\@evil.example/",
            "http://evil.example\\.testserver/",
            "http://testserver\t.evil.example/",
        ),
        *("http://[testserver/", "https://shop.example.com.evil.example/", "http://shop.example.com/"),
    ],
)
def test_stripe_s_page_leads_back_to_us_or_to_whom_the_operator_allows(
    ask: Ask, customer: Customer, settings: Any, url: str
):
    settings.BILLING_RETURN_ORIGINS = ["https://shop.example.com", "no address"]
    answer = ask("POST", "/setup", {"return_url": url})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/return_url")
    for good in ("http://testserver/x?y=1", "https://shop.example.com:443/done"):
        assert ask("POST", "/setup", {"return_url": good}).json()["code"] == "PAYMENTS_UNAVAILABLE"


def test_a_top_up_is_one_for_each_key_however_often_it_is_asked_for(ask: Ask, account: Account, stripe: Stripe):
    with_card(stripe, account)
    first = ask("POST", "/topups", {"cents": 2500}, Idempotency_Key="one")
    shown = first.json()
    assert (first.status_code, shown["state"], shown["final"], shown["currency"]) == (201, "succeeded", True, "usd")
    assert first.headers["Location"].endswith(f"/api/v1/billing/topups/{shown['id']}")
    again = ask("POST", "/topups", {"hosted": False, "cents": 2500}, Idempotency_Key="one")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == ask("GET", f"/topups/{shown['id']}").json()
    other = ask("POST", "/topups", {"cents": 2600}, Idempotency_Key="one")
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(stripe.objects("payment_intent")) == 1
    assert ask("GET").json()["credit"]["remaining_cents"] == 2500
    assert ask("GET", "/topups?state=succeeded").json()["results"] == [again.json()]
    assert ask("GET", "/topups?state=failed").json()["results"] == []


def test_a_page_is_closed_by_who_opened_it_and_a_charge_is_not(ask: Ask, account: Account, stripe: Stripe):
    customers.begin(account)
    opened = ask("POST", "/topups", {"cents": 2500, "hosted": True}).json()
    for _ in range(2):
        closed = ask("POST", f"/topups/{opened['id']}/cancel")
        assert (closed.status_code, closed.json()["state"], closed.json()["action_url"]) == (200, "cancelled", None)
    assert AuditEntry.objects.filter(action="billing.cancel_top_up").count() == 1
    assert fill_in(opened["action_url"]).status_code == 410
    with_card(stripe, account)
    stripe.faults(unreachable=True)
    charged = ask("POST", "/topups", {"cents": 2500}).json()
    refused = ask("POST", f"/topups/{charged['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "TOPUP_NOT_CANCELLED")


def test_a_decline_is_a_state_and_a_bank_s_question_a_link(ask: Ask, account: Account, stripe: Stripe):
    with_card(stripe, account)
    setup = ask("POST", "/setup", {})
    assert setup.status_code == 201
    fill_in(setup.json()["url"], DECLINED_LATER)
    from payments import cards

    cards.look(CardSetup.objects.get())
    declined = ask("POST", "/topups", {"cents": 2500})
    shown = declined.json()
    assert (declined.status_code, shown["state"], shown["code"]) == (201, "failed", "card_declined")
    assert ask("GET").json()["problems"][-1]["code"] == "topup_failed"
    hosted = ask("POST", "/topups", {"cents": 2500, "hosted": True}).json()
    assert (hosted["state"], hosted["final"]) == ("requires_action", False)
    fill_in(hosted["action_url"], NEEDS_HOLDER, answer="complete")
    from payments import topup_work

    topup_work.advance(TopUp.objects.get(pk=hosted["id"]))
    paid = ask("GET", f"/topups/{hosted['id']}").json()
    assert (paid["state"], paid["action_url"]) == ("succeeded", None)
    with_card(stripe, account, "pm_card_authenticationRequired")
    asked = ask("POST", "/topups", {"cents": 2500}).json()
    assert asked["state"] == "requires_action"
    assert asked["action_url"]  # at once: whoever asked is there to follow it


def test_topping_up_by_itself_is_switched_on_and_off(ask: Ask, account: Account, stripe: Stripe):
    with_card(stripe, account)
    wanted = {"below_cents": 0, "cents": 2000}
    assert ask("PATCH", "", {"auto_topup": wanted}).json()["auto_topup"] == wanted
    assert ask("PATCH", "", {}).json()["auto_topup"] == wanted
    Customer.objects.update(auto_topup_off_reason="It failed.")
    shown = ask("GET").json()
    assert shown["auto_topup"] is None
    assert "auto_topup_off" in [one["code"] for one in shown["problems"]]
    assert ask("PATCH", "", {"auto_topup": wanted}).json()["auto_topup"] == wanted  # and starts anew
    assert ask("PATCH", "", {"auto_topup": None}).json()["auto_topup"] is None
    assert ask("PATCH", "", {"auto_topup": {"below_cents": 0, "cents": 1}}).json()["code"] == "TOPUP_AMOUNT"


def test_when_credit_is_low_is_for_the_account_to_say(ask: Ask, account: Account, customer: Customer):
    assert ask("GET").json()["credit"]["low_cents"] is None
    assert ask("PATCH", "", {"low_cents": 500}).json()["credit"]["low_cents"] == 500
    assert AccountEvent.objects.get(account=account).kind == "credit.low"  # it has none
    assert ask("PATCH", "", {}).json()["credit"]["low_cents"] == 500
    assert ask("PATCH", "", {"low_cents": None}).json()["credit"]["low_cents"] is None
    for bad in (0, -1, 1.5, "5", 2**63):
        assert ask("PATCH", "", {"low_cents": bad}).status_code == 422
    entries = AuditEntry.objects.filter(action="billing.set_low").order_by("id")
    assert [(one.before, one.after) for one in entries] == [
        ({"low_cents": None}, {"low_cents": 500}),
        ({"low_cents": 500}, {"low_cents": None}),
    ]


def test_nobody_tries_cards_here(ask: Ask, customer: Customer):
    for _ in range(limits.FAILED_TOPUPS):
        ended(customer)
    answer = ask("POST", "/topups", {"cents": 1000, "hosted": True})
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_DECLINES")
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    TopUp.objects.update(state=TopUp.State.REQUIRES_ACTION, ended_at=None)
    assert ask("POST", "/topups", {"cents": 1000, "hosted": True}).json()["code"] == "TOO_MANY_TOPUPS"


def test_while_stripe_is_away_a_top_up_waits(ask: Ask, customer: Customer):
    Customer.objects.update(payment_method_id="pm_1")
    answer = ask("POST", "/topups", {"cents": 1000})
    assert (answer.status_code, answer.json()["state"]) == (201, "new")
    assert TopUp.objects.get().due_at is not None
    assert ask("POST", "/portal", {}).json()["code"] == "PAYMENTS_UNAVAILABLE"


def test_what_is_another_account_s_is_not_there(ask: Ask, customer: Customer, api_key: ApiKey):
    other = customers.begin(Account.objects.create(name="Another"))
    theirs = ended(other)
    Invoice.objects.create(
        **{"id": "in_1", "customer": other, "status": "open", "page_url": "https://pay.example/"},
        **dict.fromkeys(("period_start", "period_end", "created_at"), timezone.now()),
    )
    assert ask("GET", f"/topups/{theirs.pk}").status_code == 404
    assert ask("GET", "/topups").json()["results"] == ask("GET", "/invoices").json()["results"] == []
    Invoice.objects.update(customer=customer, due_at=timezone.now())
    Dispute.objects.create(
        id="du_1", topup=ended(customer, state="succeeded"), cents=9, reason="x", status="needs_response",
        opened_at=timezone.now(),
    )  # fmt: skip
    [shown] = ask("GET", "/invoices").json()["results"]
    assert (shown["id"], shown["page_url"], shown["pdf_url"]) == ("in_1", "https://pay.example/", None)
    assert {one["code"] for one in ask("GET").json()["problems"]} == {"credit_spent", "disputed", "invoice_overdue"}
