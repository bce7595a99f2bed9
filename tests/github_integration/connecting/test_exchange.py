"""A code counts once: whatever ends us between two lines, the next run ends it, or says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from core import files
from github_integration import errors
from github_integration.connecting import places
from github_integration.connecting.exchange import Exchange, Lost, code_of, installation_page, printable
from github_integration.connecting.manifest import Asked, BadAnswer
from github_integration.connecting.places import APP_ID, KEY, CantWrite, place_of
from tests.github_integration.doubles import API, DATA

PEM = (DATA / "app.pem").read_text()
ANSWER = {"id": 7, "slug": "ours", "name": "Ours", "html_url": "https://github.com/apps/ours", "pem": PEM}
HIDDEN = {"webhook_secret": "hook-secret-0123456789", "client_secret": "client-secret"}
URL = f"{API}/app-manifests/good/conversions"
ASKED = Asked(organization="acme")


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(place_of(str(tmp_path / ".env")))


def test_a_code_becomes_credentials_in_one_place(exchange: Exchange, http: responses.RequestsMock):
    http.post(URL, json=ANSWER | HIDDEN, status=201)
    app = exchange.run(ASKED, "good", secret_key=True)
    assert "Authorization" not in http.calls[0].request.headers
    found = exchange.place.read()
    assert (found[APP_ID], found[KEY]) == ("7", PEM)
    assert found["GITHUB_WEBHOOK_SECRET"] == HIDDEN["webhook_secret"]
    assert len(found["SECRET_KEY"]) > 50
    assert "GITHUB_API_URL" not in found
    assert not exchange.journal.exists()
    assert "PRIVATE" not in repr(app)
    assert HIDDEN["webhook_secret"] not in repr(app)


def test_whoever_is_ended_before_writing_goes_on_without_asking_again(
    exchange: Exchange, http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
):
    http.post(URL, json=ANSWER, status=201)
    with monkeypatch.context() as full:
        full.setattr(places, "write_whole", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(CantWrite, match="No space left"):
            exchange.run(ASKED, "good", secret_key=False)
    assert APP_ID not in exchange.place.read()
    assert exchange.journal.stat().st_mode & 0o777 == 0o600
    app = Exchange(exchange.place).go_on(secret_key=False)
    assert app is not None
    assert exchange.place.read()[APP_ID] == "7"
    assert len(http.calls) == 1
    assert Exchange(exchange.place).go_on(secret_key=False) is None


def test_a_code_that_did_not_get_through_is_tried_again_by_the_next_run(
    exchange: Exchange, http: responses.RequestsMock, naps: list[float], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    http.post(URL, body=requests.ConnectionError("reset"))
    with pytest.raises(errors.Unavailable):
        exchange.run(ASKED, "good", secret_key=False)
    assert [getattr(record, "path", "") for record in caplog.records] == ["/app-manifests/…/conversions"] * 2
    http.replace(responses.POST, URL, json=ANSWER, status=201)
    assert exchange.go_on(secret_key=False) is not None


def test_a_code_may_be_given_up_and_credentials_may_not(exchange: Exchange):
    for step, left in (("code", False), ("answer", True)):
        files.write_whole(exchange.journal, json.dumps({"asked": ASKED.as_kept(), "step": step, "answer": ANSWER}))
        exchange.forget_code()
        assert exchange.journal.exists() is left


@pytest.mark.parametrize("when", ["it counted", "an hour ago", "no key in it"])
def test_credentials_that_are_lost_are_said_to_be_with_what_to_do(
    exchange: Exchange, http: responses.RequestsMock, when: str
):
    http.post(URL, **({"json": ANSWER | {"pem": None}} if when == "no key in it" else {"status": 404, "json": {}}))
    files.write_whole(
        exchange.journal,
        json.dumps({"asked": ASKED.as_kept(), "step": "code", "code": "good", "at": 0 if when[:2] == "an" else 1e11}),
    )
    with pytest.raises(Lost, match="organizations/acme/settings/apps"):
        exchange.go_on(secret_key=False)
    assert len(http.calls) == (0 if when == "an hour ago" else 1)
    assert exchange.go_on(secret_key=False) is None
    assert exchange.place.read() == {}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("abc123", ("abc123", "")),
        (" http://127.0.0.1:8000/github/connected/?code=abc&state=xyz ", ("abc", "xyz")),
        ("", None),
        ("a/../b", None),
        ("http://127.0.0.1/?state=x", None),
    ],
)
def test_a_code_may_be_given_with_its_address(given: str, found: Any):
    if found is None:
        with pytest.raises(BadAnswer):
            code_of(given)
    else:
        assert code_of(given) == found


def test_the_browser_is_sent_to_no_other_host_than_the_one_that_was_asked():
    page = installation_page
    assert page("https://github.com", "https://github.com/apps/x", "x") == "https://github.com/apps/x/installations/new"
    for bad in ("https://evil.example/apps/x", "https://github.com@evil.example/", "javascript:alert(1)", ""):
        assert page("https://github.com", bad, "x") == "https://github.com/apps/x/installations/new"
    assert page("https://ghe.example", "", "x") == "https://ghe.example/github-apps/x/installations/new"


def test_names_of_others_do_nothing_in_a_terminal():
    assert printable("a\x1b[31m\r\nb\u202ec") == "a�[31m��b�c"
