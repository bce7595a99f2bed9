"""Passkeys, with a security key in software; tests/browser has a real browser's."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from accounts.audit.models import AuditEntry
from tests.accounts.people import PASSWORD, log_in
from tests.accounts.security_key import HOST, SecurityKey

ADD = "/account/second-factor/passkeys/add/"


@pytest.fixture
def ann(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ann", password=PASSWORD)


def browser() -> Client:
    return Client(SERVER_NAME=HOST)


def offered(page: str) -> dict[str, Any]:
    found = re.search(r'type="application/json">(.*?)</script>', page)
    assert found is not None
    options: dict[str, Any] = json.loads(html.unescape(found[1]))
    return options


def add(client: Client, key: SecurityKey) -> Any:
    return client.post(ADD, {"name": "Key", "credential": key.made(offered(client.get(ADD).text))})


def asked(client: Client) -> dict[str, Any]:
    options: dict[str, Any] = client.get("/login/passkey/", HTTP_ACCEPT="application/json").json()["request_options"]
    return options


def use(client: Client, key: SecurityKey, **more: str) -> Any:
    return client.post("/login/passkey/", {"credential": key.used(asked(client)), **more})


@pytest.fixture
def key(ann: Any) -> SecurityKey:
    """Ann's, which is set up."""
    mine, client = SecurityKey(), browser()
    log_in(client)
    assert add(client, mine).headers["Location"] == "/account/second-factor/codes/"
    return mine


def test_a_passkey_logs_in_by_itself(key):
    client = browser()
    assert use(client, key, next="/account/").headers["Location"] == "/account/"
    assert client.get("/account/").status_code == 200
    assert AuditEntry.objects.filter(action="user.login").latest("id").after == {"by": ["webauthn"]}
    assert use(browser(), key, next="//evil.example").headers["Location"] == "/"


def test_and_after_the_password(key):
    client = browser()
    assert log_in(client, next="/account/").headers["Location"] == "/login/code/"
    options = offered(client.get("/login/code/").text)
    assert client.post("/login/code/", {"credential": key.used(options)}).headers["Location"] == "/account/"


def test_what_has_not_checked_its_owner_is_a_second_factor_only(ann):
    key, client = SecurityKey(verified=False), browser()
    log_in(client)
    add(client, key)
    alone = browser()
    assert use(alone, key).headers["Location"] == "/login/"
    assert alone.get("/account/").status_code == 302
    log_in(alone)
    options = offered(alone.get("/login/code/").text)
    assert alone.post("/login/code/", {"credential": key.used(options)}).headers["Location"] == "/"


def test_what_is_not_this_logins_opens_nothing(key, django_user_model):
    bob = django_user_model.objects.create_user("bob", password=PASSWORD)
    client, foreign = browser(), SecurityKey()
    foreign.user = key.user
    assert use(client, foreign).headers["Location"] == "/login/"  # a key that nobody has added
    used = key.used(asked(client))
    browser().get("/login/")
    other = browser()
    asked(other)
    assert other.post("/login/passkey/", {"credential": used}).headers["Location"] == "/login/"  # of another challenge
    key.origin = "https://localhost.evil.example"
    assert use(client, key).headers["Location"] == "/login/"  # of another site
    key.origin = f"http://{HOST}"
    for bad in ("{}", "[]", "null", '"x"', "no", '{"response": {"userHandle": "!"}}', '{"response": null}'):
        asked(client)
        assert client.post("/login/passkey/", {"credential": bad}).headers["Location"] == "/login/", bad
    bobs = browser()
    log_in(bobs, "bob")
    theirs = SecurityKey()
    add(bobs, theirs)
    theirs.user = key.user  # it says that it is Ann's
    assert use(client, theirs).headers["Location"] == "/login/"
    assert client.get("/account/").status_code == 302
    assert Authenticator.objects.filter(user=bob, type="webauthn").count() == 1


def test_a_deactivated_users_passkey_opens_nothing(key, ann):
    ann.is_active = False
    ann.save()
    client = browser()
    assert use(client, key).headers["Location"] == "/login/"
    assert "This login is closed" in client.get("/login/").text
    assert client.get("/account/").status_code == 302


def test_one_passkey_is_used_up_by_no_other_challenge(key):
    client = browser()
    options = asked(client)
    sent = {"credential": key.used(options)}
    assert client.post("/login/passkey/", sent).headers["Location"] == "/"
    client.post("/logout/")
    assert client.post("/login/passkey/", sent).headers["Location"] == "/login/"


def test_removing_one_asks_first(key):
    client = browser()
    use(client, key)
    number = Authenticator.objects.get(type="webauthn").pk
    path = f"/account/second-factor/passkeys/{number}/remove/"
    assert "Remove Key?" in client.get(path).text
    assert client.post(path).headers["Location"] == "/account/second-factor/"
    assert not Authenticator.objects.exists()
    assert client.post(path).status_code == 404
