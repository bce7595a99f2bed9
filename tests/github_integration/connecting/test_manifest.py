"""What is sent to GitHub, at whichever GitHub, with or without an address that it can reach."""

from __future__ import annotations

from typing import Any

import pytest
import responses

from github_integration import errors
from github_integration.api import GitHub
from github_integration.connecting import waiting
from github_integration.connecting.manifest import Asked, github_of, origin_of
from tests.github_integration.doubles import API


@pytest.mark.parametrize(
    ("github", "api"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://ghe.example.com:8443", "https://ghe.example.com:8443/api/v3"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://localhost:8081", "http://localhost:8081"),
    ],
)
def test_pages_and_api_of_each_github_belong_together(github: str, api: str):
    assert (Asked(github=github).api_url, github_of(api)) == (api, github)


def test_without_an_address_that_github_reaches_none_is_named_that_it_would_refuse():
    here = Asked(organization="acme", public_url="http://127.0.0.1:8000", webhooks=False, repository_dispatch=True)
    made = here.manifest("http://127.0.0.1:8000/github/connected/")
    assert made["url"] == "https://github.com/acme"
    assert not {"hook_attributes", "default_events"} & made.keys()
    assert made["default_permissions"]["contents"] == "write"


@pytest.mark.parametrize("text", ["", "github.com", "ftp://x", "https://", "https://a@b", "https://a:0", "https://a b"])
def test_what_is_no_web_address_has_no_origin(text: str):
    assert origin_of(text) == ""


def test_servers_that_do_not_know_the_new_app_yet_are_waited_for(
    hub: GitHub, http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    url = f"{API}/app/installations"
    for status in (401, 404):
        http.get(url, status=status, json={"message": f"not yet {status}"})
    http.get(url, json=[])
    quick: dict[str, Any] = {"seconds": 0, "tell": told.append, "nap": lambda seconds: None}
    assert waiting.installations(hub, **quick) == []
    assert told == ["not yet 401", "not yet 404"]
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    http.replace(responses.GET, url, status=401, json={"message": "never"})
    with pytest.raises(errors.AuthFailed):
        waiting.installations(hub, **quick)
