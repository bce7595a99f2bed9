"""Keys over HTTP: made, listed and revoked by keys that have the scope `keys`."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey
from tests.casts.client import Api, problem


@pytest.fixture
def api(secret):
    return Api(secret)


def test_a_made_key_works_and_its_secret_is_shown_this_once(api, account):
    made = api.post("/keys", {"name": "ci"})
    assert made.status_code == 201
    body = made.json()
    assert Api(body["secret"]).get("/budget").status_code == 200
    assert body["scopes"] == list(SCOPES)
    assert body["prefix"] == body["secret"][:20]
    listed = api.get("/keys")
    assert body["secret"] not in listed.text
    assert "secret" not in listed.json()["results"][0]
    assert "digest" not in listed.text
    assert [k["name"] for k in listed.json()["results"]] == ["ci", "tests"]


def test_a_made_key_has_what_was_asked_for(api, make_spell):
    expires = timezone.now().replace(microsecond=0) + dt.timedelta(days=1)
    asked = {"name": "ci", "scopes": ["casts:read"], "spell_keys": ["greet"], "expires_at": expires.isoformat()}
    key = ApiKey.objects.get(pk=api.post("/keys", asked).json()["id"])
    assert (key.scopes, key.spell_keys, key.expires_at) == (["casts:read"], ["greet"], expires)


def test_another_accounts_keys_are_not_there(api, account):
    other, _ = keys.create(Account.objects.create(name="Other"), name="theirs")
    assert "theirs" not in api.get("/keys").text
    problem(api.delete(f"/keys/{other.pk}"), 404, "KEY_NOT_FOUND")
    other.refresh_from_db()
    assert other.usable


def test_a_revoked_key_is_dead_at_once_and_revoking_twice_is_no_error(api, account):
    key, secret = keys.create(account, name="leaked")
    assert api.delete(f"/keys/{key.pk}").status_code == 204
    problem(Api(secret).get("/budget"), 401, "UNAUTHORIZED")
    key.refresh_from_db()
    first = key.revoked_at
    assert api.delete(f"/keys/{key.pk}").status_code == 204
    key.refresh_from_db()
    assert key.revoked_at == first


def test_a_key_may_revoke_itself(api, api_key):
    assert api.delete(f"/keys/{api_key.pk}").status_code == 204
    problem(api.get("/keys"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("key_id", ["0", "99999999", "9" * 30])
def test_a_key_that_is_not_there_is_404(api, key_id):
    problem(api.delete(f"/keys/{key_id}"), 404, "KEY_NOT_FOUND")


@pytest.mark.parametrize("key_id", ["x", "-1", "9" * 5000])
def test_what_is_no_keys_number_is_404(api, key_id):
    problem(api.delete(f"/keys/{key_id}"), 404, "NOT_FOUND")


def test_a_key_gives_away_no_scope_that_it_lacks(account):
    _, secret = keys.create(account, name="limited", scopes=["keys", "casts:read"])
    api = Api(secret)
    detail = problem(api.post("/keys", {"name": "x", "scopes": ["casts:write", "keys"]}), 403, "FORBIDDEN")["detail"]
    assert "casts:write" in detail
    assert api.post("/keys", {"name": "x"}).json()["scopes"] == ["keys", "casts:read"]
    assert ApiKey.objects.filter(name="x").count() == 1


def test_a_key_gives_away_no_spell_that_it_lacks(account):
    _, secret = keys.create(account, name="limited", scopes=["keys", "casts:write"], spell_keys=["greet"])
    api = Api(secret)
    refused = api.post("/keys", {"name": "x", "spell_keys": ["greet", "report"]})
    assert "report" in problem(refused, 403, "FORBIDDEN")["detail"]
    assert api.post("/keys", {"name": "a"}).json()["spell_keys"] == ["greet"]
    assert api.post("/keys", {"name": "b", "spell_keys": None}).json()["spell_keys"] == ["greet"]
    assert api.post("/keys", {"name": "c", "spell_keys": []}).json()["spell_keys"] == []


def test_a_key_makes_none_that_outlives_it(account):
    soon = timezone.now() + dt.timedelta(hours=1)
    _, secret = keys.create(account, name="limited", scopes=["keys"], expires_at=soon)
    api = Api(secret)
    for later in ({}, {"expires_at": None}, {"expires_at": (soon + dt.timedelta(seconds=1)).isoformat()}):
        problem(api.post("/keys", {"name": "x"} | later), 403, "FORBIDDEN")
    assert not ApiKey.objects.filter(name="x").exists()
    assert api.post("/keys", {"name": "x", "expires_at": soon.isoformat()}).status_code == 201


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": 5}, "/name"),
        ({"name": "n" * 101}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["casts:read", "all"]}, "/scopes/1"),
        ({"name": "x", "scopes": "keys"}, "/scopes"),
        ({"name": "x", "spell_keys": [1]}, "/spell_keys/0"),
        ({"name": "x", "expires_at": "tomorrow"}, "/expires_at"),
        ({"name": "x", "expires_at": "0001-01-01T00:00:00+12:00"}, "/expires_at"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "x", "secret": "mine"}, "/secret"),
        ({"name": "x", "account": 1}, "/account"),
    ],
)
def test_a_request_for_a_key_that_does_not_fit_makes_none(api, api_key, body, pointer):
    errors = problem(api.post("/keys", body), 422, "VALIDATION_ERROR")["errors"]
    assert [error["pointer"] for error in errors] == [pointer]
    assert list(ApiKey.objects.all()) == [api_key]
