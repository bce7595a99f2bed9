"""An operator sees who is refused."""

from __future__ import annotations

import pytest

from accounts.rationing.refusals import note


@pytest.fixture
def refused(account, api_key, cast):
    note(allowance="key", subject=str(api_key.pk))
    note(allowance="account", subject=str(account.pk))
    note(allowance="link", subject=f"{cast.pk} 0123abcd")
    note(allowance="failed-logins-here", subject="digestofname 203.0.113.7")
    for _ in range(3):
        note(allowance="bad-keys", subject="<b>203.0.113.9</b>")


def test_the_page_shows_who_is_refused_as_a_hint(refused, admin_client, api_key, cast):
    page = admin_client.get("/admin/attention/").content.decode()
    for told in (str(api_key), f"link to {cast.pk}", "203.0.113.7", "&lt;b&gt;203.0.113.9", "API keys over their"):
        assert told in page
    assert "digestofname" not in page
    assert "<title>Needs attention |" in page  # nothing is broken


def test_the_list_can_be_filtered_and_searched(refused, admin_client, api_key):
    for query, shown in [("allowance=key", str(api_key)), ("q=203.0.113.7", "203.0.113.7")]:
        page = admin_client.get(f"/admin/accounts/refusal/?{query}").content.decode()
        assert "1 refusal" in page
        assert shown in page


def test_a_proxy_that_does_not_say_for_whom_it_asks_is_noticed(admin_client):
    note(allowance="address", subject="127.0.0.1")
    assert "X-Forwarded-For" in admin_client.get("/admin/attention/").content.decode()


def test_who_may_not_see_them_does_not(refused, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("op", password="x", is_staff=True))
    assert "Refused requests" not in client.get("/admin/attention/").content.decode()
