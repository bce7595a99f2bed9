"""Who may ask how often: what is admitted and refused, and what every answer tells, by the real application."""

from __future__ import annotations

import asyncio
import json

import pytest

from casts import links
from core.rationing.visits import HEADERS
from tests.accounts.rationing.conftest import new_process
from tests.casts.client import asked, run

ELSEWHERE = "203.0.113.9"


def ask(path, *, times=1, secret=None, together=1, **options):
    """Send a request so many times; return each answer's status, headers and problem, in order."""
    if secret:
        options["Authorization"] = f"Bearer {secret}"

    async def one(turn):
        async with turn, asked(path, **options) as answer:
            body = (
                b"" if answer.headers.get("Content-Type", "").startswith("text/event-stream") else await answer.body()
            )
            problem = "problem" in answer.headers.get("Content-Type", "")
            return answer.status, answer.headers, json.loads(body) if problem else None

    async def scene():
        turn = asyncio.Semaphore(together)
        return await asyncio.gather(*(one(turn) for _ in range(times)))

    return run(scene())


def counted(answers):
    statuses = [status for status, *_ in answers]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("whose", "together"), [("KEY", 8), ("ACCOUNT", 1), ("LINK", 8), ("ADDRESS", 1)])
def test_of_240_requests_a_limit_of_100_admits_exactly_100(whose, together, clock, settings, cast, secret):
    setattr(settings, f"RATION_PER_{whose}", 100)
    how = {
        "KEY": {"path": "/api/v1/budget", "secret": secret},
        "ACCOUNT": {"path": f"/api/v1/casts/{cast.pk}", "secret": secret},
        "LINK": {"path": links.events_url(cast.pk).removeprefix("http://testserver")},
        "ADDRESS": {"path": "/api/v1/schema", "X_Forwarded_For": ELSEWHERE},
    }[whose]
    answers = ask(**how, times=240, together=together)
    assert counted(answers) == {200: 100, 429: 140}
    name = whose.lower()
    _, headers, problem = answers[-1]
    assert (problem["code"], problem["allowance"], problem["limit"], problem["retry_after"]) == (
        *("RATE_LIMITED", name),
        *(100, 60),
    )
    assert problem["detail"].endswith("Try again in 60 seconds.")
    assert headers["Retry-After"] == "60"
    assert headers["Ratelimit"] == f'"{name}";r=0;t=60'
    assert headers["Ratelimit-Policy"] == f'"{name}";q=100;w=60'
    clock.now += 61
    assert counted(ask(**how, times=3)) == {200: 3}


@pytest.mark.django_db(transaction=True)
def test_every_answer_tells_how_its_caller_stands(clock, settings, cast, secret):
    settings.RATION_PER_KEY = settings.RATION_PER_ACCOUNT = settings.RATION_PER_LINK = settings.RATION_PER_ADDRESS = 50
    mine = f"/api/v1/casts/{cast.pk}"
    link = links.events_url(cast.pk).removeprefix("http://testserver")
    [(_, headers, _)] = ask(mine, secret=secret)
    etag = headers["Etag"]
    for status, names, path, options in [
        (200, "key account", mine, {"secret": secret}),
        (304, "key account", mine, {"secret": secret, "If_None_Match": etag}),
        (200, "key account", f"{mine}/events", {"secret": secret}),
        (200, "key account", mine, {"secret": secret, "Prefer": "wait=1"}),
        (404, "key account", f"{mine}/artifacts/none", {"secret": secret}),
        (422, "key account", "/api/v1/cast", {"secret": secret, "method": "POST", "body": b"{}"}),
        (405, "address", f"{mine}/events", {"secret": secret, "method": "PUT"}),
        (404, "address", "/api/v1/none", {"secret": secret}),
        (200, "link", link, {}),
        (204, "address", link, {"method": "OPTIONS"}),
        (401, "address", mine, {}),
        (200, "address", "/api/v1/schema", {}),
        (413, "address", "/api/v1/cast", {"method": "POST", "Content_Length": str(10**9)}),
        (414, "address", "/api/v1/casts?" + "a" * 40_000, {}),
        (200, "address", "/login/", {}),
    ]:
        [(found, headers, _)] = ask(path, **options)
        assert found == status, path
        told = {name.title(): headers.get(name.title()) for name in HEADERS}
        assert None not in told.values(), path
        shown = told["Ratelimit-Policy"].replace('";q=50;w=60', "").replace('"', "").replace(",", "")
        assert shown == names, path
        assert told["X-Ratelimit-Limit"] == "50"
        assert 0 < int(told["X-Ratelimit-Remaining"]) < 50
        assert int(told["X-Ratelimit-Reset"]) == clock.now + 60
    [(_, headers, _)] = ask(link)
    assert set(HEADERS) < {name.strip() for name in headers["Access-Control-Expose-Headers"].split(",")}


@pytest.mark.django_db(transaction=True)
def test_an_account_may_have_an_allowance_of_its_own(clock, settings, account, secret):
    settings.RATION_PER_KEY, settings.RATION_PER_ACCOUNT = 100, 200
    cases: list[tuple[dict[str, int | None], int]] = [
        ({"requests_per_key": 3}, 3),
        ({"requests_per_key": 0, "requests_per_minute": 5}, 5),
        ({"requests_per_key": None, "requests_per_minute": 0}, 9),
    ]
    for fields, admitted in cases:
        for name, value in fields.items():
            setattr(account, name, value)
        account.save()
        clock.now += 60
        assert counted(ask("/api/v1/budget", secret=secret, times=9)).get(200) == admitted


@pytest.mark.django_db(transaction=True)
def test_what_the_account_refuses_costs_the_key_nothing(clock, settings, account, secret):
    settings.RATION_PER_KEY, settings.RATION_PER_ACCOUNT = 100, 2
    assert counted(ask("/api/v1/budget", secret=secret, times=2)) == {200: 2}
    new_process()  # as one that does not know it yet
    [(status, _, problem)] = ask("/api/v1/budget", secret=secret)
    assert (status, problem["allowance"]) == (429, "account")


@pytest.mark.django_db(transaction=True)
def test_bad_keys_have_to_wait_longer_and_longer_and_a_good_one_need_not(clock, settings, account, secret):
    settings.RATION_BAD_KEYS = 3
    bad = "sk_live_spl_" + "a" * 36
    assert counted(ask("/api/v1/budget", secret=secret)) == {200: 1}
    assert counted(ask("/api/v1/budget", secret=bad, times=9, together=4)) == {401: 3, 429: 6}
    waits = []
    for _ in range(12):
        [(status, headers, problem)] = ask("/api/v1/budget", secret=bad)
        assert (status, problem["allowance"]) == (429, "bad-keys")
        waits.append(int(headers["Retry-After"]))
        # Of the address others are refused, too, but not who has shown a good key.
        assert counted(ask("/api/v1/budget", secret=secret)) == {200: 1}
        assert counted(ask("/api/v1/budget", secret=bad, X_Forwarded_For=ELSEWHERE)) != {200: 1}
        clock.now += waits[-1]
        assert counted(ask("/api/v1/budget", secret=bad)) == {401: 1}
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    clock.now += 900 + 3601  # it is forgotten
    assert counted(ask("/api/v1/budget", secret=bad, times=4)) == {401: 3, 429: 1}
    new_process()
    assert counted(ask("/api/v1/budget", secret=secret, X_Forwarded_For=ELSEWHERE)) == {200: 1}


@pytest.mark.django_db(transaction=True)
def test_bad_links_count_as_bad_keys_and_bad_signatures_apart(clock, settings, cast, secret):
    settings.RATION_BAD_KEYS = settings.RATION_BAD_SIGNATURES = 2
    for path in (f"/api/v1/casts/{cast.pk}/events?token=x", f"/casts/{cast.pk}/?token=x"):
        [(status, _, _)] = ask(path)
        assert status in (401, 403)
    signed = {"method": "POST", "body": b"{}", "X_Hub_Signature_256": "sha256=00"}
    assert counted(ask("/api/webhooks/github", **signed, times=9)) == {401: 2, 429: 7}
    assert counted(ask("/api/v1/budget", secret="x", times=9)) == {429: 9}
    # Nobody who shows nothing is held to it.
    assert counted(ask("/api/v1/schema")) == {200: 1}
