"""Test events: signed and sent as real ones, whatever an endpoint names, and counted nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import keys
from accounts.models import LedgerEntry
from casts.callbacks.attention import needing_attention
from casts.models import Callback, Cast
from core import limits
from core.times import stamp
from tests.casts.client import Api, problem
from tests.casts.receivers import Receiver, receiver, work_off


@pytest.fixture
def inbox(settings: Any) -> Iterator[Receiver]:
    settings.CALLBACK_ALLOWED_HOSTS = ["127.0.0.1"]
    with receiver() as running:
        yield running


@pytest.fixture
def endpoint(api: Api, inbox: Receiver) -> dict[str, Any]:
    made: dict[str, Any] = api.post("/callbacks/endpoints", {"url": inbox.url, "types": ["cast.failed"]}).json()
    return made


def test_a_test_is_signed_and_sent_once_and_is_no_cast(account, api, inbox, endpoint):
    told = api.post(f"/callbacks/endpoints/{endpoint['id']}/test")
    assert told.status_code == 202
    assert work_off() == 1
    [got] = inbox.got
    callback = Callback.objects.get()
    assert got.headers["webhook-id"] == callback.pk == told.json()["id"]
    message = got.verified(endpoint["secret"])
    assert (message["type"], message["timestamp"]) == ("endpoint.test", stamp(callback.created_at))
    assert message["data"]["endpoint_id"] == endpoint["id"]
    assert (callback.state, callback.cast, callback.event) == ("delivered", None, None)
    assert not Cast.objects.exists()
    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize(("answer", "active"), [(500, True), (302, True), (410, False)])
def test_a_test_that_fails_is_not_tried_again_and_troubles_no_operator(api, inbox, endpoint, answer, active):
    inbox.answers = [(answer, {})]
    sent = api.post(f"/callbacks/endpoints/{endpoint['id']}/test").json()
    assert work_off() == 1
    Callback.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    assert work_off() == 0
    shown = api.get(f"/callbacks/{sent['id']}").json()
    assert (shown["state"] in ("failed", "disabled"), shown["last_status"], len(shown["attempts"])) == (True, answer, 1)
    assert shown["attempts"][0]["response_excerpt"] == "thank you"
    assert api.get("/callbacks/endpoints").json()["results"][0]["active"] is active
    assert not needing_attention(Callback.objects.all()).exists()


def test_tests_are_few_and_for_endpoints_that_are_on(api, endpoint, clock):
    path = f"/callbacks/endpoints/{endpoint['id']}"
    for _ in range(limits.ENDPOINT_TESTS):
        assert api.post(path + "/test").status_code == 202
    problem(api.post(path + "/test"), 429, "TOO_MANY_TESTS")
    clock.forward(seconds=61)
    assert api.post(path + "/test").status_code == 202
    api.call("PATCH", path, {"active": False})
    problem(api.post(path + "/test"), 409, "ENDPOINT_DISABLED")
    api.delete(path)
    problem(api.post(path + "/test"), 404, "ENDPOINT_NOT_FOUND")
    named = api.post("/callbacks/endpoints", {"url": "https://example.com/", "types": ["endpoint.test"]})
    problem(named, 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("scopes", [["callbacks"], ["callbacks", "casts:read", "budget:read"]])
@pytest.mark.parametrize("spells", [None, ["another"]])
def test_whoever_manages_endpoints_sees_tests_in_the_log(account, api, inbox, endpoint, scopes, spells):
    key = Api(keys.create(account, name="k", scopes=scopes, spell_keys=spells)[1])
    sent = key.post(f"/callbacks/endpoints/{endpoint['id']}/test").json()
    work_off()
    [line] = key.get("/callbacks?type=endpoint.test").json()["results"]
    assert (line["id"], line["state"], line["cast_id"]) == (sent["id"], "delivered", None)
    assert ("url" in line) is ("casts:read" in scopes)
    assert key.post(f"/callbacks/{sent['id']}/replay").status_code == 202
    assert work_off() == 1
    assert [got.headers["webhook-id"] for got in inbox.got] == [sent["id"]] * 2


def test_only_a_test_is_about_nothing(account, endpoint):
    row = {"account": account, "endpoint_id": endpoint["id"], "url": "x", "created_at": timezone.now()}
    with pytest.raises(IntegrityError), transaction.atomic():
        Callback.objects.create(**row, type="cast.failed")
    Callback.objects.create(**row, type="endpoint.test")
