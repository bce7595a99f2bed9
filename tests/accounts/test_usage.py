"""What was spent: by day of acceptance, in UTC, and by spell."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.db import transaction

from accounts import budget, keys
from accounts.models import SCOPES, Account
from tests.casts.client import Api, problem


@pytest.fixture(autouse=True)
def today(clock):
    clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
    return clock


@pytest.fixture
def spend(account):
    """Cast on a day and end it: `captured` None takes all, 0 nothing; "open" leaves it open."""

    def one(day, cents, captured=None, *, spell="greet", who=account, hour=12):
        at = dt.datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")
        with transaction.atomic():
            held = budget.hold(who, cast_id=uuid.uuid4(), cents=cents, at=at, spell_key=spell)
            if captured != "open":
                budget.settle(held.cast_id, capture_cents=captured)

    return one


def usage(api, **query):
    asked = "&".join(f"{name.rstrip('_')}={value}" for name, value in query.items())
    answer = api.get(f"/usage?{asked}")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    return body, [(d["day"], d["spell_key"], d["casts"], d["captured_cents"]) for d in body["days"]]


def test_what_was_captured_is_added_up_by_day_and_spell(api, spend):
    spend("2026-11-18", 5), spend("2026-11-18", 5), spend("2026-11-18", 30, spell="dear")
    spend("2026-11-19", 5)
    body, days = usage(api)
    assert days == [("2026-11-18", "dear", 1, 30), ("2026-11-18", "greet", 2, 10), ("2026-11-19", "greet", 1, 5)]
    assert (body["from"], body["to"], body["total_cents"]) == ("2026-10-21", "2026-11-20", 45)


def test_what_is_held_or_was_given_back_is_no_usage_and_a_part_counts_as_the_part(api, spend):
    spend("2026-11-19", 5, "open"), spend("2026-11-19", 7, 0), spend("2026-11-19", 9, 4)
    assert usage(api)[1] == [("2026-11-19", "greet", 1, 4)]


def test_days_are_those_of_acceptance_in_utc_with_both_ends_included(api, spend):
    for day, hour in (("2026-11-01", 0), ("2026-11-01", 23), ("2026-11-02", 0), ("2026-10-31", 23)):
        spend(day, 1, hour=hour)
    assert usage(api, from_="2026-11-01", to="2026-11-01")[1] == [("2026-11-01", "greet", 2, 2)]
    assert usage(api, from_="2026-10-31", to="2026-11-02")[0]["total_cents"] == 4


def test_a_cast_that_ends_next_month_is_spent_on_the_day_it_was_accepted(api, account, today):
    today.now = dt.datetime(2026, 10, 31, 23, 59, tzinfo=dt.UTC)
    with transaction.atomic():
        held = budget.hold(account, cast_id=uuid.uuid4(), cents=5, spell_key="greet")
    today.forward(hours=1)
    with transaction.atomic():
        budget.settle(held.cast_id, capture_cents=None)
    assert usage(api)[1] == [("2026-10-31", "greet", 1, 5)]


def test_another_accounts_spending_is_not_seen(api, spend):
    other = Account.objects.create(name="Assassins' Guild")
    spend("2026-11-19", 500, who=other)
    assert usage(api)[0]["total_cents"] == 0
    assert usage(Api(keys.create(other, name="theirs")[1]))[0]["total_cents"] == 500


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "to=2026-13-01",
        "from=2026-11-20T00:00:00",
        "from=2026-11-19&to=2026-11-18",
        "from=2025-11-18&to=2026-11-20",
        "from=%00",
        "from=2026-11-18&from=2026-11-19",
    ],
)
def test_days_that_are_none_are_refused(api, query):
    problem(api.get(f"/usage?{query}"), 422, "VALIDATION_ERROR")


def test_a_year_at_once_is_fine_and_so_is_a_single_day(api):
    assert usage(api, from_="2025-11-19", to="2026-11-20")[1] == []
    assert usage(api, from_="2026-11-20", to="2026-11-20")[1] == []


def test_the_first_day_of_the_calendar_has_none_before_it(api):
    assert usage(api, to="0001-01-01")[0]["from"] == "0001-01-01"


def test_a_key_with_certain_spells_sees_what_these_cost_and_changes_their_caps_alone(account, make_spell, spend):
    for name in ("greet", "dear"):
        make_spell(name)
        spend("2026-11-18", 30, spell=name)
    other, _ = keys.create(account, name="other")
    limited, secret = keys.create(account, name="limited", scopes=list(SCOPES), spell_keys=["greet"])
    for scope, ref in (("spell", "greet"), ("spell", "dear"), ("key", str(other.pk)), ("key", str(limited.pk))):
        budget.set_cap(account, cap_cents=500, scope=scope, ref=ref)
    reader = Api(secret)
    body, days = usage(reader)
    assert days == [("2026-11-18", "greet", 1, 30)]
    assert body["total_cents"] == 30
    shown = reader.get("/budget").json()
    assert shown["captured_cents"] == 60  # the account's: it decides whether this key may cast
    assert [(cap["scope"], cap["ref"]) for cap in shown["caps"]] == [("key", str(limited.pk)), ("spell", "greet")]
    assert reader.call("PATCH", "/budget", {"scope": "spell", "spell_key": "greet", "cap_cents": 7}).status_code == 200
    for wanted in ({}, {"scope": "spell", "spell_key": "dear"}, {"scope": "key", "key_id": limited.pk}):
        problem(reader.call("PATCH", "/budget", {"cap_cents": None, **wanted}), 403, "FORBIDDEN")
    assert account.caps.filter(cap_cents=500).count() == 3
