"""Callbacks about the account: who gets them, what they hold, and which keys may have them sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from accounts import budget, credit, events, keys
from accounts.models import Account, AccountEvent
from casts.callbacks import endpoints
from casts.models import Callback
from core.ids import uuid7
from core.times import stamp
from tests.casts.client import Api, problem
from tests.casts.receivers import Receiver, ended, receiver, work_off

FACTS = {"topup_id": "1", "cents": 500}


@pytest.fixture
def inbox(settings: Any) -> Iterator[Receiver]:
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver() as running:
        yield running


@pytest.fixture
def key(account):
    """Return a client with a key of these scopes, for these spells."""

    def make(*scopes, spells=None):
        return Api(keys.create(account, name="k", scopes=list(scopes), spell_keys=spells)[1])

    return make


def tell(account, kind="topup.succeeded", dedupe="1", **more):
    return events.tell(account.pk, kind, dedupe, FACTS | more)


def test_what_happens_to_the_account_reaches_the_endpoints_that_name_it_once_and_signed(account, inbox, api):
    made = api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["topup.succeeded", "cast.failed"]}).json()
    api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["topup.failed"]})
    assert tell(account)
    assert not tell(account, cents=999)
    assert not tell(account, kind="topup.failed"), "what was told once is told"
    assert tell(account, kind="budget_threshold", dedupe="2"), "which is no callback"
    assert tell(Account.objects.create(name="Other"))
    assert work_off() == 1
    [got] = inbox.got
    event = AccountEvent.objects.get(account=account, dedupe="1")
    message = got.verified(made["secret"])
    assert message == {"type": "topup.succeeded", "timestamp": stamp(event.at), "data": FACTS}
    callback = Callback.objects.get()
    assert (callback.state, callback.cast, callback.event) == ("delivered", None, event)


def test_endpoints_that_name_no_types_are_told_of_casts_alone(account, inbox, api, api_key, spell):
    made = api.post("/callbacks/endpoints", {"url": inbox.url}).json()
    assert made["types"] == ["cast.succeeded", "cast.failed", "cast.cancelled"]
    tell(account)
    ended(api_key, spell)
    work_off()
    assert [json.loads(got.body)["type"] for got in inbox.got] == ["cast.succeeded"]


def test_an_event_that_is_taken_back_is_told_to_nobody(account, inbox, api):
    api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["topup.succeeded"]})
    with transaction.atomic():
        tell(account)
        transaction.set_rollback(True)
    assert not Callback.objects.exists()
    assert tell(account)


def test_credit_that_falls_low_is_told_with_the_cast_that_took_it(account, inbox, api, api_key, spell):
    credit.begin_billing(account)
    credit.book(account.pk, "topup", 12, "pi_1")
    credit.set_low(account.pk, 10)
    made = api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["credit.low"]}).json()
    cast = api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}})
    assert cast.status_code == 201
    work_off()
    assert inbox.got[0].verified(made["secret"])["data"] == {
        **{"remaining_cents": 7, "low_cents": 10, "cap_cents": 12, "held_cents": 5, "captured_cents": 0}
    }
    api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}})
    problem(api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}), 402, "BUDGET_CAP_EXCEEDED")
    work_off()
    assert len(inbox.got) == 1
    assert budget.current(account).held_cents == 10


# --- who may have them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scopes", "allowed"), [(["budget:read"], True), (["casts:read", "budget:write"], False)])
def test_a_key_that_may_not_read_the_budget_has_no_money_told_anywhere(key, account, inbox, scopes, allowed):
    """Neither by a new endpoint, nor by an old one's types or address, nor from the log."""
    reader, manager = key("callbacks", "budget:read", "casts:read"), key("callbacks", *scopes)
    path = "/callbacks/endpoints"
    casts, money = (
        reader.post(path, {"url": inbox.url, "types": types}).json()["id"]
        for types in (["cast.failed"], ["cast.failed", "dispute.opened"])
    )
    tell(account, kind="dispute.opened")
    [sent] = Callback.objects.all()
    elsewhere = {"url": "https://second.example/"}
    asked = [
        (manager.post(path, {"url": inbox.url, "types": ["cast.failed", "credit.low"]}), 201),
        (manager.call("PATCH", f"{path}/{casts}", {"types": ["credit.low"]}), 200),
        (manager.get(f"/callbacks/{sent.pk}"), 200),
        (manager.post(f"/callbacks/{sent.pk}/replay"), 202),
    ]
    if allowed:
        assert [answer.status_code for answer, _ in asked] == [status for _, status in asked]
        assert [line["id"] for line in manager.get("/callbacks").json()["results"]] == [sent.pk]
        assert manager.get("/callbacks?type=dispute.opened").json()["results"][0]["cast_id"] is None
        assert manager.get("/callbacks?type=credit.low").json()["results"] == []
        return
    for answer, _ in asked[:2]:
        refused = problem(answer, 403, "FORBIDDEN")
        assert refused["required_scope"] == "budget:read"
        assert "credit.low" in refused["detail"]
    for answer, _ in asked[2:]:
        problem(answer, 404, "CALLBACK_NOT_FOUND")
    assert manager.get("/callbacks").json()["results"] == []
    problem(manager.call("PATCH", f"{path}/{money}", elsewhere), 403, "FORBIDDEN")
    # What the endpoint hears already may stay, or go.
    for types in (["cast.failed", "dispute.opened"], ["cast.failed"]):
        assert manager.call("PATCH", f"{path}/{money}", {"types": types}).json()["types"] == types
    assert manager.call("PATCH", f"{path}/{money}", elsewhere).status_code == 200


def test_a_key_for_certain_spells_is_told_of_the_account_too_if_it_asks(key, account, inbox, api_key, spell):
    manager = key("callbacks", "budget:read", spells=["other"])
    manager.post("/callbacks/endpoints", {"url": inbox.url, "types": ["topup.failed", "cast.succeeded"]})
    manager.post("/callbacks/endpoints", {"url": inbox.url})
    tell(account, kind="topup.failed")
    ended(api_key, spell)
    work_off()
    assert [json.loads(got.body)["type"] for got in inbox.got] == ["topup.failed"]
    assert [line["type"] for line in manager.get("/callbacks").json()["results"]] == ["topup.failed"]


def test_types_are_known(api, inbox):
    problem(api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["credit.high"]}), 422, "VALIDATION_ERROR")
    problem(api.get("/callbacks?type=credit.high"), 422, "VALIDATION_ERROR")


# --- when it does not arrive -----------------------------------------------------------------------------------


def test_what_was_not_taken_is_tried_again_and_sent_again_by_callers_and_operators(account, inbox, api):
    inbox.answers = [(500, {}), (500, {}), (204, {})]
    made = api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["topup.succeeded"]}).json()
    tell(account)
    work_off()
    [line] = api.get(f"/callbacks?endpoint={made['id']}").json()["results"]
    assert (line["type"], line["state"], line["last_status"]) == ("topup.succeeded", "pending", 500)
    assert api.post(f"/callbacks/{line['id']}/replay").status_code == 202
    work_off()
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    shown = operator.get(f"/admin/casts/callback/{line['id']}/change/").content.decode()
    assert "topup.succeeded" in shown
    Callback.objects.update(state="failed", due_at=None)
    attention = operator.get("/admin/attention/").content.decode()
    assert line["id"] in attention
    done = operator.post("/admin/casts/callback/", {"action": "send_again", "_selected_action": [line["id"]]})
    assert done.status_code == 302
    work_off()
    assert Callback.objects.get().state == "delivered"
    assert len({got.headers["webhook-id"] for got in inbox.got}) == 1


def test_a_callback_is_about_a_cast_or_an_event_and_never_both(account, api_key, spell, inbox):
    cast = ended(api_key, spell)
    tell(account)
    event = AccountEvent.objects.get()
    endpoint = endpoints.add_endpoint(account, url=inbox.url, types=["topup.succeeded"])
    common = {"account": account, "url": "x", "type": "topup.succeeded", "created_at": timezone.now()}
    for about in (
        {"endpoint": endpoint},
        {"endpoint": endpoint, "cast": cast, "event": event},
        {"event": event},  # events have no callback_url
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Callback.objects.create(id=f"msg_{uuid7().hex}", **common, **about)
    Callback.objects.create(**common, endpoint=endpoint, event=event)
    with pytest.raises(IntegrityError), transaction.atomic():
        Callback.objects.create(**common, endpoint=endpoint, event=event)
