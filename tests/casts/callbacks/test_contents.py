"""What callbacks tell to whom: whoever says where they go, or reads their log, learns no more than the key may read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from accounts import keys
from accounts.models import SCOPES
from casts.models import Callback
from core.ids import uuid7
from tests.casts.client import Api, problem
from tests.casts.receivers import Receiver, ended, receiver, work_off

RECEIPT = {"cast_id", "status", "final"}
LINE = {
    *("id", "type", "cast_id", "endpoint_id", "state", "tries", "next_try_at"),
    *("last_status", "created_at", "delivered_at"),
}


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


def told(inbox):
    """Say what the one message that came holds of its cast: "all", "receipt" or, if none came, "nothing"."""
    work_off()
    if not inbox.got:
        return "nothing"
    [message] = inbox.got
    data = json.loads(message.body)["data"]
    if data.keys() == RECEIPT:
        assert "token=" not in message.body.decode()
        return "receipt"
    assert data["output"] == {"greeting": "hello"}
    return "all"


@pytest.mark.parametrize(
    ("scopes", "spells", "expected"),
    [
        (["callbacks", "casts:read"], None, "all"),
        (["callbacks"], None, "receipt"),
        (["callbacks", "casts:write"], ["greet"], "receipt"),
        (["callbacks", "casts:read"], ["greet", "other"], "all"),
        (["callbacks", "casts:read"], ["other"], "nothing"),
        (["callbacks"], ["other"], "nothing"),
    ],
)
def test_an_endpoint_is_sent_what_the_key_may_read_that_made_it(key, inbox, api_key, spell, scopes, spells, expected):
    made = key(*scopes, spells=spells).post("/callbacks/endpoints", {"url": inbox.url}).json()
    assert (made["contents"], made["spell_keys"]) == ("casts:read" in scopes, spells)
    ended(api_key, spell)
    assert told(inbox) == expected


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [(["casts:read", "casts:write"], "all"), (["casts:write"], "receipt"), (["casts:write", "callbacks"], "receipt")],
)
def test_a_callback_url_is_sent_what_the_key_may_read_that_placed_the_cast(account, inbox, spell, scopes, expected):
    placer, _ = keys.create(account, name="k", scopes=scopes)
    ended(placer, spell, callback_url=inbox.url)
    assert told(inbox) == expected


@pytest.mark.parametrize(
    ("scopes", "spells", "allowed"),
    [
        (["callbacks", "casts:read"], None, {"whole", "greet", "thin", "thin greet"}),
        (["callbacks", "casts:read"], ["greet"], {"greet", "thin greet"}),
        (["callbacks", "casts:read"], ["other"], set()),
        (["callbacks"], None, {"thin", "thin greet"}),
        (["callbacks"], ["greet"], {"thin greet"}),
    ],
)
def test_messages_are_led_elsewhere_by_keys_alone_that_may_read_them(key, account, scopes, spells, allowed):
    reader, manager = ["callbacks", "casts:read"], key(*scopes, spells=spells)
    for name, made_with, of in (
        ("whole", reader, None),
        ("greet", reader, ["greet"]),
        ("thin", ["callbacks"], None),
        ("thin greet", ["callbacks"], ["greet"]),
    ):
        first = {"url": "https://first.example/"}
        made = key(*made_with, spells=of).post("/callbacks/endpoints", first).json()
        path = f"/callbacks/endpoints/{made['id']}"
        other = manager.call("PATCH", path, {"url": "https://second.example/", "description": "x"})
        if name in allowed:
            assert other.json()["url"] == "https://second.example/"
        else:
            problem(other, 403, "FORBIDDEN")
            assert manager.get(path).json().items() >= {"url": "https://first.example/", "description": ""}.items()
        # All else of it may be managed; also with the address that it has.
        same = manager.get(path).json()["url"]
        assert manager.call("PATCH", path, {"url": same, "active": False}).json()["active"] is False
        assert manager.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("scopes", "spells", "expected"),
    [
        (["callbacks", "casts:read"], None, "all"),
        (["callbacks", "casts:read"], ["greet"], "all"),
        (["callbacks"], None, "state"),
        (["callbacks", "casts:write"], ["greet"], "state"),
        (list(SCOPES), ["other"], "none"),
        (["callbacks"], ["other"], "none"),
    ],
)
def test_the_log_tells_what_the_key_may_read(key, inbox, api_key, spell, scopes, spells, expected):
    inbox.answers, inbox.body = [(500, {})], b"what you sent was: a secret"
    cast = ended(api_key, spell, callback_url=inbox.url)
    work_off()
    callback = Callback.objects.get()
    reader = key(*scopes, spells=spells)
    listed = reader.get(f"/callbacks?cast={cast.pk}").json()["results"]
    replay, one = reader.post(f"/callbacks/{callback.pk}/replay"), reader.get(f"/callbacks/{callback.pk}")
    if expected == "none":
        assert listed == []
        problem(one, 404, "CALLBACK_NOT_FOUND")
        problem(replay, 404, "CALLBACK_NOT_FOUND")
        problem(reader.get(f"/callbacks/msg_{uuid7().hex}"), 404, "CALLBACK_NOT_FOUND")
        return
    assert replay.status_code == 202
    whole = expected == "all"
    for line in (*listed, one.json(), replay.json()):
        assert line.keys() - {"attempts"} == (LINE | {"url", "last_error"} if whole else LINE)
        assert line["last_status"] == 500
    for answer in (one, replay):
        [attempt] = answer.json()["attempts"]
        assert attempt["status_code"] == 500
        assert attempt.keys() >= {"at", "duration_ms"}
        assert ("a secret" in answer.text) == ("/hook" in answer.text) == whole
