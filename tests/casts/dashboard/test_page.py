"""The dashboard's numbers: each is what a look at the rows themselves finds, and leads to just these rows."""

from __future__ import annotations

import datetime as dt
import html
import re

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Account, BudgetPeriod, month_of
from casts import tallies
from casts.models import Cast, WorkerProcess
from casts.tallies import DAY, HOUR, day_of, hour_of
from core import brief
from core.admin.dashboard import duration
from github_integration.models import Installation
from tests.casts.dashboard.test_tallies import rounds, slowly
from tests.console import listed, page, queries, shown
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db
PAGE = "/admin/"


def tables(text: str) -> dict[str, list[list[tuple[str, str]]]]:
    """Return the page's tables by what is said of them: rows of cells, each its text and its link."""
    charts = re.findall(r"<figcaption>(.*?)</figcaption>(.*?)</figure>", text, re.DOTALL)
    lists = re.findall(r'<div class="dash-table"><table><caption>(.*?)</caption>(.*?)</table>', text, re.DOTALL)
    found = {}
    for said, inside in charts + lists:
        body = re.search(r"<tbody>(.*?)</tbody>", inside, re.DOTALL)
        rows = re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL) if body else []
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        found[html.unescape(said)] = [[(shown(cell), link_in(cell)) for cell in row] for row in cells]
    return found


def link_in(cell: str) -> str:
    found = re.search(r'href="([^"]*)"', cell)
    return html.unescape(found[1]) if found else ""


def starting(found: dict[str, list[list[tuple[str, str]]]], said: str) -> list[list[tuple[str, str]]]:
    [rows] = [rows for name, rows in found.items() if name.startswith(said)]
    return rows


def rows_behind(client, link):
    """Return how many rows the list behind a link says that it has."""
    told = re.search(r'<p class="paginator">.*?([\d,]+) \w+', page(client, link), re.DOTALL)
    return int(told[1].replace(",", "")) if told else listed(client, link)


def test_each_bar_is_what_the_casts_are_and_leads_to_them(admin_client, many_casts):
    rounds()
    found = tables(page(admin_client, PAGE))
    now, casts = timezone.now(), list(Cast.objects.all())
    hours = [hour_of(now) - back * HOUR for back in reversed(range(24))]
    days = [day_of(now) - back * DAY for back in reversed(range(7))]
    for said, starts, length in (("Casts accepted in the last 24", hours, HOUR), ("Casts accepted in 7", days, DAY)):
        rows = starting(found, said)
        assert len(rows) == len(starts)
        for start, (head, *numbers) in zip(starts, rows, strict=True):
            truly = slowly(start, length, casts=casts)
            names = ("queued", "running", "succeeded", "failed", "cancelled")
            assert [int(text) for text, _ in numbers] == [*(truly.statuses[name] for name in names), truly.casts]
            assert bool(head[1]) == bool(truly.casts)
    busiest = max(rows, key=lambda row: int(row[-1][0]))
    assert rows_behind(admin_client, busiest[0][1]) == int(busiest[-1][0])
    for said, what in (("From acceptance to", "waits"), ("From there", "runs")):
        for start, (_, *numbers) in zip(hours, starting(found, said), strict=True):
            took = getattr(slowly(start, HOUR, casts=casts), what)
            wanted = [tallies.percentile(took, percent) for percent in (50, 95)]
            assert [text for text, _ in numbers] == [duration(v and round(v, 1)) for v in wanted]


def test_failures_are_counted_by_spell_and_reason_with_the_first_and_the_last(admin_client, many_casts):
    rounds()
    rows = starting(tables(page(admin_client, PAGE)), "Casts that failed")
    since = day_of(timezone.now()) - 6 * DAY
    failed = Cast.objects.filter(status="failed", created_at__gte=since).select_related("spell")
    truly: dict[tuple[str, str], list[dt.datetime]] = {}
    for cast in failed:
        assert cast.finished_at is not None
        truly.setdefault((cast.spell.key, cast.status_reason), []).append(cast.finished_at)
    assert len(rows) == min(10, len(truly)) > 3
    for spell, reason, number, first, last in rows:
        times = truly[spell[0], reason[0].replace(" ", "_")]
        assert int(number[0]) == len(times) == rows_behind(admin_client, number[1])
        assert first[0] == f"{min(times):%a} {min(times).day} {min(times):%b %H:%M}"
        assert last[0] == f"{max(times):%a} {max(times).day} {max(times):%b %H:%M}"
    assert [int(row[2][0]) for row in rows] == sorted((int(row[2][0]) for row in rows), reverse=True)


def test_a_spell_that_is_slow_since_some_days_comes_first_with_the_day(admin_client, make_cast, make_spell, spell):
    other, now = make_spell("other"), timezone.now()
    for back in range(1, 15):
        for number in range(6):
            at = day_of(now) - back * DAY + number * HOUR
            make_cast(at, spell=other, run=30)
            make_cast(at, spell=spell, run=95 if back <= 3 else 40)
    for number in range(6):
        make_cast(now - dt.timedelta(minutes=number), spell=other, run=30)
        make_cast(now - dt.timedelta(minutes=number), spell=spell, run=90)
    rounds()
    first, second = starting(tables(page(admin_client, PAGE)), "Run times")
    since = day_of(now) - 3 * DAY
    assert first[0][0] == "greet"
    assert first[1][0].endswith(f"times, since {since:%a} {since.day} {since:%b}")
    assert float(first[1][0].split()[0]) == pytest.approx(90 / 40, rel=0.06)
    assert (second[0][0], second[1][0]) == ("other", "1.0 times")
    days = starting(tables(page(admin_client, first[0][1])), "From the run's beginning")  # the first click
    slow = [float(row[1][0].split()[0]) > 60 for row in days if row[1][0] != "-"]
    assert slow == [False] * (len(slow) - 4) + [True] * 4 or slow == [False] * (len(slow) - 5) + [True] * 5
    [of_day] = [row for row in days if row[0][0] == f"{since:%a} {since.day}"]
    assert rows_behind(admin_client, of_day[0][1]) == 6  # the second


def test_money_quota_webhooks_and_workers(admin_client, account):
    now = timezone.now()
    month = month_of(now)
    before = month_of(dt.datetime(month.year, month.month, 1, tzinfo=dt.UTC) - DAY)
    other = Account.objects.create(name="Other <b>")
    for whose, when, cents, held in ((account, month, 1250, 5), (account, before, 300, 0), (other, before, 9000, 0)):
        BudgetPeriod.objects.create(account=whose, month=when, captured_cents=cents, held_cents=held, cap_cents=2000)
    Installation.objects.create(
        pk=7, account_login="octo", rate_limit=5000, rate_remaining=1234, rate_reset_at=now + HOUR
    )
    Installation.objects.create(pk=8, account_login="later", rate_limit=60, rate_remaining=1, rate_reset_at=now - HOUR)
    for number, late in enumerate((1, 2, 3, 40)):
        Delivery.objects.create(
            guid=f"g{number}", event="workflow_run", body="{}", outcome="applied", swept=late == 40,
            received_at=now - HOUR, happened_at=now - HOUR - dt.timedelta(seconds=late),
        )  # fmt: skip
    Delivery.objects.create(guid="old", event="ping", body="{}", received_at=now - 2 * DAY, swept=True)
    for name, seen in (("a:1", 1), ("b:2", 5), ("gone:3", 600)):
        ago = now - dt.timedelta(seconds=seen)
        WorkerProcess.objects.create(name=name, threads=8, started_at=ago, seen_at=ago)
    text = page(admin_client, PAGE)
    found = tables(text)
    rows = [[cell for cell, _ in row] for row in starting(found, "Captured by account")]
    assert rows == [
        ["Unseen University", "12.50 USD", "0.05 USD", "20.00 USD", "3.00 USD"],
        ["Other <b>", "0.00 USD", "0.00 USD", "no cap", "90.00 USD"],
    ]
    told = shown(text)
    assert f"{month:%B %Y} 12.50 USD {before:%B %Y} 93.00 USD" in told
    [least, all_again] = starting(found, "Requests left")[::-1]
    assert {least[0][0], all_again[0][0]} == {"octo (7)", "later (8)"}
    assert "1,234 of 5,000, 24 %" in told
    assert "60 of 60, 100 %" in told
    assert "p50 2.0 s p95 40 s Came by the sweep 1 of 4 (25.0 %)" in told
    assert "Workers alive 2 Their threads 16" in told


def test_what_is_due_is_shown_by_queue_with_its_age(admin_client, make_cast):
    now = timezone.now()
    for minutes in (3, 10):
        make_cast(now - HOUR, "queued", due_at=now - dt.timedelta(minutes=minutes))
    make_cast(now - HOUR, "queued", due_at=now + HOUR)
    make_cast(now - HOUR, "running", lease_until=now + HOUR)
    rows = starting(tables(page(admin_client, PAGE)), "What is due")
    assert [cell for cell, _ in rows[0]] == ["Cast", "2", "10 min", "1"]
    assert all(cells[1][0] == "0" for cells in rows[1:])


def test_it_shows_what_one_may_see_and_needs_as_many_queries_for_many_rows(admin_client, many_casts, django_user_model):
    rounds()
    for number in range(12):
        if number == 1:
            few = queries(admin_client, PAGE)
        BudgetPeriod.objects.create(account=Account.objects.create(name=f"a{number}"), month=month_of(timezone.now()))
        Installation.objects.create(pk=number + 1, rate_limit=5000)
    brief.forget_all()
    assert queries(admin_client, PAGE) == few < 60
    user = django_user_model.objects.create_user("staff", is_staff=True)
    client = Client()
    client.force_login(user)
    assert "There is nothing here that you may see" in page(client, PAGE)
    spell_page = f"/admin/spell-times/{many_casts[0].pk}/"
    assert client.get(spell_page).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="view_installation"))
    text = str(page(client, PAGE))
    assert "Requests left of this hour" in text
    assert "Casts accepted" not in text
    assert "Captured" not in text
    assert page(admin_client, spell_page)
    assert admin_client.get("/admin/spell-times/999/").status_code == 404
    assert "Tables" in shown(text)


def test_the_header_counts_what_needs_attention_for_who_may_see_it(
    admin_client, make_cast, settings, django_user_model
):
    assert "attention-badge" not in page(admin_client, "/admin/casts/spell/")
    settings.ATTENTION_COUNT_SECONDS = 60
    make_cast(timezone.now() - HOUR, "queued", reason="rate_limited", due_at=timezone.now() + HOUR)
    for path in ("/admin/casts/spell/", "/admin/", "/admin/casts/cast/"):
        assert '<span class="attention-badge">1</span>' in page(admin_client, path)
    few = queries(admin_client, "/admin/casts/spell/")
    make_cast(timezone.now() - HOUR, "queued", reason="installation_suspended", due_at=timezone.now() + HOUR)
    assert queries(admin_client, "/admin/casts/spell/") == few
    assert '<span class="attention-badge">1</span>' in page(admin_client, "/admin/casts/spell/"), "some seconds old"
    user = django_user_model.objects.create_user("staff", is_staff=True)
    client = Client()
    client.force_login(user)
    assert "attention-badge" not in page(client, "/admin/")


@pytest.mark.parametrize("period", ["yesterday", "..", "2026-11-26T04:00", "2026-99-01T00:00..2026-11-26T04:00"])
def test_a_time_that_cannot_be_read_finds_nothing(admin_client, make_cast, period):
    make_cast(timezone.now())
    assert listed(admin_client, "/admin/casts/cast/", period="1h") == 1
    assert listed(admin_client, "/admin/casts/cast/", period=period) == 0
    assert "Unreadable" in page(admin_client, "/admin/casts/cast/", period=period)
