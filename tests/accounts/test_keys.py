"""API keys: their form, what is stored, and what each one opens."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import zlib

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, ApiKey
from core.errors import Unauthorized
from tests.casts.client import Api, problem

FORM = re.compile(r"sk_live_spl_[0-9A-Za-z]{36}")


def test_a_key_is_a_mark_and_thirty_six_letters_and_digits(secret):
    assert FORM.fullmatch(secret)


def test_the_last_six_are_the_crc32_of_the_rest_in_base62(secret):
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for letter in secret[-6:]:
        number = number * 62 + digits.index(letter)
    assert number == zlib.crc32(secret[:-6].encode())


def test_two_keys_are_never_alike(account):
    made = [keys.create(account, name=str(i))[1] for i in range(50)]
    assert len({secret[:30] for secret in made}) == 50


@pytest.mark.parametrize("place", range(12, 48))
def test_one_mistyped_letter_is_told_without_asking_the_database(place, django_assert_num_queries):
    body = keys.KEY_MARK + "a" * 30
    good = body + keys.tail(body)
    assert keys.well_formed(good)
    typo = good[:place] + ("b" if good[place] != "b" else "c") + good[place + 1 :]
    assert not keys.well_formed(typo)


@pytest.mark.parametrize("wrong", ["", "sk_live_spl_", "sk_test_spl_" + "a" * 36, "a" * 48, "sk_live_spl_" + "é" * 36])
def test_what_is_no_key_is_refused_with_no_query(wrong, db, django_assert_num_queries):
    with django_assert_num_queries(0), pytest.raises(Unauthorized, match="not a whole API key"):
        keys.authenticate(wrong)


def test_a_cut_key_is_told_from_an_unknown_one(account, secret):
    with pytest.raises(Unauthorized, match="Was it cut when copied"):
        keys.authenticate(secret[:-1])
    stranger = keys.KEY_MARK + "z" * 30
    with pytest.raises(Unauthorized, match="not known here"):
        keys.authenticate(stranger + keys.tail(stranger))


def test_only_the_sha256_of_a_key_is_stored(api_key, secret):
    assert api_key.digest == hashlib.sha256(secret.encode()).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_apikey")
        stored = json.dumps(cursor.fetchall(), default=str)
    assert secret not in stored
    assert secret[20:] not in stored


def test_a_key_is_found_by_its_prefix_in_one_query(api_key, secret):
    keys.authenticate(secret)
    with CaptureQueriesContext(connection) as queries:
        assert keys.authenticate(secret) == api_key
    assert len(queries) == 1
    assert 'WHERE "accounts_apikey"."prefix" = ' in queries[0]["sql"]
    assert secret not in queries[0]["sql"]


def test_the_right_prefix_with_another_rest_opens_nothing(api_key, secret):
    body = secret[:20] + "0" * 22
    with pytest.raises(Unauthorized, match="not known here"):
        keys.authenticate(body + keys.tail(body))


def test_a_revoked_key_opens_nothing_and_says_why(api_key, secret):
    assert keys.revoke(api_key)
    assert not keys.revoke(api_key)  # somebody had already done it
    assert "revoked" in problem(Api(secret).get("/budget"), 401, "UNAUTHORIZED")["detail"]


def test_a_key_opens_until_it_expires(api_key, secret):
    ApiKey.objects.update(expires_at=timezone.now() + dt.timedelta(seconds=30))
    assert Api(secret).get("/budget").status_code == 200
    ApiKey.objects.update(expires_at=timezone.now())
    assert "expired" in problem(Api(secret).get("/budget"), 401, "UNAUTHORIZED")["detail"]


def test_last_use_is_written_once_a_minute_at_most(api_key, secret):
    def used(seconds_ago):
        before = timezone.now() - dt.timedelta(seconds=seconds_ago)
        ApiKey.objects.update(last_used_at=before)
        assert Api(secret).get("/budget").status_code == 200
        api_key.refresh_from_db()
        return api_key.last_used_at != before

    assert api_key.last_used_at is None
    assert Api(secret).get("/budget").status_code == 200
    last_used_at = ApiKey.objects.get(pk=api_key.pk).last_used_at
    assert last_used_at is not None
    assert timezone.now() - last_used_at < dt.timedelta(seconds=10)
    assert not used(50)
    assert used(61)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "Send an API key"),
        ("", "Send an API key"),
        ("Basic dXNlcjpwYXNz", "Send an API key"),
        ("Bearer", "Send an API key"),
        ("Bearer   ", "Send an API key"),
        ("Bearer sk_live_spl_short", "not a whole API key"),
        ("Bearer \u00e9\u00e8", "not a whole API key"),
        ("Token {secret}", "Send an API key"),
    ],
)
def test_without_a_usable_key_the_answer_is_401_and_what_to_send(header, says, db, secret):
    given = {} if header is None else {"Authorization": header.format(secret=secret)}
    answer = Api(None).get("/budget", **given)
    assert says in problem(answer, 401, "UNAUTHORIZED")["detail"]
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_the_word_bearer_may_be_written_in_any_case(db, secret):
    assert Api(None).get("/budget", Authorization=f"bEARER  {secret} ").status_code == 200


def test_a_key_in_the_address_opens_nothing(db, secret):
    problem(Api(None).get(f"/budget?token={secret}&api_key={secret}"), 401, "UNAUTHORIZED")


ROUTES = [
    ("casts:write", "POST", "/cast"),
    ("casts:write", "POST", "/casts"),
    ("casts:read", "GET", "/casts"),
    ("casts:read", "HEAD", "/casts"),
    ("casts:read", "GET", "/casts/00000000-0000-7000-8000-000000000000"),
    ("spells:read", "GET", "/spells"),
    ("spells:read", "GET", "/spells/greet"),
    ("budget:read", "GET", "/budget"),
    ("keys", "GET", "/keys"),
    ("keys", "POST", "/keys"),
    ("keys", "DELETE", "/keys/1"),
]


@pytest.mark.parametrize(("scope", "method", "path"), ROUTES)
def test_each_road_needs_its_scope_and_no_other(scope, method, path, account, spell):
    others = [s for s in SCOPES if s != scope]
    refused = Api(keys.create(account, name="all but one", scopes=others)[1]).call(method, path)
    if method == "HEAD":
        assert refused.status_code == 403
    else:
        assert problem(refused, 403, "FORBIDDEN")["required_scope"] == scope
    allowed = Api(keys.create(account, name="just one", scopes=[scope])[1]).call(method, path)
    assert allowed.status_code in (200, 204, 404, 422), allowed.content


def test_a_spell_off_the_keys_list_is_forbidden_and_an_unknown_one_not_found(account, make_spell):
    make_spell("greet"), make_spell("report"), make_spell("retired", active=False)
    _, secret = keys.create(account, name="greeter", spell_keys=["greet", "nowhere"])
    api = Api(secret)
    assert [s["spell_key"] for s in api.get("/spells").json()["results"]] == ["greet"]
    assert api.get("/spells/greet").status_code == 200
    for answer in (api.get("/spells/report"), api.post("/cast", {"spell_key": "report"})):
        assert "greet" in problem(answer, 403, "FORBIDDEN")["detail"]
    for key in ("nowhere", "elsewhere", "retired"):
        problem(api.get(f"/spells/{key}"), 404, "SPELL_NOT_FOUND")
        problem(api.post("/cast", {"spell_key": key}), 404, "SPELL_NOT_FOUND")
    assert api.post("/cast", {"spell_key": "greet"}).status_code == 201


def test_an_empty_spell_list_allows_no_spell(account, spell):
    _, secret = keys.create(account, name="none", spell_keys=[])
    problem(Api(secret).post("/cast", {"spell_key": "greet"}), 403, "FORBIDDEN")
    assert Api(secret).get("/spells").json() == {"results": []}


def test_a_key_without_any_scope_is_refused(account):
    with pytest.raises(ValidationError, match="blank"):
        keys.create(account, name="x", scopes=[])


@pytest.mark.parametrize("scopes", [["casts:read", "everything"], "casts:read", {"casts:read": 1}, [None], [["keys"]]])
def test_scopes_that_are_none_are_refused_by_name(account, scopes):
    with pytest.raises(ValidationError, match="casts:write"):
        keys.create(account, name="x", scopes=scopes)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("spell_keys", ["greet", [1], [""], {"greet": 1}])
def test_spell_lists_that_are_none_are_refused(account, spell_keys):
    with pytest.raises(ValidationError):
        keys.create(account, name="x", spell_keys=spell_keys)


def test_the_database_keeps_prefixes_and_memberships_single(api_key, account, django_user_model):
    twin = ApiKey(account=account, name="twin", prefix=api_key.prefix, digest="0" * 64)
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()
    user = django_user_model.objects.create(username="rincewind")
    account.members.add(user)
    account.members.add(user)
    assert list(user.accounts.all()) == [account]


def test_rows_name_themselves_for_operators(api_key, account):
    assert str(api_key) == f"tests ({api_key.prefix}…)"
    assert str(account) == "Unseen University"
    assert isinstance(account, Account)
