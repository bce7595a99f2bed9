"""The page on which members see where the money went."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import Any

import pytest
from django.test import Client

from accounts import usage
from accounts.models import Account, LedgerEntry, Role


@pytest.fixture(autouse=True)
def today(clock: Any) -> Any:
    clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
    return clock


def page(client: Client, account: Account, query: str = "", status: int = 200) -> str:
    answer = client.get(f"/account/{account.pk}/usage/?{query}")
    assert answer.status_code == status, answer.text
    return answer.text


def words(text: str) -> str:
    """Return what one reads without charts."""
    text = re.sub(r"<(figure|style|title).*?</\1>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_sums_are_those_of_the_api_and_of_the_ledger(account, member, spend, spell, api, api_key):
    for day, cents, captured in (("2026-10-31", 999, None), ("2026-11-01", 5, None), ("2026-11-19", 1250, 1200)):
        spend(day, cents, captured, key=api_key.pk)
    spend("2026-11-19", 300, spell="gone"), spend("2026-11-20", 77, "open"), spend("2026-11-20", 50, 0)
    told = words(page(member(), account))
    api_total = api.get("/usage?from=2026-11-01&to=2026-11-20").json()["total_cents"]
    ledger = sum(LedgerEntry.objects.filter(kind="capture", booked_on__month=11).values_list("cents", flat=True))
    assert api_total == ledger == 1505
    assert "Spent 15.05 USD" in told
    assert "Greet 2 casts of Greet 12.05 USD 80.1 %" in told
    assert "gone 1 cast of gone 3.00 USD" in told
    assert "Members, in the browser 1" in told
    assert f"{api_key.prefix}… 2" in told
    assert re.search(r"The dearest casts .* Greet 19 Nov 2026 12.00 USD gone 19 Nov 2026 3.00 USD Greet 1 Nov", told)


def test_each_number_leads_to_the_casts_that_make_it_up(account, member, spend, spell):
    spend("2026-11-19", 5)
    text = page(member(), account, "from=2026-11-18&to=2026-11-20")
    own = f"/home/?account={account.pk}"
    assert f'href="{own}&amp;from=2026-11-19&amp;to=2026-11-19"' in text  # a bar
    assert f'href="{own}&amp;from=2026-11-18&amp;to=2026-11-20&amp;spell=greet"' in text


def test_the_list_has_the_casts_of_those_days_and_of_that_key(account, member, cast, api_key):
    client = member()
    today = dt.datetime.now(dt.UTC).date()  # the id of a cast has the time of its machine
    before, after = (today + dt.timedelta(days=days) for days in (-1, 1))
    for query, there in (
        (f"from={today}&to={after}", True),
        (f"from={before}&key={api_key.pk}", True),
        (f"to={before}", False),
        (f"from={today + dt.timedelta(days=2)}", False),
        ("key=none", False),
        ("from=0001-01-01&to=9999-12-31&key=x", True),
    ):
        text = client.get(f"/home/?account={account.pk}&{query}").text
        assert (f"/casts/{cast.pk}/" in text) is there, query
    assert "Only casts from 18 Nov 2026." in client.get(f"/home/?account={account.pk}&from=2026-11-18").text


def test_one_may_look_at_one_spell_and_at_other_days(account, member, spend, spell):
    spend("2025-12-01", 5), spend("2026-11-19", 7), spend("2026-11-19", 100, spell="dear")
    client = member()
    assert "Spent 1.00 USD" in words(page(client, account, "spell=dear"))
    year = page(client, account, "from=2025-11-20&to=2026-11-20")
    assert "Spent 1.12 USD" in words(year)
    assert year.count("<title>") < 60  # weeks
    assert len(year) < 100_000
    assert "Nothing was spent in these days." in page(client, account, "from=2026-01-01&to=2026-01-02")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("from=yesterday", "from is a day such as 2026-11-23"),
        ("from=2026-11-20&to=2026-11-19", "a day before"),
        ("from=2024-11-20&to=2026-11-19", "366 days"),
    ],
)
def test_days_that_are_none_are_refused_with_the_usual_ones_below(account, member, spend, query, why):
    spend("2026-11-19", 7)
    told = words(page(member(), account, query, status=200))
    assert why in told
    assert "Spent 0.07 USD" in told


def test_the_files_have_the_same_sums_and_no_formulas(account, member, spend, make_spell, api_key):
    make_spell("bad", name='=HYPERLINK("http://x","ä")')
    for number in range(5):
        spend(f"2026-11-{19 - number // 2}", 7 + number, spell="bad", key=api_key.pk)
    client, path = member(), f"/account/{account.pk}/usage/file/?from=2026-11-01&to=2026-11-20"

    def rows(client: Client, query: str = "") -> list[dict[str, str]]:
        answer = client.get(path + query)
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))

    days = rows(client)
    assert [(row["day"], row["casts"], row["cents"]) for row in days] == [
        ("2026-11-17", "1", "11"),
        ("2026-11-18", "2", "19"),
        ("2026-11-19", "2", "15"),
    ]
    assert days[0]["spell"] == '\'=HYPERLINK("http://x","ä")'
    assert days[0]["amount"] == "0.11"
    casts = rows(client, "&per=cast")
    assert [row["cents"] for row in casts] == ["11", "9", "10", "7", "8"]
    assert casts[0]["key"] == "tests"
    assert "key" not in rows(member(Role.VIEWER), "&per=cast")[0]
    assert client.get(path + "x").headers["Location"].startswith(f"/account/{account.pk}/usage/?")


def test_each_cast_is_told_once_however_many_are_read_at_a_time(account, spend):
    told = {spend(f"2026-11-{19 - number % 3}", 7) for number in range(10)}
    days = usage.Span(dt.date(2026, 11, 1), dt.date(2026, 11, 30))
    for most in (1, 3, 10, 100):
        found = [one.cast_id for some in usage.each(account, days, most) for one in some]
        assert sorted(found) == sorted(told)


def test_viewers_see_what_casts_cost_and_not_who_cast(account, member, spend, api_key, django_user_model):
    spend("2026-11-19", 7, key=api_key.pk)
    told = words(page(member(Role.VIEWER), account))
    assert "Spent 0.07 USD" in told
    assert api_key.prefix not in told
    assert "By key" not in told
    assert api_key.prefix in page(member(Role.MEMBER), account)
    other = Account.objects.create(name="Another")
    assert member(name="eve").get(f"/account/{other.pk}/usage/").status_code == 404
    assert Client().get(f"/account/{account.pk}/usage/").headers["Location"].startswith("/login/")


def test_names_of_others_are_only_text(account, member, spend, make_spell):
    make_spell("bad", name="<script>alert(1)</script>")
    spend("2026-11-19", 7, spell="bad")
    assert "<script>alert" not in page(member(), account)


def test_a_page_costs_as_many_queries_for_a_hundred_spells_as_for_one(
    account, member, spend, django_assert_max_num_queries
):
    client = member()
    spend("2026-11-19", 7)
    page(client, account)
    for number in range(60):
        spend(f"2026-11-{number % 19 + 1:02}", 7, spell=f"spell-{number}", key=number)
    with django_assert_max_num_queries(14):
        page(client, account)
