"""Sessions: whose they are, how they are listed and ended, and that they end by themselves."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts.models import Session
from accounts.pages.browsers import called
from tests.accounts.people import PASSWORD, browser, log_in

HOUR = dt.timedelta(hours=1)
INSIDE, OUTSIDE = 200, 302


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", password=PASSWORD)


def pass_time(by: dt.timedelta) -> None:
    """Let every session be so much older."""
    rows = {name: F(name) - by for name in ("started_at", "last_seen_at", "expire_date")}
    Session.objects.update(**rows)


def inside(client: Any) -> bool:
    return bool(client.get("/account/").status_code == INSIDE)


def test_sessions_are_listed_and_ended_one_by_one(ann, django_user_model):
    here, there, third = (browser(name) for name in ("Firefox", "Safari", "<b>Lynx</b>\x1b[2J"))
    other = browser("Chrome")
    django_user_model.objects.create_user("bob", password=PASSWORD)
    for client in (here, there, third):
        log_in(client)
    log_in(other, "bob")
    page = here.get("/account/sessions/").text
    assert all(name in page for name in ("Firefox", "Safari", "&lt;b&gt;Lynx&lt;/b&gt; [2J", "127.0.0.1"))
    assert "Chrome" not in page
    assert not any(key in page for key in Session.objects.values_list("pk", flat=True))
    numbers = re.findall(r'name="number" value="(\w+)"', page)
    assert len(numbers) == 2  # not this one
    foreign = re.findall(r'name="number" value="(\w+)"', there.get("/account/sessions/").text)
    here.post("/account/sessions/", {"number": numbers[0]})
    assert [inside(client) for client in (here, there, third, other)].count(True) == 3
    other.post("/account/sessions/", {"number": foreign[0]})  # nobody else's
    assert inside(here)
    here.post("/account/sessions/")
    assert [inside(client) for client in (here, there, third, other)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.0; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on macOS"),
        ("Lynx/2.9", "Lynx/2.9"),
        ("", "A browser that does not say which"),
    ],
)
def test_browsers_are_called_by_name(text, name):
    assert called(text) == name


def test_a_session_ends_when_nobody_is_seen_and_after_days_in_any_case(ann, settings):
    settings.SESSION_MAX_SECONDS = 2 * 24 * 3600
    client = browser()
    log_in(client)
    for _ in range(3):
        pass_time(7 * HOUR)
        assert inside(client)
    pass_time(8 * HOUR + dt.timedelta(seconds=1))
    assert not inside(client)
    log_in(client)
    for _ in range(6):
        pass_time(7 * HOUR)
        assert inside(client)
    pass_time(6 * HOUR + dt.timedelta(minutes=1))
    assert not inside(client)


def test_being_seen_is_written_once_a_minute(ann, django_assert_num_queries):
    client = browser()
    log_in(client)
    client.get("/logout/")
    with django_assert_num_queries(3):  # the session, its user, and the accounts for the navigation
        client.get("/logout/")
    pass_time(dt.timedelta(seconds=61))
    with django_assert_num_queries(4):
        client.get("/logout/")
    with django_assert_num_queries(3):
        client.get("/logout/")


@pytest.mark.parametrize("how", ["saved", "by update", "password", "deleted"])
def test_sessions_end_with_their_user(ann, how, django_user_model):
    client = browser()
    log_in(client)
    if how == "saved":
        ann.is_active = False
        ann.save()
    elif how == "by update":
        django_user_model.objects.update(is_active=False)
    elif how == "password":
        ann.set_password("a new horse battery")
        ann.save()
    else:
        ann.delete()
    assert not inside(client)
    if how != "by update":
        assert not Session.objects.filter(user_id__isnull=False).exists()


def test_a_new_name_ends_nothing(ann):
    client = browser()
    log_in(client)
    ann.first_name = "Ann"
    ann.save()
    ann.is_staff = True
    ann.save(update_fields=["is_staff"])
    assert inside(client)


def test_a_login_takes_another_key_than_the_visitor_had(ann):
    client = browser()
    client.get("/account/second-factor/app/")
    client.get("/login/passkey/", HTTP_ACCEPT="application/json")  # which begins a visitor's session
    before = client.session.session_key
    log_in(client)
    assert before
    assert client.session.session_key != before
    assert not Session.objects.filter(pk=before).exists()


def test_a_sweep_deletes_what_has_ended(ann, settings):
    log_in(browser())
    pass_time(9 * HOUR)
    log_in(browser())
    assert "accounts.sessions.purge" in settings.PURGES
    import_string("accounts.sessions.purge")()
    assert Session.objects.get().expire_date > timezone.now()


def test_operators_end_sessions(ann, admin_client):
    client = browser("Netscape")
    log_in(client)
    page = admin_client.get(f"/admin/auth/user/{ann.pk}/change/")
    assert "Netscape" in page.text
    admin_client.post("/admin/auth/user/", {"action": "end_sessions", "_selected_action": [ann.pk]})
    assert not inside(client)
    assert admin_client.get("/account/").status_code == INSIDE
