"""Caps within an account: for one API key, for one spell; and the words about how much of them is used."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.core.management import call_command
from django.db import transaction

from accounts import budget, keys
from accounts.errors import BudgetExceeded
from accounts.models import SCOPES, Account, AccountEvent, BudgetCap, BudgetPeriod, LedgerEntry
from tests.casts.client import Api, problem
from tests.casts.conftest import nothing_left

NOVEMBER = dt.datetime(2026, 11, 10, 12, tzinfo=dt.UTC)


def hold(account, cents, *, key="1", spell="greet", at=None):
    with transaction.atomic():
        return budget.hold(account, cast_id=uuid.uuid4(), cents=cents, at=at, api_key_id=key, spell_key=spell).cast_id


def settle(cast_id, capture_cents=None):
    with transaction.atomic():
        budget.settle(cast_id, capture_cents=capture_cents)


def counters(account, month=None):
    """Return {(scope, ref): (cap, held, captured)} of this month."""
    periods = BudgetPeriod.objects.filter(account=account, month=month or budget.current(account).month)
    return {(p.scope, p.ref): (p.cap_cents, p.held_cents, p.captured_cents) for p in periods}


def told(account):
    return [(e.data["scope"], e.data["percent"]) for e in AccountEvent.objects.filter(account=account).order_by("id")]


def patched(api, status=200, **body):
    answer = api.call("PATCH", "/budget", body)
    assert answer.status_code == status, answer.content
    return answer.json()


# --- what a cap within does --------------------------------------------------------------------------------------


def test_a_keys_cap_stops_that_key_and_no_other(account):
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    hold(account, 10, key="1")
    with nothing_left(), pytest.raises(BudgetExceeded) as refused:
        hold(account, 1, key="1")
    assert refused.value.extra["scope"] == "key"
    assert "this API key" in str(refused.value)
    hold(account, 100, key="2")
    hold(account, 100, key="11")
    assert counters(account) == {("account", ""): (10_000, 210, 0), ("key", "1"): (10, 10, 0)}


def test_a_spells_cap_stops_that_spell_with_every_key(account):
    budget.set_cap(account, cap_cents=10, scope="spell", ref="greet")
    hold(account, 6, key="1")
    with pytest.raises(BudgetExceeded) as refused:
        hold(account, 5, key="2")
    assert refused.value.extra.items() >= {"scope": "spell", "cap_cents": 10, "held_cents": 6}.items()
    hold(account, 5, spell="dear")
    assert counters(account)["spell", "greet"] == (10, 6, 0)


@pytest.mark.parametrize("narrow", ["account", "key", "spell"])
def test_the_narrowest_cap_decides_and_a_refusal_moves_no_counter(account, narrow):
    for scope, ref in (("account", ""), ("key", "1"), ("spell", "greet")):
        budget.set_cap(account, cap_cents=9 if scope == narrow else 50, scope=scope, ref=ref)
    hold(account, 5)
    before = counters(account)
    with nothing_left(), pytest.raises(BudgetExceeded) as refused:
        hold(account, 5)
    assert refused.value.extra["scope"] == narrow
    assert counters(account) == before
    hold(account, 4)


def test_an_end_moves_every_counter_that_the_hold_moved(account):
    for scope, ref in (("key", "1"), ("spell", "greet")):
        budget.set_cap(account, cap_cents=50, scope=scope, ref=ref)
    taken, given_back, in_part = hold(account, 5), hold(account, 7), hold(account, 9)
    settle(taken), settle(given_back, 0), settle(in_part, 4)
    assert {(held, captured) for _, held, captured in counters(account).values()} == {(0, 9)}
    call_command("verifyledger", verbosity=0)


@pytest.mark.parametrize("scope", ["key", "spell"])
def test_a_cap_of_zero_within_stops_also_what_is_free(account, scope):
    budget.set_cap(account, cap_cents=0, scope=scope, ref={"key": "1", "spell": "greet"}[scope])
    with pytest.raises(BudgetExceeded):
        hold(account, 0)
    hold(account, 0, key="2", spell="other")


# --- when it is set, lowered and lifted --------------------------------------------------------------------------


def test_a_cap_that_comes_later_counts_what_was_spent_before_it(account):
    settle(hold(account, 30))
    hold(account, 12)
    settle(hold(account, 8, key="2"), 3)
    budget.set_cap(account, cap_cents=45, scope="key", ref="1")
    budget.set_cap(account, cap_cents=100, scope="spell", ref="greet")
    assert counters(account)["key", "1"] == (45, 12, 30)
    assert counters(account)["spell", "greet"] == (100, 12, 33)
    with pytest.raises(BudgetExceeded):
        hold(account, 4)
    hold(account, 3)
    call_command("verifyledger", verbosity=0)


@pytest.mark.parametrize(("scope", "ref"), [("account", ""), ("key", "1"), ("spell", "greet")])
def test_a_cap_lowered_below_what_is_held_kills_nothing_and_refuses_what_comes(account, scope, ref):
    budget.set_cap(account, cap_cents=50, scope=scope, ref=ref)
    open_one = hold(account, 40)
    budget.set_cap(account, cap_cents=10, scope=scope, ref=ref)
    assert counters(account)[scope, ref] == (10, 40, 0)
    for cents in (0, 1):
        with pytest.raises(BudgetExceeded) as refused:
            hold(account, cents)
    assert "0 are left" in str(refused.value)
    settle(open_one)
    assert counters(account)[scope, ref] == (10, 0, 40)


def test_a_cap_that_is_lifted_and_set_again_counts_what_went_by_meanwhile(account):
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    before = hold(account, 10)
    budget.set_cap(account, cap_cents=None, scope="key", ref="1")
    assert counters(account) == {("account", ""): (10_000, 10, 0)}
    assert not BudgetCap.objects.exists()
    hold(account, 200)
    settle(before)
    budget.set_cap(account, cap_cents=300, scope="key", ref="1")
    assert counters(account)["key", "1"] == (300, 200, 10)


def test_each_month_begins_with_the_caps_that_are_set_and_ends_its_own_holds(account, clock):
    clock.now = NOVEMBER
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    old = hold(account, 10)
    clock.forward(days=30)
    new = hold(account, 9)
    november, december = NOVEMBER.date().replace(day=1), dt.date(2026, 12, 1)
    assert counters(account, november)["key", "1"] == (10, 10, 0)
    assert counters(account, december) == {("account", ""): (10_000, 9, 0), ("key", "1"): (10, 9, 0)}
    settle(old), settle(new, 0)
    assert counters(account, november)["key", "1"] == (10, 0, 10)
    assert counters(account, december)["key", "1"] == (10, 0, 0)
    call_command("verifyledger", verbosity=0)


def test_a_cap_set_in_december_leaves_november_as_it_was(account, clock):
    clock.now = NOVEMBER
    old = hold(account, 40)
    clock.forward(days=30)
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    hold(account, 10)
    settle(old)
    assert counters(account, dt.date(2026, 11, 1)) == {("account", ""): (10_000, 0, 40)}
    assert counters(account)["key", "1"] == (10, 10, 0)


def test_a_months_counters_are_made_together_or_not_at_all(account, clock, monkeypatch):
    clock.now = NOVEMBER
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    clock.forward(days=30)
    with monkeypatch.context() as broken:
        broken.setattr(BudgetPeriod.objects, "create", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            budget.current(account)
    with pytest.raises(BudgetExceeded):
        hold(account, 11)


def test_two_accounts_caps_are_strangers(account):
    other = Account.objects.create(name="Assassins' Guild", monthly_cap_cents=100)
    budget.set_cap(account, cap_cents=0, scope="spell", ref="greet")
    hold(other, 100)
    with pytest.raises(BudgetExceeded):
        hold(account, 1)


# --- over HTTP ---------------------------------------------------------------------------------------------------


def test_caps_are_set_and_read_over_http(api, api_key, spell):
    assert patched(api, cap_cents=500)["cap_cents"] == 500
    patched(api, cap_cents=100, scope="key", key_id=api_key.pk)
    shown = patched(api, cap_cents=50, scope="spell", spell_key="greet")
    assert shown == api.get("/budget").json()
    assert (shown["cap_cents"], shown["remaining_cents"]) == (500, 500)
    assert [(cap["scope"], cap["ref"], cap["cap_cents"]) for cap in shown["caps"]] == [
        ("key", str(api_key.pk), 100),
        ("spell", "greet", 50),
    ]
    api_key.account.refresh_from_db()
    assert api_key.account.monthly_cap_cents == 500
    patched(api, cap_cents=None, scope="key", key_id=api_key.pk)
    shown = patched(api, cap_cents=None)
    assert (shown["cap_cents"], shown["remaining_cents"], len(shown["caps"])) == (None, None, 1)


@pytest.mark.parametrize("scope", ["account", "key", "spell"])
def test_a_cast_over_a_cap_is_a_402_that_names_the_scope(api, api_key, spell, scope):
    which = {"account": {}, "key": {"key_id": api_key.pk}, "spell": {"spell_key": "greet"}}[scope]
    patched(api, cap_cents=9, scope=scope, **which)
    assert api.post("/cast", {"spell_key": "greet"}).status_code == 201
    with nothing_left():
        refused = problem(api.post("/cast", {"spell_key": "greet"}), 402, "BUDGET_CAP_EXCEEDED")
    numbers = {"scope": scope, "cap_cents": 9, "held_cents": 5, "captured_cents": 0, "required_cents": 5}
    assert refused.items() >= numbers.items()


def test_a_caps_owner_must_be_there_and_in_this_account(api):
    stranger, _ = keys.create(Account.objects.create(name="Fools' Guild"), name="theirs")
    for key_id in (stranger.pk, 2**40):
        problem(api.call("PATCH", "/budget", {"cap_cents": 1, "scope": "key", "key_id": key_id}), 404, "KEY_NOT_FOUND")
    body = {"cap_cents": 1, "scope": "spell", "spell_key": "none"}
    problem(api.call("PATCH", "/budget", body), 404, "SPELL_NOT_FOUND")
    assert not BudgetCap.objects.exists()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/cap_cents"),
        ({"cap_cents": -1}, "/cap_cents"),
        ({"cap_cents": "5"}, "/cap_cents"),
        ({"cap_cents": 1.5}, "/cap_cents"),
        ({"cap_cents": True}, "/cap_cents"),
        ({"cap_cents": 2**63}, "/cap_cents"),
        ({"cap_cents": 5, "scope": "month"}, "/scope"),
        ({"cap_cents": 5, "scope": "key"}, "/key_id"),
        ({"cap_cents": 5, "scope": "spell"}, "/spell_key"),
        ({"cap_cents": 5, "key_id": 1}, "/key_id"),
        ({"cap_cents": 5, "scope": "key", "key_id": 1, "spell_key": "greet"}, "/spell_key"),
        ({"cap_cents": 5, "cap": 5}, "/cap"),
    ],
)
def test_a_cap_that_is_not_understood_is_a_422_that_points_at_it(api, body, pointer):
    refused = problem(api.call("PATCH", "/budget", body), 422, "VALIDATION_ERROR")
    assert [error["pointer"] for error in refused["errors"]] == [pointer]


def test_a_key_that_says_nothing_of_scopes_may_use_spells_and_neither_raise_caps_nor_make_keys(account):
    key, secret = keys.create(account, name="plain")
    assert set(SCOPES) - set(key.scopes) == {"audit", "billing", "budget:write", "callbacks", "keys"}
    plain = Api(secret)
    assert plain.get("/budget").status_code == plain.get("/usage").status_code == 200
    assert problem(plain.call("PATCH", "/budget", {"cap_cents": 1}), 403, "FORBIDDEN")["required_scope"]
    assert problem(plain.get("/keys"), 403, "FORBIDDEN")["required_scope"] == "keys"


# --- thresholds ----------------------------------------------------------------------------------------------------


def test_half_four_fifths_and_all_of_a_cap_are_told_once_each(account):
    budget.set_cap(account, cap_cents=100)
    for cents, so_far in ((49, []), (1, [50]), (29, [50]), (1, [50, 80]), (19, [50, 80]), (1, [50, 80, 100])):
        last = hold(account, cents)
        assert [percent for _, percent in told(account)] == so_far
    settle(last, 0)
    hold(account, 1)
    assert len(told(account)) == 3
    event = AccountEvent.objects.order_by("id")[0]
    assert event.kind == "budget_threshold"
    month = budget.current(account).month
    wanted = {"percent": 50, "scope": "account", "ref": "", "cap_cents": 100, "held_cents": 50, "captured_cents": 0}
    assert event.data == wanted | {"month": f"{month:%Y-%m}"}


def test_one_dear_cast_may_pass_all_three(account):
    hold(account, 10_000)
    assert told(account) == [("account", 50), ("account", 80), ("account", 100)]


def test_each_scope_is_told_of_by_itself(account):
    budget.set_cap(account, cap_cents=10, scope="key", ref="1")
    budget.set_cap(account, cap_cents=20, scope="spell", ref="greet")
    hold(account, 10)
    assert told(account) == [("key", 50), ("key", 80), ("key", 100), ("spell", 50)]
    assert AccountEvent.objects.filter(data__ref="greet").count() == 1


def test_a_new_month_tells_anew(account, clock):
    clock.now = NOVEMBER
    hold(account, 5_000)
    clock.forward(days=30)
    hold(account, 5_000)
    assert [e.data["month"] for e in AccountEvent.objects.order_by("id")] == ["2026-11", "2026-12"]


def test_what_was_refused_is_not_told(account):
    budget.set_cap(account, cap_cents=3, scope="spell", ref="greet")
    with pytest.raises(BudgetExceeded):
        hold(account, 9_000)
    assert not AccountEvent.objects.exists()
    assert not LedgerEntry.objects.exists()


def test_no_cap_has_no_threshold(db):
    hold(Account.objects.create(name="Patrician"), 10**9)
    assert not AccountEvent.objects.exists()
