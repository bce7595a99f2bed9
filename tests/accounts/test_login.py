"""Logging in and out, and passwords."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client, TestCase

from accounts import attempts
from accounts.pages import mailer
from core.errors import SpellError
from tests.accounts.people import PASSWORD, browser, log_in, set_up_app, wrongs

NEW = "another horse battery"


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", "Ann@example.com", PASSWORD)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What `attempts` was told, in order."""
    heard: list[tuple[str, str]] = []
    for name in ("before", "failed", "passed"):
        monkeypatch.setattr(attempts, name, lambda request, who, name=name: heard.append((name, who)))
    return heard


@pytest.mark.parametrize("login", ["ann", "ann@example.com", "ANN@EXAMPLE.COM"])
def test_a_member_logs_in_by_name_or_mail_address(ann, login, told):
    client = browser()
    assert log_in(client, login).headers["Location"] == "/"
    assert client.get("/").headers["Location"] == "/home/"
    assert told == [("before", login), ("passed", login)]


def test_an_operator_is_led_to_the_admin(django_user_model):
    django_user_model.objects.create_user("ann", password=PASSWORD, is_staff=True)
    client = browser()
    log_in(client)
    assert client.get("/").headers["Location"] == "/admin/"


def test_who_may_not_gets_one_answer_whatever_is_wrong(ann, django_user_model, told):
    django_user_model.objects.create_user("gone", password=PASSWORD, is_active=False)
    said = {
        re.sub(r'value="[^"]*"', "", wrongs(log_in(browser(), *tried)))
        for tried in (("ann", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD), ("no@example.com", PASSWORD))
    }
    assert len(said) == 1
    assert said != {""}
    assert [name for name, _ in told] == ["before", "failed"] * 4


def test_two_people_with_one_mail_address_log_in_by_name_only(ann, django_user_model):
    django_user_model.objects.create_user("bob", "ann@example.com", NEW)
    assert wrongs(log_in(browser(), "ann@example.com"))
    assert log_in(browser(), "bob", NEW).status_code == 302


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/casts/0/?a=b", "/casts/0/?a=b"),
        ("http://testserver/account/", "http://testserver/account/"),
        *((bad, "/") for bad in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)")),
        *((bad, "/") for bad in ("http://localhost/", "///evil.example", "https:evil.example", "http:///evil.example")),
    ],
)
def test_after_the_login_one_is_led_on_and_never_elsewhere(ann, wanted, led_to):
    assert log_in(browser(), next=wanted).headers["Location"] == led_to


def test_confirming_and_logging_out_lead_nowhere_else_either(ann):
    client = browser()
    log_in(client)
    for bad in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        assert client.post("/account/confirm/", {"password": PASSWORD, "next": bad}).headers["Location"] == "/"
    assert client.post("/logout/", {"next": "//evil.example"}).headers["Location"] == "/login/"


def test_the_admins_own_login_is_this_one(ann, django_user_model):
    operator = django_user_model.objects.create_user("op", password=PASSWORD, is_staff=True)
    client = browser()
    asked = {"username": "op", "password": PASSWORD}
    for answer in (
        client.get("/admin/login/?next=/admin/auth/"),
        client.post("/admin/login/?next=/admin/auth/", asked),
    ):
        assert answer.headers["Location"] == "/login/?next=/admin/auth/"
    client.force_login(operator)
    # Not even for who is inside: it would log in as somebody else without a second factor.
    assert client.post("/admin/login/", {"username": "ann", "password": PASSWORD}).headers["Location"] == "/admin/"
    assert client.get("/admin/login/?next=//evil.example").headers["Location"] == "/admin/"
    client.force_login(ann)
    refused = client.get("/admin/login/?next=/admin/")
    assert refused.status_code == 403
    assert "You are logged in as ann" in refused.text


def test_logging_out_takes_a_post(ann):
    client = browser()
    log_in(client)
    assert "Log out?" in client.get("/logout/").text
    assert client.get("/account/").status_code == 200
    done = client.post("/logout/")
    assert (done.headers["Location"], done.headers["Clear-Site-Data"]) == ("/login/", '"cache", "storage"')
    assert client.get("/account/").headers["Location"] == "/login/?next=/account/"


def test_the_browser_forgets_what_it_kept_also_when_one_leaves_from_the_admin(admin_client):
    assert "Clear-Site-Data" not in admin_client.get("/admin/").headers
    assert admin_client.post("/admin/logout/").headers["Clear-Site-Data"] == '"cache", "storage"'


def test_forms_of_other_sites_are_refused(ann):
    client = Client(enforce_csrf_checks=True)
    assert log_in(client).status_code == 403


@pytest.mark.parametrize("path", ["/login/", "/password/", "/account/confirm/", "/account/password/", "/login/code/"])
def test_an_attempt_too_many_is_refused_before_it_is_checked(ann, path, monkeypatch):
    class TooMany(SpellError):
        status = 429

    def refuse(request: Any, who: str) -> None:
        raise TooMany("Wait a minute.", headers={"Retry-After": "60"})

    client = browser()
    if path == "/login/code/":
        other = browser()
        log_in(other)
        set_up_app(other)
        log_in(client)
    elif path.startswith("/account/"):
        client.force_login(ann)
    monkeypatch.setattr(attempts, "before", refuse)
    sent = {"login": "ann", "password": PASSWORD, "old_password": PASSWORD, "code": "123456", "email": "a@example.com"}
    answer = client.post(path, sent)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "Wait a minute." in answer.text


def test_nobody_signs_up(client):
    for path in ("/signup/", "/accounts/signup/", "/login/signup/", "/account/signup/"):
        assert client.get(path).status_code == 404
    assert "sign up" not in client.get("/login/").text.lower()


# --- passwords -------------------------------------------------------------------------------------------------------


def test_what_changes_of_a_login_is_told_by_mail(ann):
    client = browser("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    log_in(client)
    set_up_app(client)
    with TestCase.captureOnCommitCallbacks(execute=True):
        client.post("/account/second-factor/codes/new/")
    client.post("/account/second-factor/app/remove/")
    client.post("/account/password/", {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})
    assert [letter.subject for letter in letters()] == [
        "An app for codes was added to your login",
        "New recovery codes were made for your login",
        "An app for codes was removed from your login",
        "Your password was changed",
    ]
    assert "from 127.0.0.1 (Firefox on Linux)" in str(letters()[0].body)
    assert letters()[0].to == ["Ann@example.com"]


def letters() -> list[mail.EmailMessage]:
    mailer.later(lambda: None)
    mailer._thread().submit(lambda: None).result()  # what was sent before is sent
    return list(mail.outbox)


def test_a_forgotten_password_is_set_anew_by_mail(ann):
    client, elsewhere = browser(), browser("Safari")
    log_in(elsewhere)
    assert client.post("/password/", {"email": "ANN@example.com"}).headers["Location"] == "/password/sent/"
    letter = letters()[0]
    assert (letter.to, letter.subject) == (["Ann@example.com"], "Set a new password")
    link = re.search(r"http://testserver(/password/new/\S+)", str(letter.body))
    assert link is not None
    form = client.get(link[1]).headers["Location"]
    assert "set-password" in form  # what the link says is not in the page's address
    for bad, why in (("short", "at least 12"), ("passwordpassword", ""), ("password1234", "too common")):
        answer = client.post(form, {"new_password1": bad, "new_password2": bad + ("" if why else "x")})
        assert why in wrongs(answer)
        assert answer.status_code == 200
    assert client.post(form, {"new_password1": NEW, "new_password2": NEW}).headers["Location"] == "/login/"
    assert log_in(browser(), password=PASSWORD).status_code == 200
    assert log_in(browser(), password=NEW).status_code == 302
    assert elsewhere.get("/account/").status_code == 302
    assert [letter.subject for letter in letters()][1:] == ["Your password was changed"]
    again = browser()
    assert "open any more" in again.get(link[1]).text


def test_who_is_new_sets_the_first_password_by_mail(django_user_model):
    new = django_user_model.objects.create_user("new", "new@example.com")  # as the admin does without a password
    assert not new.has_usable_password()
    client = browser()
    client.post("/password/", {"email": "NEW@example.com"})
    [letter] = letters()
    link = re.search(r"http://testserver(/password/new/\S+)", str(letter.body))
    assert link is not None
    form = client.get(link[1]).headers["Location"]
    assert client.post(form, {"new_password1": NEW, "new_password2": NEW}).headers["Location"] == "/login/"
    assert log_in(browser(), "new", NEW).status_code == 302
    new.refresh_from_db()
    new.set_unusable_password()
    new.save()
    client.post("/password/", {"email": "new@example.com"})
    assert [one.subject for one in letters()] == ["Set a new password", "Your password was changed"]  # and none since


def test_the_form_for_forgotten_passwords_tells_nobody_who_exists(ann, django_user_model):
    django_user_model.objects.create_user("gone", "gone@example.com", PASSWORD, is_active=False)
    answers = [browser().post("/password/", {"email": f"{who}@example.com"}) for who in ("ann", "nobody", "gone")]
    assert len({(answer.status_code, answer.headers["Location"], answer.text) for answer in answers}) == 1
    assert [letter.to for letter in letters()] == [["Ann@example.com"]]


def test_a_password_is_changed_with_the_old_one_and_other_sessions_end(ann, told):
    client, elsewhere = browser(), browser("Safari")
    for each in (client, elsewhere):
        log_in(each)
    told.clear()
    path, new = "/account/password/", {"new_password1": NEW, "new_password2": NEW}
    assert wrongs(client.post(path, {"old_password": "wrong", **new}))
    assert client.post(path, {"old_password": PASSWORD, **new}).headers["Location"] == "/account/"
    assert [name for name, _ in told] == ["before", "failed", "before", "passed"]
    assert client.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302
    assert client.get("/account/sessions/").text.count('class="card"') == 1
    assert set(client.cookies) == {"sessionid", "csrftoken"}  # what is said once, such as "changed", is in the session


def test_commands_keep_to_the_rules_for_passwords(db, monkeypatch, django_user_model):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, username="root", email="root@example.com", verbosity=0)
    assert log_in(browser(), "root").status_code == 302
    monkeypatch.setattr("getpass.getpass", lambda prompt: "password")
    with pytest.raises(CommandError, match="Aborting"):
        call_command("changepassword", "root")
