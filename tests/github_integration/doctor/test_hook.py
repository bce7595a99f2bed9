"""Whether webhooks reach us, as far as GitHub can tell."""

from __future__ import annotations

import time
from typing import Any

import pytest
import responses

from github_integration.api import GitHub
from github_integration.doctor import hook
from github_integration.doctor.findings import Finding, Level
from github_integration.transport import Call
from localgithub.world import World
from tests.github_integration.doubles import API, answer, free_port, loopback

from .conftest import all_ok, delivered, is_bad, one

PUBLIC = "https://spells.example.com/api/webhooks/github"
HERE = "http://127.0.0.1:8000/api/webhooks/github"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "LOOK_EVERY", 0.02)


def check(hub: GitHub, address: str = PUBLIC, *, ping: float = 0, secret_set: bool = True) -> list[Finding]:
    return list(hook.check(hub, hub.app.details(), address=address, secret_set=secret_set, ping_seconds=ping))


@pytest.fixture
def sound(world: World) -> World:
    """A webhook that is set up as it should be, and whose newest delivery arrived."""
    world.hooks.url = PUBLIC
    delivered(world)
    return world


def test_sound_webhook_has_nothing_to_say(hub, sound):
    assert all_ok(check(hub)) == [
        *("URL", "content type", "certificate", "secret"),
        *("event workflow_run", "event workflow_job", "event push", "deliveries"),
    ]


def test_without_our_secret_every_delivery_is_refused(hub, sound):
    finding = one(check(hub, secret_set=False), "our secret")
    is_bad(finding, Level.PROBLEM, "GITHUB_WEBHOOK_SECRET is not set", hint="Webhook → Secret")


# --- its settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [PUBLIC + "/", "https://spells.example.com/", "https://other.example.com/api"])
def test_other_address_is_a_problem_that_names_both(hub, sound, url):
    sound.hooks.url = url
    is_bad(one(check(hub), "URL"), Level.PROBLEM, url, f"we listen at {PUBLIC}", hint=f"URL: {PUBLIC}")


def test_what_may_be_secret_in_an_address_is_not_shown(hub, sound):
    sound.hooks.url = "https://user:pa55word@other.example.com/hook?token=s3cret"
    found = check(hub)
    is_bad(one(found, "URL"), Level.PROBLEM, "https://other.example.com/hook", hint="URL")
    assert "pa55word" not in str(found)
    assert "s3cret" not in str(found)


def test_app_without_webhook_is_a_problem_where_there_could_be_one(hub, world):
    found = check(hub)
    is_bad(one(found, "URL"), Level.PROBLEM, "no webhook", "Casts come right all the same", hint=PUBLIC)
    assert len(found) == 1


def test_form_bodies_are_a_problem(hub, sound):
    sound.hooks.content_type = "form"
    is_bad(one(check(hub), "content type"), Level.PROBLEM, "415", hint="application/json")


@pytest.mark.parametrize("value", ["1", 1])
def test_unchecked_certificate_is_a_warning(hub, sound, value):
    sound.hooks.insecure_ssl = value
    is_bad(one(check(hub), "certificate"), Level.WARNING, "read along", hint="SSL verification: enable")


def test_plain_http_is_a_warning(hub, sound):
    address = sound.hooks.url = PUBLIC.replace("https", "http")
    is_bad(one(check(hub, address), "certificate"), Level.WARNING, "plain http", hint="https://")


def test_webhook_without_secret_is_a_problem(hub, sound):
    sound.hooks.secret = ""
    is_bad(one(check(hub), "secret"), Level.PROBLEM, "nothing is signed", hint="the text in GITHUB_WEBHOOK_SECRET")


def test_secret_itself_is_never_shown(hub, sound):
    assert sound.hooks.secret not in str(check(hub))


@pytest.mark.parametrize(("name", "title"), [("workflow_run", "Workflow run"), ("workflow_job", "Workflow job")])
def test_event_that_is_not_subscribed_is_a_problem(hub, sound, name, title):
    sound.config.events = [event for event in sound.config.events if event != name]
    is_bad(one(check(hub), f"event {name}"), Level.PROBLEM, "not subscribed", hint=f"tick “{title}”")


def test_pushes_that_are_not_told_of_are_noticed_later(hub, sound):
    sound.config.events = ["workflow_run", "workflow_job"]
    is_bad(one(check(hub), "event push"), Level.WARNING, "a little later", hint="tick “Push”")


# --- addresses that GitHub can't reach ---------------------------------------------------------------------


def at_github_com(http: responses.RequestsMock, hub: GitHub, url: str, deliveries: Any = ()) -> GitHub:
    """Be at github.com, with a webhook at this address."""
    http.get(f"{API}/app", json=hub.auth.as_app(Call("GET", "/app")).json())
    config = {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": "********"}
    http.get(f"{API}/app/hook/config", json=config if url else {})
    http.get(f"{API}/app/hook/deliveries", json=list(deliveries))
    for one_of_them in deliveries:
        http.get(f"{API}/app/hook/deliveries/{one_of_them['id']}", json=one_of_them | {"url": url})
    hub.api_url = hub.transport.api_url = API
    return hub


@pytest.fixture
def outside(http: responses.RequestsMock, hub: GitHub) -> GitHub:
    """The client of the local GitHub, before it is moved to github.com."""
    http.add_passthru("http://127.0.0.1")
    return hub


def test_laptop_without_webhook_gets_one_warning_that_nothing_is_lost(http, outside):
    found = check(at_github_com(http, outside, ""), HERE)
    assert len(found) == 1
    is_bad(one(found, "PUBLIC_URL"), Level.WARNING, "can't reach", "by asking", hint="On a laptop, nothing")


def test_laptop_whose_webhook_goes_nowhere_has_warnings_but_no_problem(http, outside):
    line = {
        "id": 1,
        "guid": "0b989ba4-242f-11e5-81e1-c7b6966d2516",
        "event": "ping",
        "delivered_at": "2026-11-23T12:00:00Z",
        "status": "failed to connect to host",
        "status_code": 502,
    }
    found = check(at_github_com(http, outside, HERE, [line]), HERE)
    assert {finding.level for finding in found} == {Level.OK, Level.WARNING}
    is_bad(one(found, "deliveries"), Level.WARNING, "not delivered (failed to connect", hint="web process running?")


def test_tunnel_to_a_laptop_may_have_another_address(http, outside):
    finding = one(check(at_github_com(http, outside, "https://tunnel.example.com/x"), HERE), "URL")
    is_bad(finding, Level.WARNING, "tunnel.example.com", hint="Leave it if a tunnel leads from there to here")


@pytest.mark.parametrize(
    ("address", "api_url", "expected"),
    [
        (PUBLIC, API, True),
        (HERE, API, False),
        ("http://localhost:8000/x", API, False),
        ("http://[::1]:8000/x", API, False),
        ("http://192.168.1.7/x", "https://api.octocorp.ghe.com", False),
        ("http://192.168.1.7/x", "https://github.example.com/api/v3", True),
        ("http://spells/x", API, False),
        ("https://spells.internal/x", API, False),
        ("https://8.8.8.8/x", API, True),
        ("http://localhost:8000/x", "https://github.example.com/api/v3", False),
        (HERE, "http://127.0.0.1:8081", True),
        (PUBLIC, "http://127.0.0.1:8081", True),
    ],
)
def test_which_addresses_a_github_can_reach(address, api_url, expected):
    assert hook.can_reach(address, api_url) is expected


# --- what became of deliveries -----------------------------------------------------------------------------


def newest(hub: GitHub) -> Finding:
    return one(check(hub), "deliveries")


def test_no_delivery_yet_is_said(hub, world):
    world.hooks.url = PUBLIC
    is_bad(newest(hub), Level.WARNING, "nothing yet", hint="sends a ping")


@pytest.mark.parametrize(
    ("code", "status", "said", "hint"),
    [
        (401, "Invalid HTTP Response: 401", "signed with another secret", "the very text of GITHUB_WEBHOOK_SECRET"),
        (404, "Invalid HTTP Response: 404", "answered with 404", "/api/webhooks/github"),
        (413, "Invalid HTTP Response: 413", "answered with 413", "client_max_body_size"),
        (415, "Invalid HTTP Response: 415", "answered with 415", "application/json"),
        (301, "OK", "answered with 301", "no redirects"),
        (500, "Invalid HTTP Response: 500", "answered with 500", "log of the web process"),
        (502, "Invalid HTTP Response: 502", "answered with 502", "proxy"),
        (502, "failed to connect to host", "not delivered (failed to connect to host)", "Is the web process running?"),
        (504, "timed out", "not delivered (timed out)", "Is the web process running?"),
        (0, "peer certificate invalid", "not delivered (peer certificate", "a valid certificate"),
    ],
)
def test_newest_delivery_says_why_it_was_not_taken(hub, sound, monkeypatch, code, status, said, hint):
    line = delivered(sound, code, status)
    monkeypatch.setattr(sound.hooks, "log", lambda: [line])  # the real log leaves out what has no code
    is_bad(newest(hub), Level.PROBLEM, said, hint=hint)


def test_only_the_newest_delivery_counts(hub, world):
    world.hooks.url = PUBLIC
    delivered(world, 401, "Invalid HTTP Response: 401")
    delivered(world)
    assert newest(hub).level == Level.OK


def test_delivery_under_way_is_passed_over(hub, sound, monkeypatch):
    sent = [delivered(sound, 0, "pending"), *sound.hooks.log()]
    monkeypatch.setattr(sound.hooks, "log", lambda: sent)
    assert newest(hub).level == Level.OK


def test_delivery_to_an_earlier_address_proves_nothing(hub, sound):
    delivered(sound, 401, "Invalid HTTP Response: 401", to="https://old.example.com/")
    is_bad(newest(hub), Level.WARNING, "https://old.example.com/", hint="doctor --ping")


# --- ping --------------------------------------------------------------------------------------------------


def test_ping_is_sent_again_and_judged_by_what_came_of_it(hub, world):
    with loopback(answer(202)) as receiver:
        world.hooks.url = address = receiver.url + "/api/webhooks/github"
        old = delivered(world, 401, "Invalid HTTP Response: 401")
        delivered(world, 401, "Invalid HTTP Response: 401", event="workflow_run")
        found = check(hub, address, ping=5)
    assert {"ping", "deliveries"} <= set(all_ok(found))
    [asked] = receiver.asked
    assert (asked.headers["x-github-event"], asked.headers["x-github-delivery"]) == ("ping", old.guid)


def test_ping_that_is_refused_tells_a_wrong_secret(hub, sound):
    with loopback(answer(401)) as receiver:
        sound.hooks.url = address = receiver.url + "/x"
        is_bad(
            one(check(hub, address, ping=5), "deliveries"),
            Level.PROBLEM,
            "another secret",
            hint="GITHUB_WEBHOOK_SECRET",
        )


def test_ping_to_nobody_tells_that_it_was_not_delivered(hub, sound):
    sound.hooks.url = address = f"http://127.0.0.1:{free_port()}/x"
    is_bad(one(check(hub, address, ping=5), "deliveries"), Level.PROBLEM, "not delivered", hint="web process running?")


def test_without_a_ping_in_the_log_the_newest_delivery_is_sent_again(hub, world):
    with loopback(answer(200)) as receiver:
        world.hooks.url = address = receiver.url + "/x"
        delivered(world, event="workflow_job")
        newer = delivered(world, event="workflow_run")
        assert {"ping", "deliveries"} <= set(all_ok(check(hub, address, ping=5)))
    assert [asked.headers["x-github-delivery"] for asked in receiver.asked] == [newer.guid]


def test_ping_with_an_empty_log_says_how_to_get_one(hub, world):
    world.hooks.url = PUBLIC
    is_bad(one(check(hub, ping=1), "ping"), Level.WARNING, "nothing in GitHub's log", hint="sends a ping")


def test_ping_without_outcome_in_time_is_a_warning(hub, sound, monkeypatch):
    monkeypatch.setattr(sound.hooks, "redeliver", lambda old: None)
    begun = time.monotonic()
    is_bad(one(check(hub, ping=0.2), "ping"), Level.WARNING, "not in GitHub's log", hint="Run the doctor again")
    assert 0.2 <= time.monotonic() - begun < 5


def test_ping_that_github_will_not_send_again_is_a_warning(hub, sound, monkeypatch):
    sent = sound.hooks.log()
    calls = iter([sent, [], sent, sent])
    monkeypatch.setattr(sound.hooks, "log", lambda: next(calls))
    is_bad(one(check(hub, ping=1), "ping"), Level.WARNING, "does not send", hint="sends a ping")


def test_without_ping_nothing_is_sent(hub, sound, monkeypatch):
    monkeypatch.setattr(sound.hooks, "redeliver", lambda old: pytest.fail("it was sent again"))
    check(hub)
