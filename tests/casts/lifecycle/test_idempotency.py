"""One cast per Idempotency-Key, however often the request is repeated (design: idempotency)."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import budget, keys
from accounts.models import Account, LedgerEntry
from casts.lifecycle import accepting, ending, idempotency
from casts.models import Cast, IdempotencyRecord
from tests.casts.client import Api, problem
from tests.casts.conftest import claim, everything, nothing_left, step

ASKED = {"spell_key": "greet", "input": {"name": "Ada"}, "metadata": {"order": "17", "by": "me"}}


@pytest.fixture(autouse=True)
def a_spell(spell):
    return spell


@pytest.fixture
def other_account(db):
    return Account.objects.create(name="Assassins' Guild", monthly_cap_cents=10_000)


def cast(api, body=ASKED, key="k-1", path="/cast", **headers):
    return api.post(path, body, Idempotency_Key=key, **headers)


def is_replay(answer, first):
    assert answer.status_code == first.status_code
    assert answer.json() == first.json()
    assert answer["Location"] == first["Location"]
    return answer.headers.get("Idempotent-Replayed") == "true"


def end(cast_id, status="failed", charge=False):
    ending.end(claim(Cast.objects.get(pk=cast_id)), status, reason="test", message="Ended.", charge=charge)


# --- repeats -----------------------------------------------------------------------------------------------------


def test_the_first_request_casts_and_its_repeats_are_told_the_same(api):
    first = cast(api)
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (201, False)
    with nothing_left():
        assert is_replay(cast(api), first)
        assert is_replay(cast(api), first)
    assert (Cast.objects.count(), LedgerEntry.objects.count(), IdempotencyRecord.objects.count()) == (1, 1, 1)


def test_a_replay_is_the_first_answer_also_when_the_cast_has_gone_on(api, runtime):
    first = cast(api)
    step(Cast.objects.get())
    assert is_replay(cast(api), first)
    end(first.json()["cast_id"])
    assert is_replay(cast(api), first)
    assert runtime.count("start") == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"metadata": {"by": "me", "order": "17"}, "input": {"name": "Ada"}, "spell_key": "greet"}',
        '{"spell_key":"greet","input":{"name":"\\u0041da"},"metadata":{"order":"17","by":"me"}}',
        '\n{ "spell_key" : "greet", "input" : { "name" : "Ada" }, "metadata":{"by":"me","order":"17"} }\n',
    ],
)
def test_the_order_of_names_the_spacing_and_the_escapes_make_no_other_request(api, text):
    first = cast(api)
    assert is_replay(cast(api, text), first)


@pytest.mark.parametrize(
    "other",
    [
        ASKED | {"input": {"name": "Grace"}},
        ASKED | {"input": {}},
        ASKED | {"ttl_seconds": 60},
        ASKED | {"metadata": {"order": "18", "by": "me"}},
        ASKED | {"spell_key": "none"},
        {"nonsense": True},
    ],
)
def test_another_request_with_the_key_is_refused_whatever_it_asks(api, other):
    first = cast(api)
    with nothing_left():
        assert "new key" in problem(cast(api, other), 422, "IDEMPOTENCY_KEY_REUSED")["detail"]
    assert is_replay(cast(api), first)


def test_both_paths_for_casting_are_one_route(api):
    first = cast(api)
    assert is_replay(cast(api, path="/casts"), first)


def test_another_key_is_another_cast_and_case_counts(api):
    made = {cast(api, key=key).json()["cast_id"] for key in ("k-1", "K-1", "k-2", "k-1 "[:-1] + "!")}
    assert len(made) == 4


def test_without_a_key_every_request_casts(api):
    assert api.post("/cast", ASKED).json()["cast_id"] != api.post("/cast", ASKED).json()["cast_id"]
    assert not IdempotencyRecord.objects.exists()


def test_accounts_have_their_keys_to_themselves_and_api_keys_share_their_accounts(api, account, other_account):
    first = cast(api)
    stranger = cast(Api(keys.create(other_account, name="theirs")[1]))
    assert stranger.status_code == 201
    assert stranger.json()["cast_id"] != first.json()["cast_id"]
    assert "Idempotent-Replayed" not in stranger.headers
    assert is_replay(cast(Api(keys.create(account, name="second")[1])), first)


def test_a_replay_survives_a_spell_that_has_changed_since_or_left(api, a_spell):
    first = cast(api)
    a_spell.input_schema = {"type": "object", "required": ["wand"]}
    a_spell.price_cents = 10**6
    a_spell.save()
    assert is_replay(cast(api), first)
    a_spell.active = False
    a_spell.save()
    assert is_replay(cast(api), first)
    problem(cast(api, key="k-2"), 404, "SPELL_NOT_FOUND")


def test_a_replay_survives_a_budget_that_is_used_up(api, account):
    first = cast(api)
    budget.set_cap(account, cap_cents=0)
    assert is_replay(cast(api), first)
    problem(cast(api, key="k-2"), 402, "BUDGET_CAP_EXCEEDED")


def test_a_repeat_that_would_wait_is_marked_too_and_shows_the_end(api):
    first = cast(api)
    end(first.json()["cast_id"])
    again = cast(api, Prefer="wait=1")
    assert (again.status_code, again["Idempotent-Replayed"], again["Location"]) == (201, "true", first["Location"])
    assert (again["Preference-Applied"], again.json()["final"]) == ("wait=1", True)


# --- keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["x", "a" * 255, "!~", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a,b;c=d"])
def test_any_visible_ascii_is_a_key(api, key):
    first = cast(api, key=key)
    assert first.status_code == 201
    assert is_replay(cast(api, key=key), first)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "a" * 256, "schlüssel", "\x7f"])
def test_what_is_no_key_is_a_400(api, key):
    with nothing_left():
        problem(cast(api, key=key), 400, "MALFORMED_REQUEST")


def test_an_account_may_require_a_key(api, account):
    account.require_idempotency_key = True
    account.save()
    with nothing_left():
        assert "Idempotency-Key" in problem(api.post("/cast", ASKED), 400, "MALFORMED_REQUEST")["detail"]
    first = cast(api)
    assert first.status_code == 201
    end(first.json()["cast_id"])
    problem(api.post(f"/casts/{first.json()['cast_id']}/retry"), 400, "MALFORMED_REQUEST")


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (ASKED | {"input": {"nome": "Ada"}}, 422, "VALIDATION_ERROR"),
        (ASKED | {"spell_key": "none"}, 404, "SPELL_NOT_FOUND"),
        (ASKED | {"spell_key": "dear"}, 402, "BUDGET_CAP_EXCEEDED"),
        ("{", 400, "MALFORMED_JSON"),
    ],
)
def test_a_refusal_is_not_kept_and_the_key_is_free_for_the_corrected_request(api, make_spell, body, status, code):
    make_spell("dear", price_cents=10**6)
    with nothing_left():
        problem(cast(api, body), status, code)
        problem(cast(api, body), status, code)
    assert not IdempotencyRecord.objects.exists()
    assert cast(api).status_code == 201


def test_a_breakdown_in_the_middle_leaves_nothing_and_the_key_works_at_once(api, monkeypatch, caplog):
    with monkeypatch.context() as broken, nothing_left():
        broken.setattr("casts.lifecycle.accepting.events.append_all", lambda *_, **__: 1 / 0)
        problem(cast(api), 500, "INTERNAL")
    assert not IdempotencyRecord.objects.exists()
    first = cast(api)
    assert (first.status_code, "Idempotent-Replayed" in first.headers) == (201, False)


def test_a_constraint_that_is_not_the_keys_is_a_bug_and_no_twin(api, monkeypatch, caplog):
    def broken(*_, **__):
        raise IntegrityError("of something else")

    with monkeypatch.context() as patched, nothing_left():
        patched.setattr(accepting, "accept", broken)
        problem(cast(api), 500, "INTERNAL")
    assert cast(api).status_code == 201


def test_the_database_takes_a_key_once(api, account):
    cast(api)
    record = IdempotencyRecord.objects.get()
    record.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        record.save(force_insert=True)


# --- seven days --------------------------------------------------------------------------------------------------


def test_a_key_is_known_for_seven_days_and_then_new(api, clock):
    first = cast(api)
    clock.forward(days=7, seconds=-1)
    assert is_replay(cast(api), first)
    clock.forward(seconds=1)
    second = cast(api, ASKED | {"input": {"name": "Grace"}})  # an old key says nothing about a new payload
    assert (second.status_code, "Idempotent-Replayed" in second.headers) == (201, False)
    assert is_replay(cast(api, ASKED | {"input": {"name": "Grace"}}), second)
    assert (Cast.objects.count(), IdempotencyRecord.objects.count()) == (2, 1)


def test_the_sweep_forgets_what_is_older_than_that_and_nothing_else(api, clock):
    cast(api)
    clock.forward(days=7)
    young = cast(api, key="k-2")
    assert idempotency.purge() == 1
    assert idempotency.purge() == 0
    assert is_replay(cast(api, key="k-2"), young)
    assert Cast.objects.count() == 2  # the casts stay
    assert "casts.lifecycle.idempotency.purge" in settings.PURGES


# --- the other route -----------------------------------------------------------------------------------------------


def test_a_retry_is_repeated_like_any_cast_and_each_cast_is_a_route_of_its_own(api):
    made = [cast(api, key=key).json()["cast_id"] for key in ("k-1", "k-2")]
    for one in made:
        end(one)
    first, other = (api.post(f"/casts/{one}/retry", Idempotency_Key="k-1") for one in made)
    assert first.status_code == other.status_code == 202
    assert first.json()["retry_of"] == made[0]
    assert other.json()["retry_of"] == made[1]
    with nothing_left():
        assert is_replay(api.post(f"/casts/{made[0]}/retry", Idempotency_Key="k-1"), first)
    assert Cast.objects.count() == 4


def test_a_retry_that_was_refused_may_be_repeated(api):
    made = cast(api).json()["cast_id"]
    problem(api.post(f"/casts/{made}/retry", Idempotency_Key="r"), 409, "CAST_NOT_FINAL")
    end(made)
    assert api.post(f"/casts/{made}/retry", Idempotency_Key="r").status_code == 202


# --- what it compares ------------------------------------------------------------------------------------------------


def test_fingerprints_are_of_the_meaning_and_not_of_the_text():
    same = idempotency.fingerprint({"a": [1, {"b": "ü", "c": None}], "d": True})
    assert same == idempotency.fingerprint(json.loads('{"d":true,"a":[1,{"c":null,"b":"\\u00fc"}]}'))
    others = ['{"a":[{"b":"ü","c":null},1],"d":true}', '{"a":["1",{"b":"ü","c":null}],"d":true}', "{}"]
    assert len({same, *(idempotency.fingerprint(json.loads(text)) for text in others)}) == 4


def test_nothing_of_the_request_but_its_fingerprint_is_kept(api):
    cast(api)
    record = IdempotencyRecord.objects.get()
    assert (record.route, record.key, len(record.fingerprint)) == ("cast", "k-1", 64)
    assert timezone.now() - record.created_at < dt.timedelta(minutes=1)
    assert everything()[0] == 1
