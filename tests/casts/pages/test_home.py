"""Where a member begins, and what a required second factor means for what is read with a session."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Membership, Role
from casts import links
from tests.accounts.people import PASSWORD, browser, log_in, set_up_app


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", password=PASSWORD)


def test_members_find_their_accounts_and_newest_casts(ann, cast, account, django_user_model, make_cast):
    client = browser()
    log_in(client)
    assert "not a member of any account" in client.get("/home/").text
    Membership.objects.create(account=account, user=ann, role=Role.VIEWER)
    page = client.get("/home/").text
    assert f"/casts/{cast.pk}/" in page
    assert "Unseen University" in page
    assert "viewer" in page
    for _ in range(10):
        make_cast()
    assert f"/casts/{cast.pk}/" not in client.get("/home/").text
    stranger = browser()
    django_user_model.objects.create_user("bob", password=PASSWORD)
    log_in(stranger, "bob")
    assert "Unseen University" not in stranger.get("/home/").text
    assert browser().get("/home/").headers["Location"] == "/login/?next=/home/"


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
