"""Casting the same again: a new cast with its own price, its own limits, and the old one's input."""

from __future__ import annotations

import pytest

from accounts import budget, keys
from accounts.models import LedgerEntry
from casts.lifecycle import ending
from casts.models import FINAL, Cast, CastStatus
from tests.casts.client import Api, problem
from tests.casts.conftest import claim, history, ledger, nothing_left


@pytest.fixture
def ended(make_cast):
    """Make a cast and end it."""

    def make(status="failed", *, charge=False, **given):
        cast = make_cast(**given)
        ending.end(claim(cast), status, reason="test", message="Ended.", charge=charge)
        return cast

    return make


def retry(api, cast):
    answer = api.post(f"/casts/{cast.pk}/retry")
    assert answer.status_code == 202, answer.content
    assert answer["Location"].endswith(answer.json()["cast_id"])
    return answer.json(), Cast.objects.get(pk=answer.json()["cast_id"])


@pytest.mark.parametrize("status", FINAL)
def test_a_retry_is_a_new_cast_of_the_same(api, ended, status):
    old = ended(
        status, charge=True, input={"name": "Grace"}, metadata={"order": "17"}, callback_url="https://example.com/a"
    )
    before = Cast.objects.filter(pk=old.pk).values().get()
    shown, new = retry(api, old)
    assert (shown["retry_of"], shown["status"], shown["final"]) == (str(old.pk), "queued", False)
    assert (shown["input"], shown["metadata"]) == ({"name": "Grace"}, {"order": "17"})
    assert shown["callback_url"] == "https://example.com/a"
    assert new.pk > old.pk
    assert new.due_at is not None
    assert history(new) == ["accepted"]
    assert ledger(new) == [("hold", 5)]
    assert ledger(old) == [("hold", 5), ("capture", 5)]
    assert Cast.objects.filter(pk=old.pk).values().get() == before


def test_a_first_cast_is_a_retry_of_nothing(api, cast):
    assert api.get(f"/casts/{cast.pk}").json()["retry_of"] is None


def test_a_retry_costs_what_the_spell_costs_now(api, ended, spell):
    old = ended()
    spell.price_cents = 9
    spell.save()
    shown, new = retry(api, old)
    assert (shown["cost_cents"], ledger(new)) == (9, [("hold", 9)])


def test_a_retry_is_booked_on_the_key_that_asks_for_it(api, account, ended):
    key, secret = keys.create(account, name="second")
    _, new = retry(Api(secret), ended())
    assert new.api_key_id == key.pk
    assert LedgerEntry.objects.get(cast_id=new.pk).api_key_id == str(key.pk)


def test_a_retry_can_be_retried_and_each_names_the_one_before(api, ended):
    old = ended()
    _, second = retry(api, old)
    ending.end(claim(second), CastStatus.FAILED, reason="test", message="Ended.", charge=False)
    _, third = retry(api, second)
    assert (second.retry_of_id, third.retry_of_id) == (old.pk, second.pk)


def test_two_retries_of_one_cast_are_two_casts_unless_a_key_says_they_are_one(api, ended):
    old = ended()
    assert retry(api, old)[1].pk != retry(api, old)[1].pk


def test_an_open_cast_is_not_retried(api, cast):
    with nothing_left():
        assert "Cancel it first" in problem(api.post(f"/casts/{cast.pk}/retry"), 409, "CAST_NOT_FINAL")["detail"]


def test_a_retry_that_can_not_be_paid_leaves_nothing(api, account, ended):
    old = ended()
    budget.set_cap(account, cap_cents=4)
    with nothing_left():
        problem(api.post(f"/casts/{old.pk}/retry"), 402, "BUDGET_CAP_EXCEEDED")


def test_a_spell_that_is_gone_or_not_for_this_key_is_not_cast_again(api, account, ended, spell):
    old = ended()
    limited = Api(keys.create(account, name="limited", spell_keys=["other"])[1])
    problem(limited.post(f"/casts/{old.pk}/retry"), 404, "CAST_NOT_FOUND")
    spell.active = False
    spell.save()
    with nothing_left():
        problem(api.post(f"/casts/{old.pk}/retry"), 404, "SPELL_NOT_FOUND")


def test_an_input_that_no_longer_fits_is_refused_and_a_default_is_filled_in(api, ended, spell):
    old = ended(input={"name": "Ada"})
    spell.input_schema = {"type": "object", "properties": {"name": {"type": "integer"}}}
    spell.save()
    with nothing_left():
        refused = problem(api.post(f"/casts/{old.pk}/retry"), 422, "VALIDATION_ERROR")
    assert refused["errors"][0]["pointer"] == "/input/name"
    spell.input_schema = {"type": "object", "properties": {"loud": {"type": "boolean", "default": True}}}
    spell.save()
    assert retry(api, old)[0]["input"] == {"name": "Ada", "loud": True}


def test_a_retry_can_be_waited_for(api, ended):
    answer = api.post(f"/casts/{ended().pk}/retry", Prefer="wait=61")
    problem(answer, 400, "MALFORMED_REQUEST")
