"""Which of several accounts a page is about."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client

from accounts.models import Account, Membership, Role
from accounts.pages import choice


@pytest.fixture
def ann(db: None) -> User:
    user = User.objects.create_user("ann")
    for name in ("Bakery", "Archive"):
        Membership.objects.create(account=Account.objects.create(name=name), user=user, role=Role.VIEWER)
    Account.objects.create(name="Others")
    return user


@pytest.fixture
def asked(ann: User, rf: Any) -> Any:
    client = Client()
    client.force_login(ann)
    session = client.session

    def ask(query: str = "") -> Any:
        request = rf.get(f"/home/{query}")
        request.user, request.session = ann, session
        return request

    return ask


def test_the_query_wins_and_is_remembered_else_the_first_by_name(asked: Any) -> None:
    def name(query: str = "") -> str:
        found = choice.chosen(asked(query))
        assert found is not None
        return found.account.name

    assert name() == "Archive"
    assert name(f"?account={Account.objects.get(name='Bakery').pk}") == "Bakery"
    assert name() == "Bakery"
    for other in (Account.objects.get(name="Others").pk, "x", "²", "-1", "9" * 40, ""):
        with pytest.raises(Http404):
            choice.chosen(asked(f"?account={other}"))
    Membership.objects.filter(account__name="Bakery").delete()
    assert name() == "Archive"  # what was remembered opens nothing any more


def test_a_page_of_an_account_is_its_members_as_far_as_their_role_goes(asked: Any) -> None:
    bakery, others = (Account.objects.get(name=name).pk for name in ("Bakery", "Others"))
    assert choice.membership_of(asked(), bakery).account_id == bakery
    assert choice.chosen(asked()).account_id == bakery  # type: ignore[union-attr]
    with pytest.raises(PermissionDenied, match="you are a viewer; this needs the role admin"):
        choice.membership_of(asked(), bakery, Role.ADMIN)
    with pytest.raises(Http404):
        choice.membership_of(asked(), others)


def test_the_switch_stays_on_a_page_that_is_about_an_account(ann: User) -> None:
    client = Client()
    client.force_login(ann)
    bakery = Account.objects.get(name="Bakery").pk
    page = client.get("/home/").text
    assert f'<a href="/home/?account={bakery}">Bakery</a>' in page
    assert f'<a href="/home/?account={bakery}">Bakery</a>' not in client.get(f"/home/?account={bakery}").text
    assert f"?account={bakery}" not in client.get("/account/").text  # Bakery is the chosen one now
