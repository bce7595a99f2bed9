"""Second factors: setting them up, logging in with them, requiring them, and confirming."""

from __future__ import annotations

import datetime as dt
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import encrypt
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from accounts.audit.models import AuditEntry
from accounts.models import ApiKey, Session
from accounts.pages.forms import use_once
from tests.accounts.people import APP, PASSWORD, browser, code, log_in, set_up_app, wrong_code, wrongs

CODES = "/account/second-factor/codes/"
SETUP = "/account/second-factor/"


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def operator(django_user_model: Any) -> Any:
    return django_user_model.objects.create_superuser("op", password=PASSWORD)


def long_ago() -> None:
    """Let everybody's last proof be an hour old."""
    for row in Session.objects.exclude(user=None):
        store = row.get_session_store_class()(row.pk)
        for record in store.get("account_authentication_methods", []):
            record["at"] -= 3600
        store["touched"] = True
        store.save()
    Session.objects.update(started_at=F("started_at") - dt.timedelta(hours=1))


def test_an_apps_code_is_asked_for_and_good_once(ann):
    client, elsewhere = browser(), browser()
    log_in(client)
    log_in(elsewhere)
    secret, _ = set_up_app(client)
    assert elsewhere.get("/account/").status_code == 302  # it has begun without the second factor
    second = browser()
    assert log_in(second, next="/account/").headers["Location"] == "/login/code/"
    assert second.get("/account/").headers["Location"] == "/login/?next=/account/"
    assert second.get("/login/").headers["Location"] == "/login/code/"
    assert "used already" in wrongs(second.post("/login/code/", {"code": code(secret)}))  # by setting it up
    assert wrongs(second.post("/login/code/", {"code": wrong_code(secret)}))
    ahead = code(secret, 1)
    assert second.post("/login/code/", {"code": f"{ahead[:3]} {ahead[3:]}"}).headers["Location"] == "/account/"
    assert second.get("/account/").status_code == 200
    third = browser()
    log_in(third)
    cache.clear()  # another process has its own
    assert "used already" in wrongs(third.post("/login/code/", {"code": ahead}))
    logins = AuditEntry.objects.filter(action="user.login").order_by("id").values_list("after", flat=True)
    assert list(logins) == [{"by": ["password"]}, {"by": ["password"]}, {"by": ["password", "totp"]}]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_use_one_code_at_once_one_gets_in(ann):
    secret = "JBSWY3DPEHPK3PXP"
    app = Authenticator.objects.create(user=ann, type="totp", data={"secret": encrypt(secret)})
    sent = code(secret)

    def once(_: int) -> bool:
        try:
            return use_once(Authenticator.objects.get(pk=app.pk), sent)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(once, range(8))) == 1


def test_recovery_codes_are_shown_once_and_good_once(ann):
    client = browser()
    log_in(client)
    _, codes = set_up_app(client)
    assert len(set(codes)) == 10
    assert not re.search(r"\b\d{8}\b", client.get(CODES).text)
    for status in (302, 200):
        other = browser()
        log_in(other)
        assert other.post("/login/code/", {"code": codes[0]}).status_code == status
    client.post(CODES + "new/")
    new = re.findall(r"\b\d{8}\b", client.get(CODES).text)
    assert len(set(new) - set(codes)) == 10
    other = browser()
    log_in(other)
    assert wrongs(other.post("/login/code/", {"code": codes[1]}))
    assert other.post("/login/code/", {"code": new[1]}).status_code == 302


@pytest.mark.parametrize("required", ["off", "staff", "all"])
def test_who_must_have_one_sets_it_up_before_anything_else(ann, operator, account, settings, required):
    account.members.add(ann, operator)
    settings.REQUIRE_SECOND_FACTOR = required
    for name, led in (("ann", required == "all"), ("op", required != "off")):
        client = browser()
        log_in(client, name)
        for path in (
            "/home/",
            "/account/",
            "/account/password/",
            *(["/admin/accounts/account/"] if name == "op" else []),
        ):
            answer = client.get(path)
            assert answer.headers.get("Location") == (SETUP if led else None), (name, path)
            with_token = client.get(path, {"token": "any"}).headers.get("Location")
            assert (with_token == SETUP) is led, (name, path)  # only a cast's page opens by one
        if led:
            assert "It is required here" in client.get(SETUP).text
            assert client.post("/account/sessions/").headers["Location"] == SETUP
            client.get("/account/sessions/")
            set_up_app(client)
            assert client.get("/").headers["Location"] == "/account/sessions/"  # what was asked for last
            assert client.get("/home/").status_code == 200
            assert "this is your only one" in client.get(APP + "remove/").text
            client.post(APP + "remove/")
            assert Authenticator.objects.filter(user__username=name, type="totp").exists()


def test_operators_let_in_again_who_has_lost_everything(ann, admin_client, capsys):
    for how in ("admin", "command"):
        client = browser()
        log_in(client)
        set_up_app(client)
        if how == "admin":
            chosen = {"action": "remove_second_factors", "_selected_action": [ann.pk]}
            admin_client.post("/admin/auth/user/", chosen)
        else:
            call_command("removesecondfactor", "ann")
            assert "Removed 2 second factors of ann" in capsys.readouterr().out
        assert client.get("/account/").status_code == 302
        assert log_in(browser()).headers["Location"] == "/"
    with pytest.raises(CommandError, match="no user bob"):
        call_command("removesecondfactor", "bob")


def test_who_may_change_users_gets_no_higher(ann, operator, django_user_model):
    clerk = django_user_model.objects.create_user("clerk", password=PASSWORD, is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(content_type__app_label="auth", content_type__model="user"))
    Authenticator.objects.create(user=operator, type="totp", data={"secret": encrypt("JBSWY3DPEHPK3PXP")})
    client, at_work = browser(), browser()
    log_in(client, "clerk")
    at_work.force_login(operator)
    users = "/admin/auth/user/"
    assert (
        client.post(f"{users}{operator.pk}/change/", {"username": "op", "email": "mine@example.com"}).status_code == 403
    )
    assert client.get(f"{users}{operator.pk}/password/").status_code == 403
    assert client.post(f"{users}{operator.pk}/delete/", {"post": "yes"}).status_code == 403
    for action in ("remove_second_factors", "end_sessions", "delete_selected"):
        client.post(users, {"action": action, "_selected_action": [operator.pk], "post": "yes"})
    assert Authenticator.objects.filter(user=operator).exists()
    assert at_work.get("/account/").status_code == 200
    for user in (clerk, ann):
        asked = {"username": user.username, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
        dates = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        assert client.post(f"{users}{user.pk}/change/", asked | dates).status_code == 302
        user.refresh_from_db()
        assert not user.is_superuser
    assert not ann.is_staff


def test_the_admin_shows_no_secrets_of_factors():
    names = {model._meta.label for model in admin.site._registry}
    assert not names & {"mfa.Authenticator", "account.EmailAddress", "account.EmailConfirmation", "accounts.Session"}


# --- confirming ------------------------------------------------------------------------------------------------------


def test_sessions_are_ended_only_after_confirming(ann):
    here, there = browser(), browser("Safari")
    log_in(here)
    log_in(there)
    long_ago()
    asked = here.post("/account/sessions/").headers["Location"]
    assert asked == f"/account/confirm/?next={quote('/account/sessions/', safe='')}"
    assert there.get("/account/").status_code == 200
    assert here.post(asked, {"password": PASSWORD}).headers["Location"] == "/account/sessions/"
    assert there.get("/account/").status_code == 302
    assert here.get("/account/").status_code == 200


@pytest.mark.parametrize("by", ["password", "code"])
def test_confirming_changes_the_sessions_key_and_not_its_end(ann, by):
    client = browser()
    log_in(client)
    secret = set_up_app(client)[0]
    before = Session.objects.get(user=ann)
    if by == "password":
        done = client.post("/account/confirm/?next=/account/", {"password": PASSWORD})
    else:
        done = client.post("/account/confirm/code/?next=/account/", {"code": code(secret, 1)})
    assert done.headers["Location"] == "/account/"
    after = Session.objects.get(user=ann)
    assert after.pk == client.session.session_key != before.pk
    assert after.started_at == before.started_at
    assert client.get("/account/").status_code == 200
    client.cookies["sessionid"] = before.pk
    assert client.get("/account/").status_code == 302


def test_a_key_is_made_only_after_confirming(operator, account):
    client = browser()
    log_in(client, "op")
    path = "/admin/accounts/apikey/add/"
    sent = {"account": account.pk, "name": "new", "scopes": ["casts:read"]}
    assert client.get(path).status_code == 200
    long_ago()
    asked = f"/account/confirm/?next={quote(path, safe='')}"
    assert client.get(path).headers["Location"] == asked
    assert client.post(path, sent).headers["Location"] == asked
    assert not ApiKey.objects.exists()
    assert wrongs(client.post(asked, {"password": "wrong"}))
    assert not ApiKey.objects.exists()
    done = client.post(asked, {"password": PASSWORD})
    assert "sk_live_spl_" in done.text  # what was sent is done now
    assert ApiKey.objects.get().name == "new"
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "get", "post"),
    [
        ("accounts/account/add/", True, True),
        ("accounts/account/{account}/change/", False, True),
        ("accounts/account/{account}/delete/", False, True),
        ("accounts/apikey/", False, True),
        ("auth/user/add/", True, True),
        ("auth/user/{user}/change/", False, True),
        ("auth/user/{user}/password/", True, True),
        ("auth/user/", False, True),
        ("auth/group/add/", True, True),
        ("casts/cast/", False, False),
    ],
)
def test_what_is_confirmed_in_the_admin(operator, account, path, get, post):
    client = browser()
    log_in(client, "op")
    long_ago()
    address = "/admin/" + path.format(account=account.pk, user=operator.pk)
    for method, expected in ((client.get, get), (client.post, post)):
        led = str(method(address).headers.get("Location", "")).startswith("/account/confirm/")
        assert led == expected


def test_no_password_is_laid_aside(operator):
    client = browser()
    log_in(client, "op")
    long_ago()
    client.post(f"/admin/auth/user/{operator.pk}/password/", {"password1": "laid aside", "password2": "laid aside"})
    assert not any("laid aside" in str(session.get_decoded()) for session in Session.objects.all())
    assert User.objects.get().check_password(PASSWORD)


def test_second_factors_are_changed_only_after_confirming(ann):
    client = browser()
    log_in(client)
    _, codes = set_up_app(client)
    long_ago()
    places = (APP + "remove/", CODES + "new/", CODES, "/account/second-factor/passkeys/add/")
    for place in places:
        asked = f"/account/confirm/?next={quote(place, safe='')}"
        assert client.get(place).headers["Location"] == asked, place
        if place != CODES:
            assert client.post(place).headers["Location"].startswith("/account/confirm/"), place
    assert Authenticator.objects.filter(type="totp").exists()
    # A code does as well as the password.
    page = client.get("/account/confirm/").text
    assert "/account/confirm/code/" in page
    assert client.post("/account/confirm/code/", {"code": codes[3]}).status_code == 302
    assert client.get(places[0]).status_code == 200
    client.post(APP + "remove/")
    assert not Authenticator.objects.exists()
    assert log_in(browser()).headers["Location"] == "/"
