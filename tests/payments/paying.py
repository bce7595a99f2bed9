"""What tests of payments do again and again: a customer with a card, a page of Stripe's filled in, workers at work."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import requests
from django.utils import timezone

from accounts import credit
from accounts.models import Account, AccountEvent, Credit
from core.queue.due import DueRow
from payments import cards, customers
from payments.models import Customer, Refund, TopUp
from payments.refunds import RefundWork
from payments.topup_work import TopUpWork
from tests.stripes import Stripe

RETURN_URL = "http://testserver/money"
VISA, DECLINED, DECLINED_LATER = "4242424242424242", "4000000000000002", "4000000000000341"
POOR, NEEDS_HOLDER = "4000000000009995", "4000002760003184"
WORK: dict[Any, Any] = {TopUp: TopUpWork, Refund: RefundWork}


def with_card(stripe: Stripe, account: Account, card: str = "pm_card_visa") -> Customer:
    """Return a customer whose card Stripe has saved, by its name for a test card."""
    customer = customers.begin(account, email="bursar@example.com")
    at_stripe = customers.at_stripe(customer)
    method = stripe.client().v1.payment_methods.attach(card, {"customer": at_stripe})
    cards.adopt(customer, method.id)
    customer.refresh_from_db()
    assert customer.payment_method_id == method.id
    return customer


class Killed(BaseException):
    """What a process that is killed would do no more."""


def die(*args: object, **options: object) -> Any:
    raise Killed


def fill_in(url: str, number: str = VISA, *, expiry: str = "12/40", answer: str = "") -> requests.Response:
    """Fill in a page of Stripe's, and where the card's bank asks, say `complete` or `fail`; follow no way back."""
    session = requests.Session()
    form = {"number": number, "expiry": expiry, "cvc": "123", "name": "A. Bursar", "card": "new"}
    shown = session.post(url, form, allow_redirects=False, timeout=10)
    if answer:
        bank = shown.headers["Location"]
        asked = session.get(bank, timeout=10)
        action = re.search(r'action="([^"]+)"', asked.text)
        values = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text))
        target = requests.compat.urljoin(bank, action[1].replace("&amp;", "&") if action else bank)
        values["outcome"] = answer
        shown = session.post(target, values, allow_redirects=False, timeout=10)
        shown = session.get(shown.headers["Location"], allow_redirects=False, timeout=10)
    return shown


def due(model: type[DueRow]) -> list[Any]:
    """Claim what a worker would."""
    rows: list[Any] = WORK[model]().rows().claim(limit=100, lease=dt.timedelta(seconds=30))
    return rows


def work(model: type[DueRow], rounds: int = 10) -> int:
    """Have a worker step what is due, until nothing is due at once; return how many steps it took."""
    steps = 0
    for _ in range(rounds):
        rows = due(model)
        for row in rows:
            row.give_back(WORK[model]().step(row))
        steps += len(rows)
        if not rows:
            break
    return steps


def later(model: type[DueRow]) -> None:
    """Make what waits due now."""
    model._base_manager.filter(due_at__isnull=False).update(due_at=timezone.now())


def booked(account: Account) -> list[tuple[str, int]]:
    return list(Credit.objects.filter(account=account).order_by("id").values_list("kind", "cents"))


def remaining(account: Account) -> int:
    account.refresh_from_db()
    state = credit.state(account)
    assert state is not None
    return state.remaining_cents


def told(account: Account, prefix: str = "") -> list[dict[str, Any]]:
    found = AccountEvent.objects.filter(account=account, kind__startswith=prefix).order_by("id")
    return [{"kind": event.kind, **event.data} for event in found]


def fold_events(stripe: Stripe, *, order: Any = reversed) -> None:
    """Fold what each of Stripe's events is about, as the inbox would; in the order in which they came unless told."""
    from payments import folding

    for event in order(stripe.objects("event")):
        about = event["data"]["object"]
        if about["object"] in folding.FOLDS and event["type"] in folding.TYPES:
            folding.fold(about["object"], about["id"])
