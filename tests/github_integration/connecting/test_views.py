"""The operators' page that makes the App: for superusers, with a state that counts once, and never a secret shown."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.audit.models import AuditEntry
from core.files import alone_in
from github_integration.connecting.places import APP_ID, KEY, place_of

from .test_exchange import ANSWER, HIDDEN, PEM, URL

CONNECT, CONNECTED = "/github/connect/", "/github/connected/"
FORM = {"organization": "acme", "name": "Ours", "webhooks": "on"}


@pytest.fixture
def file(tmp_path: Path, settings: Any) -> Path:
    settings.GITHUB_APP_ID, settings.GITHUB_CONNECT_PATH = "", str(tmp_path / "here.env")
    settings.GITHUB_API_URL, settings.PUBLIC_URL = "https://api.github.com", "https://spells.example.com"
    return tmp_path / "here.env"


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="a long pass phrase"))
    return client


def sent(client: Client, **more: str) -> tuple[str, dict[str, Any], Any]:
    """Send our form; return the state and the manifest that GitHub's form holds, and the page."""
    page = client.post(CONNECT, FORM | more)
    assert page.status_code == 200, page.content
    text = page.content.decode()
    action = next(one for one in re.findall(r'action="([^"]+)"', text) if "github.com" in one)
    manifest = json.loads(html.unescape(re.findall(r'name="manifest" value="([^"]+)"', text)[0]))
    assert action.startswith("https://github.com/organizations/acme/settings/apps/new?")
    return parse_qs(urlsplit(html.unescape(action)).query)["state"][0], manifest, page


def test_from_the_form_to_credentials_that_nobody_is_shown(root: Client, file: Path, http: responses.RequestsMock):
    assert "form-action 'self'" in root.get(CONNECT)["Content-Security-Policy"]
    state, manifest, page = sent(root)
    assert re.search(r"form-action ('self' )?https://github\.com(;|$)", page["Content-Security-Policy"])
    assert manifest["redirect_url"] == f"https://spells.example.com{CONNECTED}"
    assert manifest["hook_attributes"]["url"] == "https://spells.example.com/api/webhooks/github"
    http.post(URL, json=ANSWER | HIDDEN, status=201)
    answer = root.get(CONNECTED, {"code": "good", "state": state})
    assert answer.status_code == 200, answer.content
    shown = answer.content.decode()
    assert "https://github.com/apps/ours/installations/new" in shown
    assert not [one for one in (PEM[100:150], *HIDDEN.values()) if one in shown]
    found = place_of(str(file)).read()
    assert (found[APP_ID], found[KEY]) == ("7", PEM)
    [entry] = AuditEntry.objects.filter(action="github.connect")
    assert (entry.actor, entry.object_id) == ("root", "7")
    assert HIDDEN["webhook_secret"] not in json.dumps(entry.after)
    again = root.get(CONNECTED, {"code": "good", "state": state})
    assert (again.status_code, len(http.calls)) == (400, 1)


@pytest.mark.parametrize("how", ["forged", "none", "of another session", "no code", "too late", "somebody else writes"])
def test_an_answer_that_is_not_to_our_form_changes_nothing(
    root: Client, file: Path, http: responses.RequestsMock, how: str
):
    state, _, _ = sent(root)
    asked = {"code": "good", "state": state}
    client = root
    if how == "forged":
        asked["state"] = state[:-1] + ("A" if state[-1] != "A" else "B")
    elif how == "none":
        del asked["state"]
    elif how == "of another session":
        client = Client()
        client.force_login(User.objects.create_superuser("other"))
    elif how == "no code":
        asked["code"] = "../app"
    elif how == "too late":
        session = root.session
        session["github_connect"] = session["github_connect"] | {"at": time.time() - 3601}
        session.save()
    if how == "somebody else writes":
        with alone_in(file.parent):
            answer = client.get(CONNECTED, asked)
    else:
        answer = client.get(CONNECTED, asked)
    assert (answer.status_code, file.exists(), len(http.calls)) == (400, False, 0)


def test_a_second_app_is_made_only_if_it_is_meant(root: Client, file: Path, settings: Any):
    settings.GITHUB_APP_ID = "5"
    assert b"There is an App already" in root.post(CONNECT, FORM).content
    sent(root, instead="on")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"organization": "a/b"}, "organization"),
        ({"organization": "x' onx="}, "organization"),
        ({"name": "x" * 35}, "34 characters"),
        ({"name": "a\u202eb"}, "34 characters"),
    ],
)
def test_what_github_would_refuse_is_said_here(root: Client, file: Path, form: dict[str, str], said: str):
    answer = root.post(CONNECT, FORM | form)
    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_nothing_is_written_where_nothing_says_that_it_may(root: Client, file: Path, settings: Any):
    settings.GITHUB_CONNECT_PATH = ""
    for answer in (root.get(CONNECT), root.post(CONNECT, FORM), root.get(CONNECTED, {"code": "a", "state": "b"})):
        assert b"connectgithub" in answer.content or answer.status_code == 400
    settings.GITHUB_CONNECT_PATH = str(file.parent / "nowhere" / ".env")
    assert root.post(CONNECT, FORM).status_code == 400


def test_who_has_not_shown_a_password_lately_is_asked_first(root: Client, file: Path, settings: Any):
    settings.REAUTHENTICATE_SECONDS = -1
    for answer in (root.get(CONNECT), root.post(CONNECT, FORM), root.get(CONNECTED, {"code": "a", "state": "b"})):
        assert answer.status_code == 302
        assert reverse("account_reauthenticate") in answer["Location"]
