"""Where a member begins, and what a required second factor means for what is read with a session."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.models import Account, Membership, Role
from casts import links
from casts.lifecycle import ending
from casts.models import Cast, CastStatus
from tests.accounts.people import PASSWORD, browser, log_in, set_up_app
from tests.casts.conftest import accept_cast, claim


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def member(ann: Any, account: Account) -> Membership:
    return Membership.objects.create(account=account, user=ann, role=Role.MEMBER)


@pytest.fixture
def client(ann: Any) -> Client:
    found = Client()
    found.force_login(ann)
    return found


def shown(client: Client, query: str = "") -> list[str]:
    """Return the ids of the casts that the page lists."""
    answer = client.get(f"/home/{query}")
    assert answer.status_code == 200
    return re.findall(r'id="cast-([0-9a-f-]+)"', answer.text)


def ids(*casts: Cast) -> list[str]:
    return [str(cast.pk) for cast in casts]


def test_who_has_no_account_and_who_has_an_empty_one_see_what_to_do(ann, client, account):
    assert "not a member of any account" in client.get("/home/").text
    place = Membership.objects.create(account=account, user=ann, role=Role.MEMBER)
    assert "Nothing was cast yet" in client.get("/home/").text
    assert client.get("/").headers["Location"] == "/home/"
    Membership.objects.filter(pk=place.pk).update(role=Role.VIEWER)
    assert "As a viewer" in client.get("/home/").text
    assert browser().get("/home/").headers["Location"] == "/login/?next=/home/"
    other = Account.objects.create(name="Others").pk
    assert client.get(f"/home/?account={other}").status_code == 404


def test_members_find_casts_and_page_through_them(member, client, make_cast, make_spell, account, api_key, monkeypatch):
    monkeypatch.setattr("casts.rows.SHOWN", 2)
    bake = make_spell("bake", name="Bake a cake")
    first = make_cast(metadata={"order": "A 17"})
    time.sleep(0.002)  # ids sort by milliseconds
    second = make_cast(spell=bake)
    time.sleep(0.002)
    third = accept_cast(account=account, placed_by=member.user, spell=bake, input={})
    theirs = Account.objects.create(name="Others")
    foreign = make_cast(account=theirs, api_key=keys.create(theirs, name="k", scopes=["casts:read"])[0])
    ending.end(claim(first), CastStatus.FAILED, reason="run_failed", message="No.", charge=True)
    for query, expected in {
        "": [third, second],
        f"?older={second.pk}": [first],
        f"?newer={first.pk}": [third, second],
        f"?newer={third.pk}": [third, second],  # there is nothing newer
        "?older=nonsense": [third, second],
        "?status=failed": [first],
        "?status=open&spell=bake": [third, second],
        "?mine=1": [third],
        "?since=today": [third, second],
        "?q=cake": [third, second],
        f"?q={str(first.pk)[:35]}": [first],
        f"?q={str(second.pk).upper()}": [second],
        f"?q={foreign.pk}": [],
        "?q=order%3DA+17": [first],
        "?q=order%3D17": [],
        "?q=a+17": [first],
        "?q=ann": [third],
        "?q=tests": [second, first],  # the key's name
        "?q=%00": [third, second],
        "?q=%25": [],
        "?q=ann&status=failed": [],
        "?spell=none": [],
        "?status=none&since=ever": [third, second],
    }.items():
        assert shown(client, query) == ids(*expected), query
    page = client.get("/home/?status=open&older=" + str(third.pk)).text
    assert f"status=open&amp;newer={second.pk}" in page
    assert "0.05" in client.get("/home/").text  # what is held


def test_a_filter_that_few_casts_match_looks_at_some_at_a_time_and_leads_on(member, client, make_cast, monkeypatch):
    monkeypatch.setattr("casts.pages.search.LOOKED_AT", 2)
    casts = []
    for _ in range(5):
        casts.append(make_cast())
        time.sleep(0.002)  # ids sort by milliseconds
    ending.end(claim(casts[0]), CastStatus.FAILED, reason="run_failed", message="No.", charge=True)
    query, found = "?status=failed", []
    for looked in (True, True, False):
        page = client.get(f"/home/{query}").text
        found += shown(client, query)
        assert ("2 casts were looked at" in page) == looked
        assert ("There is no such cast among" in page) == looked
        older = re.search(r'href="([^"]+)" rel="next"', page)
        query = html.unescape(older[1]) if older else ""
    assert (found, query) == (ids(casts[0]), "")
    # Who leafs back comes to the first page at last, and what an index has is found at once.
    assert "2 casts were looked at" in client.get(f"/home/?status=failed&newer={casts[2].pk}").text
    monkeypatch.setattr("casts.pages.search.LOOKED_AT", 1)
    assert len(shown(client, "?status=open")) == 4


def test_a_viewer_sees_that_casts_exist_and_searches_nothing_that_is_in_them(member, client, make_cast):
    Membership.objects.update(role=Role.VIEWER)
    cast = make_cast(metadata={"order": "secret-17"})
    page = client.get("/home/")
    assert str(cast.pk) in page.text
    assert not [word for word in ("secret-17", "key tests", "Spent") if word in page.text]
    for query in ("?q=secret", "?q=order%3Dsecret-17", "?q=tests"):
        assert shown(client, query) == []
    assert shown(client, "?q=greet") == ids(cast)


def test_what_callers_and_people_wrote_is_text(member, client, make_cast, make_spell, api_key):
    evil = '"><script>alert(1)</script>'
    api_key.name = evil
    api_key.save()
    make_cast(metadata={evil[:40]: evil}, spell=make_spell("evil", name=evil))
    page = client.get("/home/", {"q": evil})
    assert "<script>alert" not in page.text
    assert page.text.count("&lt;script&gt;alert") >= 4


def test_the_queries_are_as_many_for_five_thousand_casts_as_for_one(member, client, make_cast, settings):
    def asked(query: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert client.get(f"/home/{query}").status_code == 200
        return len(found)

    cast = make_cast(metadata={"order": "17"})
    queries = ("", "?q=17", "?q=order%3D17", "?status=open&mine=1", f"?q={cast.pk}")
    few = [asked(query) for query in queries]
    values = {f.attname: getattr(cast, f.attname) for f in Cast._meta.concrete_fields if f.attname != "id"}
    Cast.objects.bulk_create(Cast(**values) for _ in range(5000))
    assert [asked(query) for query in queries] == few
    assert max(few) <= 14


def test_the_api_reads_no_session_without_the_required_factor(ann, cast, account, settings):
    account.members.add(ann)
    client = browser()
    log_in(client)
    paths = (f"/api/v1/casts/{cast.pk}/artifacts/none", f"/casts/{cast.pk}/")
    before = [client.get(path).status_code for path in paths]
    assert before == [404, 200]
    settings.REQUIRE_SECOND_FACTOR = "all"
    assert client.get(paths[0]).status_code == 401
    assert client.get(paths[1]).headers["Location"] == "/account/second-factor/"
    assert client.get(links.progress_url(cast.pk)).status_code == 200  # a link is no login
    set_up_app(client)
    assert [client.get(path).status_code for path in paths] == before
