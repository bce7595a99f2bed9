"""The page on this machine: only the answer to its own form counts, once, and only for who asks it by its address."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from github_integration.connecting.local_page import LocalPage
from github_integration.connecting.manifest import Asked

GET: dict[str, Any] = {"timeout": 20, "allow_redirects": False}


@pytest.fixture
def page() -> Iterator[LocalPage]:
    serving = LocalPage(Asked(organization="acme", public_url="https://spells.example.com"), 0)
    yield serving
    serving.close()


def form(page: LocalPage) -> tuple[str, dict[str, Any], requests.Response]:
    answer = requests.get(page.start_address, **GET)
    action = html.unescape(re.findall(r'action="([^"]+)"', answer.text)[0])
    return action, json.loads(html.unescape(re.findall(r'name="manifest" value="([^"]+)"', answer.text)[0])), answer


def test_an_answer_to_its_form_counts_once_and_leads_on(page: LocalPage):
    action, manifest, answer = form(page)
    base, state = action.split("?state=")
    assert base == "https://github.com/organizations/acme/settings/apps/new"
    assert "form-action https://github.com;" in answer.headers["Content-Security-Policy"]
    connected = manifest["redirect_url"]

    def taken() -> None:
        page.answers.get(timeout=20).lead_to("https://github.com/apps/x/installations/new")

    taking = threading.Thread(target=taken)
    taking.start()
    for forged in ("", f"{state}x", state[:-1], "\u00e9"):
        assert requests.get(connected, params={"code": "c0de", "state": forged}, **GET).status_code == 400
    assert requests.get(connected, params={"code": "no/code", "state": state}, **GET).status_code == 400
    led = requests.get(connected, params={"code": "c0de", "state": state}, **GET)
    taking.join()
    assert (led.status_code, led.headers["Location"]) == (303, "https://github.com/apps/x/installations/new")
    again = requests.get(connected, params={"code": "c0de", "state": state}, **GET)
    assert (again.status_code, page.answers.empty()) == (400, True)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""])
def test_a_name_that_was_made_to_lead_here_gets_nothing(page: LocalPage, host: str):
    port = page.address.rsplit(":", 1)[1]
    for address in (page.start_address, f"{page.address}/github/connected/?code=a&state=b"):
        answer = requests.get(address, headers={"Host": host.format(port=port)}, **GET)
        assert answer.status_code in (400, 403)
        assert "manifest" not in answer.text


def test_what_is_not_told_opens_nothing_and_nothing_else_is_taken(page: LocalPage):
    for path in ("/", "/github/connected", "/x/", "/%2e%2e/"):
        answer = requests.get(page.address + path, **GET)
        assert (answer.status_code, "manifest" in answer.text) == (404, False)
    assert requests.post(page.start_address, **GET).status_code == 501
    assert requests.get(f"{page.address}/github/installed/?installation_id=<b>", **GET).status_code == 200
