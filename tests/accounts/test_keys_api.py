"""Keys over HTTP: made, listed and revoked by keys that have the scope `keys`."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys, principals
from accounts.models import SCOPES, Account, ApiKey
from core.errors import Unauthorized
from tests.casts.client import Api, problem
from tests.e2e.platform import until


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


# --- who made a key, and what was made with it ----------------------------------------------------------------------


def descend(account, *, depth=3):
    """Return keys, each made by the one before it, and their secrets."""
    made = [keys.create(account, name="0", scopes=["keys", "budget:read"])]
    for number in range(1, depth):
        made.append(keys.create_below(made[-1][0], name=f"{number}"))
    return made


def valid(account):
    return [key.name for key in account.api_keys.order_by("pk") if key.usable]


def test_a_key_says_who_made_it(api, account, api_key, django_user_model):
    made = api.post("/keys", {"name": "ci"}).json()
    assert made["created_by"] == {"kind": "key", "key_id": api_key.pk, "name": "tests"}
    for name, operator in (("ada", False), ("olga", True)):
        user = django_user_model.objects.create_user(name, is_staff=operator)
        keys.create(account, name=name, by=principals.of_user(user))
    keys.create(account, name="by hand", by=principals.of_command("createapikey"))
    listed = {key["name"]: key["created_by"] for key in api.get("/keys").json()["results"]}
    assert listed == {
        "ci": made["created_by"],
        "ada": {"kind": "user", "key_id": None, "name": "ada"},
        "olga": {"kind": "user", "key_id": None, "name": None},  # an account does not learn who its operators are
        "by hand": None,
        "tests": None,
    }


def test_the_list_of_keys_costs_the_same_however_many_there_are(api, api_key):
    def ask():
        with CaptureQueriesContext(connection) as asked:
            api.get("/keys")
        return len(asked)

    keys.create_below(api_key, name="one")
    ask()  # the key's last use is written
    few = ask()
    for number in range(10):
        keys.create_below(api_key, name=f"{number}")
    assert ask() == few


def test_revoking_a_key_says_how_many_descendants_are_left(api, account):
    (first, _), (second, _), (third, _) = descend(account)
    answer = api.delete(f"/keys/{first.pk}")
    assert (answer.status_code, answer.json()) == (200, {"revoked": 1, "descendants_left": 2})
    assert valid(account) == ["tests", "1", "2"]
    answer = api.delete(f"/keys/{first.pk}")  # again: nothing is revoked, and it still says so
    assert answer.json() == {"revoked": 0, "descendants_left": 2}
    assert api.delete(f"/keys/{third.pk}").status_code == 204
    assert api.delete(f"/keys/{second.pk}").status_code == 204
    assert api.delete(f"/keys/{first.pk}").status_code == 204


def test_a_key_is_revoked_with_its_descendants(api, account):
    (first, secret), (second, _), (_, last_secret) = descend(account)
    keys.create_below(first, name="sibling")
    keys.revoke(second)  # what it made is reached all the same
    bystander, _ = keys.create(account, name="bystander")
    answer = api.delete(f"/keys/{first.pk}?descendants=true")
    assert (answer.status_code, answer.json()) == (200, {"revoked": 3, "descendants_left": 0})
    assert valid(account) == ["tests", "bystander"]
    for gone in (secret, last_secret):
        problem(Api(gone).get("/budget"), 401, "UNAUTHORIZED")
    assert api.delete(f"/keys/{first.pk}?descendants=true").json() == {"revoked": 0, "descendants_left": 0}
    assert api.delete(f"/keys/{bystander.pk}?descendants=false").status_code == 204


@pytest.mark.parametrize(
    "query", ["descendants=yes", "descendants=", "descendant=true", "descendants=true&descendants=true", "x=1"]
)
def test_a_query_that_means_nothing_revokes_nothing(api, account, query):
    (first, _), *_ = descend(account)
    problem(api.delete(f"/keys/{first.pk}?{query}"), 422, "VALIDATION_ERROR")
    assert valid(account) == ["tests", "0", "1", "2"]


def test_a_maker_that_was_revoked_meanwhile_makes_no_key(account):
    maker, _ = keys.create(account, name="maker", scopes=["keys"])
    keys.revoke(maker)  # after it was authenticated
    with pytest.raises(Unauthorized, match="revoked"):
        keys.create_below(maker, name="x")
    ApiKey.objects.filter(pk=maker.pk).update(revoked_at=None, expires_at=timezone.now())
    with pytest.raises(Unauthorized, match="expired"):
        keys.create_below(maker, name="x")
    assert account.api_keys.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_being_made_does_not_escape_the_revocation_of_its_maker(account):
    (first, _), (second, _) = descend(account, depth=2)
    making, asking, done = threading.Event(), threading.Event(), threading.Event()

    def in_thread(work):
        def inside():
            try:
                work()
            finally:
                connections.close_all()

        thread = threading.Thread(target=inside)
        thread.start()
        return thread

    def make():
        with transaction.atomic():
            keys.create_below(second, name="late")
            making.set()
            done.wait(20)

    def revoke():
        def noting(execute, *given):
            asking.set()
            return execute(*given)

        with connection.execute_wrapper(noting):
            keys.revoke_with_descendants([first])

    def somebody_waits_for_a_row():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.fetchone()

    maker = in_thread(make)
    assert making.wait(20)
    revoker = in_thread(revoke)
    assert asking.wait(20)  # on SQLite for the whole database
    if connection.vendor == "postgresql":
        until(lambda: somebody_waits_for_a_row() or not revoker.is_alive())
    done.set()
    for thread in (maker, revoker):
        thread.join(30)
    assert ApiKey.objects.filter(name="late").exists()
    assert valid(account) == []
