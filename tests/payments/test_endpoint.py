"""Stripe's webhook endpoint: who may tell us something, and what is stored of it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from django.db import connections

from payments.models import StripeEvent
from tests.accounts.rationing.conftest import Clock, clock  # noqa: F401 - a fixture
from tests.accounts.rationing.test_requests import ask, counted
from tests.payments.conftest import ENDPOINT, WEBHOOK_SECRET, deliver, signed
from tests.stripes import Receiver, Stripe

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1_780_000_000,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "receipt_email": "ada@example.com"}},
}
THIN = {
    "id": "evt_test_65",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "created": "2026-11-20T12:00:00.000Z",
    "livemode": False,
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
}
RAW = json.dumps(EVENT).encode()


def stored() -> list[tuple[str, str, str]]:
    return list(StripeEvent.objects.order_by("pk").values_list("pk", "object_type", "object_id"))


@pytest.mark.django_db
def test_without_billing_nothing_is_there() -> None:
    answer = deliver(EVENT)
    assert (answer.status_code, answer.json()["code"]) == (404, "BILLING_OFF")


@pytest.mark.django_db
def test_what_the_local_stripe_sends_is_stored_with_its_ids_alone(stripe: Stripe) -> None:
    with Receiver() as receiver:
        stripe.add_endpoint(receiver.url, secret=WEBHOOK_SECRET)
        customer = stripe.client().v1.customers.create({"name": "Ada"})
        stripe.client().v1.customers.update(customer.id, {"name": "Ada Lovelace"})
        receiver.wait_for(2)
    answers = [deliver(body, headers["stripe-signature"]).status_code for headers, body in receiver.got]
    assert answers == [200, 200]
    [row] = StripeEvent.objects.all()  # that a customer was made is not news
    assert (row.type, row.object_type, row.object_id) == ("customer.updated", "customer", customer.id)
    assert (row.state, row.swept, row.due_at is not None) == ("pending", False, True)
    assert "Ada" not in str(StripeEvent.objects.values())


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
def test_a_thin_event_is_itself_what_is_to_be_read() -> None:
    assert deliver(THIN).status_code == 200
    assert stored() == [("evt_test_65", "v2.core.event", "evt_test_65")]


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
def test_what_we_do_not_want_is_taken_and_not_kept() -> None:
    upcoming = EVENT | {"type": "invoice.updated", "data": {"object": {"object": "invoice"}}}  # it has no id yet
    for body in (EVENT | {"type": "payout.paid"}, EVENT | {"livemode": True}, upcoming):
        assert deliver(body).status_code == 200
    assert stored() == []


def other(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000, b'{"id": NaN}', b'{"object": "v2.core.event"}'),
        *(other(id="pi_1"), other(id="evt_" + "x" * 300), other(id="evt_\x00"), other(id=["evt_1"])),
        *(other(created="x"), other(created=10**30), other(created=None), other(livemode="no"), other(data=[])),
        other(data={"object": {"id": {"a": 1}, "object": "payment_intent"}}),
        json.dumps(THIN | {"created": "yesterday"}).encode(),
        json.dumps(THIN | {"created": 5}).encode(),
    ],
    ids=range(21),
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    header = signed(body) if body != b"\xff" else "t=1,v1=00"
    answer = deliver(body, header)
    assert answer.status_code == 400, body[:80]
    assert stored() == []


def altered(header: str) -> str:
    return header[:-1] + ("0" if header[-1] != "0" else "1")


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
def test_only_what_stripe_signed_lately_is_believed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # however long this takes
    good = signed(RAW)
    forged = {
        "none": "",
        "another secret": signed(RAW, secret="whsec_another"),
        "an empty secret": signed(RAW, secret=""),
        "another body": signed(RAW + b" "),
        "another digit": altered(good),
        "five minutes old": signed(RAW, at=now - 310),
        "a minute ahead": signed(RAW, at=now + 70),
        "an hour ahead": signed(RAW, at=now + 3600),
        "two times": f"t={int(now)}," + signed(RAW, at=now + 3600),
        "an old scheme": good.replace("v1=", "v0="),
        "no time": good.partition(",")[2],
        "no number": good.replace("t=", "t=x"),
        "a huge number": "t=" + "9" * 5000 + ",v1=00",
        "odd letters": good + "\u00e9",
        "other digits": f"t=\u0661,v1={'0' * 64}",
        "commas": ",,,=,t=,v1=",
    }
    for what, header in forged.items():
        answer = deliver(RAW, header)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_SIGNATURE"), what
    assert stored() == []
    for what, header in {
        "now": good,
        "nearly five minutes old": signed(RAW, at=now - 280),
        "a clock that is ahead": signed(RAW, at=now + 40),
        "two signatures, as while the secret is changed": f"{signed(RAW, secret='whsec_old')},{good.partition(',')[2]}",
    }.items():
        assert deliver(RAW, header).status_code == 200, what
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", WEBHOOK_SECRET]
    assert deliver(RAW).status_code == 200
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert deliver(RAW).status_code == 400
    assert deliver(RAW, signed(RAW, secret="")).status_code == 400
    assert StripeEvent.objects.get().repeats == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("billing")
def test_eight_of_one_event_at_once_are_stored_once() -> None:
    at_once, answers = threading.Barrier(8), []

    def post() -> None:
        try:
            at_once.wait(10)
            answers.append(deliver(EVENT).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=post) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert answers == [200] * 8
    assert StripeEvent.objects.get().repeats == 7


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("billing", "clock")
def test_bad_signatures_are_rationed_and_a_body_is_bounded(settings: Any) -> None:
    settings.RATION_BAD_SIGNATURES = 3
    forged: dict[str, Any] = {"method": "POST", "body": RAW, "Stripe_Signature": "t=1,v1=00"}
    large = {**forged, "Content_Length": str(2 * 1024 * 1024)}
    assert counted(ask(ENDPOINT, **large)) == {413: 1}
    assert counted(ask(ENDPOINT, times=6, **forged)) == {400: 3, 429: 3}
