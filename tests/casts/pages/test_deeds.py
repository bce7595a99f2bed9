"""What members do with a cast on its page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.audit.models import AuditEntry
from accounts.models import Membership, Role
from casts import links
from casts.lifecycle import ending
from casts.models import AccountPrice, Cast, CastStatus, Spell
from tests.casts.conftest import claim

DEEDS = ("cancel", "again", "links")


@pytest.fixture
def browser_of(account: Any, django_user_model: Any) -> Any:
    def log_in(role: Role | None, name: str = "ann") -> Client:
        user = django_user_model.objects.create_user(name)
        if role is not None:
            Membership.objects.create(account=account, user=user, role=role)
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    return log_in


def page_of(cast: Cast) -> str:
    return f"/casts/{cast.pk}/"


def forms(client: Client, cast: Cast) -> dict[str, dict[str, str]]:
    """Return the forms of a cast's page that act on it, by what they do: their hidden fields."""
    found = re.findall(
        rf'<form method="post" action="/casts/{cast.pk}/(\w+)/">(.*?)</form>', client.get(page_of(cast)).text, re.S
    )
    return {deed: dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)) for deed, form in found}


def end(cast: Cast) -> None:
    ending.end(claim(cast), CastStatus.FAILED, reason="run_failed", message="It broke.", charge=False)


def acted(action: str) -> list[str]:
    return list(AuditEntry.objects.filter(action=action).values_list("actor", flat=True))


def test_a_member_cancels_a_cast_once_however_often_the_button_is_pressed(browser_of, cast):
    client = browser_of(Role.MEMBER)
    offered = forms(client, cast)
    assert set(offered) == {"cancel", "links"}
    for _ in range(2):
        assert client.post(page_of(cast) + "cancel/", offered["cancel"]).headers["Location"] == page_of(cast)
    cast.refresh_from_db()
    assert (cast.status, cast.status_reason) == ("cancelled", "cancelled_by_caller")
    assert acted("cast.cancel") == ["ann"]
    assert "It had ended already" in client.get(page_of(cast)).text
    assert set(forms(client, cast)) == {"again", "links"}


def test_a_member_casts_again_once_and_is_led_to_the_new_cast(browser_of, cast):
    end(cast)
    client = browser_of(Role.MEMBER)
    AccountPrice.objects.create(spell=cast.spell, account=cast.account, price_cents=7)
    assert "s price: 0.07 USD a cast (your account&#x27;s own price)" in client.get(page_of(cast)).text
    form = forms(client, cast)["again"]
    places = [client.post(page_of(cast) + "again/", form).headers["Location"] for _ in range(2)]
    new = Cast.objects.get(retry_of=cast)
    assert places == [page_of(new)] * 2
    assert (new.input, str(new.placed_by)) == (cast.input, "ann")
    assert acted("cast.retry") == ["ann"]
    assert client.post(page_of(cast) + "again/", form | {"once": "x"}).headers["Location"] == page_of(cast)
    assert "The form was not whole" in client.get(page_of(cast)).text
    # A refusal is told on the page.
    Spell.objects.filter(pk=cast.spell_id).update(active=False)
    client.post(page_of(cast) + "again/", forms(client, cast)["again"])
    assert "There is no active spell" in client.get(page_of(cast)).text
    assert Cast.objects.count() == 2


def test_the_spells_form_takes_over_the_input_where_it_may_be_seen(browser_of, cast):
    end(cast)
    client = browser_of(Role.MEMBER)
    link = f"/spells/{cast.spell.key}/?from={cast.pk}"
    assert f'href="{link}"' in client.get(page_of(cast)).text
    assert 'value="Ada"' in client.get(link).text
    Spell.objects.filter(pk=cast.spell_id).update(show_input=False)
    assert link not in client.get(page_of(cast)).text


def test_a_member_shares_a_cast_and_ends_its_links(browser_of, cast, client):
    member = browser_of(Role.MEMBER)
    shared = re.search(r'id="share-link" readonly value="http://testserver([^"]+)"', member.get(page_of(cast)).text)
    assert shared is not None
    by_link = client.get(shared[1])
    assert by_link.status_code == 200
    assert "You came by a link. It opens until" in by_link.text
    form = forms(member, cast)["links"]
    for _ in range(2):
        member.post(page_of(cast) + "links/", form)
    cast.refresh_from_db()
    assert (cast.links_epoch, acted("cast.revoke_links")) == (1, ["ann"])
    assert client.get(shared[1]).status_code == 403


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (None, 404)])
def test_others_are_offered_nothing_and_change_nothing(browser_of, cast, role, status):
    client, member = browser_of(role), browser_of(Role.MEMBER, "bob")
    page = client.get(page_of(cast)).text
    for ended in (False, True):
        if ended:
            end(cast)
        offered = forms(member, cast)
        for deed in DEEDS:
            own = offered.get(deed, {"once": "x" * 32, "epoch": "0"})
            token = client.get("/account/").context["csrf_token"]
            answer = client.post(page_of(cast) + f"{deed}/", own | {"csrfmiddlewaretoken": str(token)})
            assert answer.status_code == status
    assert not any(word in page for word in (f"{page_of(cast)}cancel", f"{page_of(cast)}links", "token=", "again"))
    cast.refresh_from_db()
    assert (cast.status, cast.cancel_requested_at, cast.links_epoch) == ("failed", None, 0)
    assert Cast.objects.count() == 1
    assert not AuditEntry.objects.filter(action__startswith="cast.").exists()


def test_who_came_by_a_link_can_only_look(cast, client, browser_of):
    token = links.token_for(cast.pk)
    page = client.get(page_of(cast), {"token": token}).text
    assert "<form" not in page
    assert "<nav" not in page
    member = browser_of(Role.OWNER)
    assert "<form" not in member.get(page_of(cast), {"token": token}).text  # a member with a link neither
    assert "<nav" in member.get(page_of(cast)).text
    for deed in DEEDS:
        path = page_of(cast) + f"{deed}/?token={token}"
        assert client.get(path).status_code == 405
        assert client.post(path).headers["Location"] == f"/login/?next={page_of(cast)}"
        assert member.post(path).status_code == 403  # without the form's token
    cast.refresh_from_db()
    assert (cast.status, cast.links_epoch) == ("queued", 0)


def test_a_page_takes_as_many_queries_for_many_jobs_as_for_one(browser_of, cast, django_assert_num_queries):
    client = browser_of(Role.MEMBER)
    client.get(page_of(cast))
    step = {"name": "a", "status": "completed", "conclusion": "success", "started_at": None, "completed_at": None}
    job = {"name": "b", "status": "completed", "conclusion": "success", "attempt": 1, "runner": "r", "url": ""}
    job |= {"started_at": None, "completed_at": None, "steps": [step | {"number": n} for n in range(12)]}
    counts = []
    for many in (1, 100):
        Cast.objects.filter(pk=cast.pk).update(jobs=[job | {"id": n} for n in range(many)])
        with CaptureQueriesContext(connection) as seen:
            page = client.get(page_of(cast)).text
        counts.append(len(seen))
    assert len(set(counts)) == 1
    assert len(page.encode()) < 150_000
