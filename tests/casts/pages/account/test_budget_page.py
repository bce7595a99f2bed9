"""The page on which members see what may be spent, and owners and admins say how much."""

from __future__ import annotations

import re
from typing import Any

from accounts import budget, keys
from accounts.audit.models import AuditEntry
from accounts.models import Account, BudgetScope, Role
from tests.accounts.people import PASSWORD
from tests.casts.client import Api, problem


def path(account: Account) -> str:
    return f"/account/{account.pk}/budget/"


def words(answer: Any) -> str:
    assert answer.status_code == 200
    text = re.sub(r"<(figure|style|title).*?</\1>", " ", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_the_figures_are_those_of_the_api(account, member, make_spell, api_key, api):
    make_spell("dear", price_cents=1250)
    budget.set_cap(account, cap_cents=5000)
    assert api.post("/cast", {"spell_key": "dear", "input": {"name": "Ada"}}).status_code == 201
    told = words(member(Role.MEMBER).get(path(account)))
    shown = api.get("/budget").json()
    assert (shown["cap_cents"], shown["held_cents"], shown["remaining_cents"]) == (5000, 1250, 3750)
    assert "Left 37.50 USD of 50.00 USD a month" in told
    assert "Held 12.50 USD 1 open cast " in told
    assert f"/home/?account={account.pk}&amp;status=open" in member(name="x").get(path(account)).text


def test_a_cap_is_set_changed_and_lifted_as_over_the_api(account, member, make_spell, api_key, api):
    make_spell("greet", price_cents=500)
    client = member(Role.ADMIN)
    # A key's cap is found by its number as it is written everywhere else.
    for of, amount in (("account", "12"), (f"key:00{api_key.pk}", "4,50"), ("spell:greet", "100")):
        assert client.post(path(account), {"of": of, "amount": amount}).status_code == 302
    shown = api.get("/budget").json()
    caps = {(cap["scope"], cap["ref"]): cap["cap_cents"] for cap in shown["caps"]}
    assert shown["cap_cents"] == 1200
    assert caps == {("key", str(api_key.pk)): 450, ("spell", "greet"): 10_000}
    problem(api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}), 402, "BUDGET_CAP_EXCEEDED")
    client.post(path(account), {"of": f"key:{api_key.pk}", "lift": "1"})
    assert api.post("/cast", {"spell_key": "greet", "input": {"name": "Ada"}}).status_code == 201
    entries = list(AuditEntry.objects.filter(action="budget.set_cap").order_by("pk").values_list("object_id", "after"))
    assert entries[-1] == (f"key:{api_key.pk}", {"cap_cents": None})
    assert len(entries) == 4


def test_what_is_no_cap_changes_nothing_and_says_why(account, member, spell):
    other, _ = keys.create(Account.objects.create(name="Another"), name="theirs")
    client = member()
    for sent, why in (
        ({"of": "account", "amount": "a lot"}, "Give an amount such as"),
        ({"of": "account", "amount": "-5"}, "Give an amount such as"),
        ({"of": "account"}, "Give an amount such as"),
        ({"of": "moon", "amount": "5"}, "Choose what the cap is for"),
        ({"of": "key:x", "amount": "5"}, "Choose what the cap is for"),
        ({"of": "key:\u0663", "amount": "5"}, "Choose what the cap is for"),
        ({"of": f"key:{other.pk}", "amount": "5"}, "There is no API key"),
        ({"of": f"key:{'9' * 30}", "amount": "5"}, "There is no API key"),
        ({"of": "spell:nowhere", "amount": "5"}, "There is no spell"),
        ({"of": "spell:a\0b", "amount": "5"}, "Choose what the cap is for"),
    ):
        assert why in words(client.post(path(account), sent)), sent
    assert budget.cap_of(account) == 10_000
    assert not account.caps.exists()
    assert not AuditEntry.objects.filter(action="budget.set_cap").exists()


def test_only_owners_and_admins_change_caps_and_only_after_a_password(account, member, settings):
    settings.REAUTHENTICATE_SECONDS = 0.0
    client = member()
    asked = client.post(path(account), {"of": "account", "amount": "7"})
    assert asked.headers["Location"].startswith("/account/confirm/")
    assert budget.cap_of(account) == 10_000
    settings.REAUTHENTICATE_SECONDS = 900.0
    client.post(asked.headers["Location"], {"password": PASSWORD})
    assert budget.cap_of(account) == 700
    low = member(Role.MEMBER)
    assert "<form" not in low.get(path(account)).text.partition("<main")[2]
    assert low.post(path(account), {"of": "account", "amount": "9"}).status_code == 403
    assert member(Role.VIEWER).get(path(account)).status_code == 403
    assert budget.cap_of(account) == 700


def test_a_cap_whose_key_is_gone_can_be_lifted(account, member):
    key, secret = keys.create(account, name="gone")
    budget.set_cap(account, cap_cents=5, scope=BudgetScope.KEY, ref=str(key.pk))
    key.delete()
    [cap] = account.caps.all()
    client = member()
    assert f'value="key:{cap.ref}"' in client.get(path(account)).text
    client.post(path(account), {"of": f"key:{cap.ref}", "lift": "1"})
    assert not account.caps.exists()
    assert Api(secret).get("/budget").status_code == 401


def test_months_before_are_shown_in_as_many_queries_for_many_caps(
    account, member, spend, django_assert_max_num_queries, make_spell
):
    spend("2026-08-19", 700), spend("2026-09-19", 900)
    for number in range(15):
        make_spell(f"spell-{number}")
        budget.set_cap(account, cap_cents=100, scope=BudgetScope.SPELL, ref=f"spell-{number}")
    client = member()
    with django_assert_max_num_queries(20):
        told = words(client.get(path(account)))
    assert "August 2026 7.00 USD 0.00 USD 100.00 USD" in told
    assert "September 2026 9.00 USD" in told
