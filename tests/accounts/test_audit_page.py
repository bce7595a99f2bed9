"""The page of the audit log: in words, for owners, filtered, and as a file."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import pytest

from accounts import principals
from accounts.audit import log, words
from accounts.audit.models import AuditEntry
from accounts.models import Account
from core.ids import uuid7
from tests.accounts.test_members import member, of


@pytest.fixture
def path(account: Account) -> str:
    return f"/account/{account.pk}/audit/"


def note(account: Account, action: str, on: Any = None, by: str = "createapikey", **facts: Any) -> None:
    log.record(principals.of_command(by), action, on, account_id=account.pk, **facts)


def test_who_changed_what_is_said_in_words_with_the_way_there(account, path, api_key):
    owner = of(member(account, "ann", "owner"))
    cast_id = uuid7()
    note(account, "member.change_role", ("membership", 7), before={"role": "viewer"}, after={"role": "member"})
    note(account, "cast.cancel", ("cast", cast_id), after={"note": "<b>x</b>"})
    note(account, "admin.account.change", account, by="=cmd()", after={"max_open": 7})
    note(Account.objects.create(name="Else"), "key.create", after={"name": "foreign"})
    page = owner.get(path).text
    for text in (
        *("gave a member another role", "viewer → member", "cancelled a cast", f"/casts/{cast_id}/"),
        *("&lt;b&gt;x", "in the admin: change, account", f"/account/{account.pk}/members/"),
    ):
        assert text in page
    assert "foreign" not in page
    answer = owner.get(path + "?format=csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    by = {row["action"]: row["actor"] for row in rows}
    assert by == {
        "admin.account.change": "'=cmd()",
        **dict.fromkeys(("cast.cancel", "member.change_role"), "createapikey"),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("who=ann", 1),
        ("who=nobody", 0),
        ("what=key.create", 2),
        ("what=key.create&who=bob", 1),
        ("since=2026-01-02", 2),
        ("until=2026-01-01", 1),
        ("since=2026-01-02&until=2026-01-03", 1),
        ("", 3),
    ],
)
def test_filters(account, path, query, found):
    for who, action, day in (("ann", "key.create", 1), ("bob", "key.create", 2), ("cy", "key.revoke", 9)):
        at = dt.datetime(2026, 1, day, 12, tzinfo=dt.UTC)
        AuditEntry.objects.create(at=at, account_id=account.pk, actor_kind="user", actor=who, action=action)
    owner = of(member(account, "owner", "owner"))
    assert len(owner.get(f"{path}?{query}").context["lines"]) == found
    assert len(b"".join(owner.get(f"{path}?format=csv&{query}")).decode().splitlines()) == found + 1


@pytest.mark.parametrize("query", ["since=yesterday", "what=nothing", "who=%00"])
def test_a_filter_that_makes_no_sense_says_so(account, path, query):
    answer = of(member(account, "ann", "owner")).get(f"{path}?{query}")
    assert (answer.status_code, "errorlist" in answer.text) == (422, True)


def test_pages_follow_each_other_at_the_same_cost(account, path, django_assert_max_num_queries):
    owner = of(member(account, "ann", "owner"))
    owner.get(path)
    counts, seen, query = [], 0, ""
    for _ in range(120):
        note(account, "budget.set_cap", ("account", account.pk), after={"cap_cents": 1})
    for _ in range(3):
        with django_assert_max_num_queries(20) as counted:
            answer = owner.get(f"{path}?{query}")
        counts.append(len(counted))
        seen += len(answer.context["lines"])
        query = answer.context["older"]
    assert (seen, query, len(set(counts))) == (120, "", 1)


def test_it_is_the_owners(account, path):
    for role in ("admin", "member", "viewer"):
        assert of(member(account, role, role)).get(path).status_code == 403


def test_every_change_that_is_known_has_its_words():
    from tests.matrix.test_audit import ACTION

    assert set(ACTION.values()) - set(words.ACTIONS) == set()
