"""Who we are to GitHub, and what the App asks for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator
from email.utils import format_datetime
from typing import Any

import pytest
import responses

from github_integration.api import GitHub
from github_integration.connecting.manifest import Asked
from github_integration.details import app_details
from github_integration.doctor import app
from github_integration.doctor.findings import Finding, Level
from localgithub.world import World
from tests.github_integration.doubles import API, DATA

from .conftest import all_ok, event, is_bad, make, one

PEM = str(DATA / "app.pem")


def asked(github: GitHub) -> tuple[list[Finding], Any]:
    """Return what `credentials` yields, and what it returns."""
    found = []
    generator: Generator[Finding, None, Any] = app.credentials(github)
    while True:
        try:
            found.append(next(generator))
        except StopIteration as end:
            return found, end.value


def changed(github: GitHub, **changes: Any) -> GitHub:
    now: dict[str, Any] = {"api_url": github.api_url, "version": "2026-03-10", "timeout": 10, "app_id": "1", "pem": PEM}
    return GitHub(**now | changes)


def test_the_apps_own_key_and_id_are_well(hub):
    found, known = asked(hub)
    assert all_ok(found) == ["private key", "GITHUB_APP_ID"]
    assert "Local spells" in found[1].message
    assert known.id == 1


def test_the_client_id_is_as_good_as_the_app_id(hub):
    assert all_ok(asked(changed(hub, app_id="Iv1.local"))[0])


@pytest.mark.parametrize("pem", ["", "/no/such/key.pem", "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0"])
def test_key_that_cant_be_read_names_the_setting(hub, pem):
    found, known = asked(changed(hub, pem=pem))
    is_bad(one(found, "private key"), Level.PROBLEM, "GITHUB_APP_PRIVATE_KEY", hint="Generate a private key")
    assert (known, len(found)) == (None, 1)
    assert "c2VjcmV0" not in str(found)


def test_no_credentials_at_all_name_the_settings(hub):
    found, known = asked(changed(hub, app_id="", pem=""))
    is_bad(
        one(found, "credentials"), Level.PROBLEM, "GITHUB_TOKEN", hint="Set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY"
    )
    assert known is None


def test_key_of_another_app_is_told_apart_from_a_wrong_id(hub, world: World):
    found, known = asked(changed(hub, app_id="99"))
    is_bad(one(found, "GITHUB_APP_ID"), Level.PROBLEM, "Integration not found", "App 99", hint="“App ID” at the top")
    assert known is None
    other = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMSIQ\n-----END PUBLIC KEY-----"
    world.config.app_public_key = other
    found, known = asked(hub)
    is_bad(one(found, "GITHUB_APP_ID"), Level.PROBLEM, "could not be decoded", hint="of the same App")
    assert "clock" not in str(found)
    assert known is None


@pytest.mark.parametrize("status", [401, 404])
@pytest.mark.parametrize(("seconds", "way"), [(3600, "ahead of"), (-45, "behind")])
def test_wrong_clock_is_what_gets_the_blame(http: responses.RequestsMock, hub, status, seconds, way):
    theirs = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    head = {"Date": format_datetime(theirs, usegmt=True)}
    http.get(f"{API}/app", status=status, json={"message": "'Expiration time' claim ('exp')"}, headers=head)
    found, _ = asked(changed(hub, api_url=API))
    finding = one(found, "GITHUB_APP_ID")
    is_bad(finding, Level.PROBLEM, f"seconds {way} GitHub's", hint="NTP")
    told = int(finding.message.split("clock is ")[1].split()[0])
    assert abs(told - abs(seconds)) <= 2


@pytest.mark.parametrize("date", [None, "yesterday", 0, 20, -20])
def test_clock_that_is_right_or_unknown_is_not_blamed(http: responses.RequestsMock, hub, date):
    if isinstance(date, int):
        date = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=date), usegmt=True)
    head = {} if date is None else {"Date": date}
    http.get(f"{API}/app", status=401, json={"message": "A JSON web token could not be decoded"}, headers=head)
    found, _ = asked(changed(hub, api_url=API))
    is_bad(one(found, "GITHUB_APP_ID"), Level.PROBLEM, hint="GITHUB_APP_PRIVATE_KEY")
    assert "clock" not in str(found)


def test_personal_token_that_works(by_hand):
    found, known = asked(by_hand)
    assert all_ok(found) == ["GITHUB_TOKEN"]
    assert known is None


def test_personal_token_that_github_does_not_know(hub):
    found, _ = asked(changed(hub, app_id="", pem="", personal_token="github_pat_invented"))
    is_bad(one(found, "GITHUB_TOKEN"), Level.PROBLEM, "Bad credentials", hint="Make a new one")
    assert "invented" not in str(found)


def test_personal_token_on_a_server_without_rate_limits(http: responses.RequestsMock, hub):
    http.get(f"{API}/rate_limit", status=404, json={"message": "Rate limiting is not enabled."})
    assert all_ok(asked(changed(hub, api_url=API, app_id="", pem="", personal_token="ghp_x"))[0])


# --- permissions -----------------------------------------------------------------------------------------


def permissions(hub: GitHub, world: World, spells: list[Any], **asks: str) -> list[Finding]:
    world.config.permissions = asks
    return list(app.permissions(hub.app.details(), spells))


MANIFEST = Asked(public_url="https://spells.example.com").manifest("")["default_permissions"]


@pytest.mark.parametrize(
    ("name", "level", "without", "hint"),
    [
        ("checks", "none", "annotations", "Checks, read and write"),
        ("checks", "read", "a commit that changes its repository's spells", "Checks, read and write"),
        ("contents", "none", "no spells are made of workflows", "Contents, read-only"),
    ],
)
def test_what_is_worth_having_is_no_problem_to_miss(hub, world, name, level, without, hint):
    asks = {**MANIFEST, name: level}
    finding = one(permissions(hub, world, [make()], **asks), f"permission {name}")
    is_bad(finding, Level.WARNING, without, hint=hint)


def test_permissions_as_the_manifest_asks_for_them_are_enough(hub, world):
    names = ("actions", "metadata", "checks", "contents")
    assert all_ok(permissions(hub, world, [make()], **MANIFEST)) == [f"permission {name}" for name in names]
    assert all_ok(permissions(hub, world, [make()], **MANIFEST | {"checks": "read"}, statuses="write"))


@pytest.mark.parametrize("asks", [{}, {"actions": "read"}])
def test_app_that_does_not_ask_for_actions_is_a_problem(hub, world, asks):
    finding = one(permissions(hub, world, [], metadata="read", **asks), "permission actions")
    is_bad(finding, Level.PROBLEM, "needs write", hint="Actions, read and write. Then accept the change")
    assert f"{world.config.base_url}/organizations/demo/settings/apps/local-spells" in finding.hint


def test_app_without_metadata_is_a_problem(hub, world):
    is_bad(
        one(permissions(hub, world, [], actions="write"), "permission metadata"),
        Level.PROBLEM,
        hint="Metadata, read-only",
    )


def test_to_write_contents_is_needed_only_for_spells_started_by_an_event(hub, world):
    finding = one(permissions(hub, world, [make(), event()], **MANIFEST), "permission contents")
    is_bad(finding, Level.PROBLEM, "repository_dispatch", hint="Contents, read and write")


def test_contents_that_nobody_needs_to_write_are_a_warning(hub, world):
    asks = MANIFEST | {"contents": "write"}
    finding = one(permissions(hub, world, [make()], **asks), "permission contents")
    is_bad(finding, Level.WARNING, "no spell needs that", hint="Contents, read-only")
    assert "permission contents" in all_ok(permissions(hub, world, [event()], **asks))


@pytest.mark.parametrize(
    ("owner", "page"),
    [
        ({"login": "octo-org", "type": "Organization"}, "https://github.com/organizations/octo-org/settings/apps/s"),
        ({"login": "octocat", "type": "User"}, "https://github.com/settings/apps/s"),
        ({"slug": "an-enterprise"}, "The App's settings"),
        (None, "The App's settings"),
    ],
)
def test_settings_page_follows_from_the_owner(owner, page):
    known = app_details({"owner": owner, "slug": "s", "html_url": "https://github.com/apps/s"})
    assert app.settings_page(known) == page
