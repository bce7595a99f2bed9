"""`Prefer: wait=N`: the answer comes when the cast ends, or when N seconds have passed; no thread is held meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from casts.lifecycle import ending
from casts.live import hub
from casts.models import Cast, CastStatus
from tests.casts.client import asked, problem, run
from tests.casts.conftest import claim, nothing_left
from tests.casts.live.test_streams import begin, do, finish


@pytest.fixture(autouse=True)
def quick(settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1


@pytest.fixture
def ask(secret):
    def start(path, **options):
        return asked(f"/api/v1{path}", Authorization=f"Bearer {secret}", **options)

    return start


@pytest.mark.django_db(transaction=True)
def test_an_answer_comes_as_soon_as_the_cast_ends(cast, ask):
    async def scene():
        began = time.monotonic()
        later = asyncio.create_task(do(lambda: (time.sleep(0.3), begin(cast), finish(cast))))
        async with ask(f"/casts/{cast.pk}", Prefer="wait=20") as answer:
            shown = await answer.json()
        assert 0.3 <= time.monotonic() - began < 5
        assert (shown["status"], shown["final"], shown["output"]) == ("succeeded", True, {"a": 1})
        assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=20")
        assert answer.headers["Etag"]
        assert hub.hub().topics == {}
        await later

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_a_cast_can_be_made_and_waited_for_in_one_request(spell, ask):
    def end_it():
        while not (found := Cast.objects.first()):
            time.sleep(0.02)
        finish(found)

    async def scene():
        ending = asyncio.create_task(do(end_it))
        body = json.dumps({"spell_key": "greet", "input": {"name": "Ada"}}).encode()
        async with ask("/cast", method="POST", body=body, Prefer="respond-async, wait=20") as answer:
            shown = await answer.json()
            assert answer.status == 201
            assert answer.headers["Location"].endswith(f"/casts/{shown['cast_id']}")
            assert shown["final"]
        await ending

    run(scene())
    assert Cast.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_answer_comes_when_the_time_is_over(cast, ask):
    async def scene():
        began = time.monotonic()
        async with ask(f"/casts/{cast.pk}", Prefer="wait=1") as answer:
            shown = await answer.json()
        assert 0.9 < time.monotonic() - began < 4
        assert (answer.status, shown["final"], shown["status"]) == (200, False, "queued")
        assert answer.headers["Preference-Applied"] == "wait=1"

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_what_has_ended_is_not_waited_for(cast, ask):
    finish(cast)

    async def scene():
        began = time.monotonic()
        for spelling in ("wait=60", 'wait="60"', "WAIT=60", "handling=lenient, wait = 60"):
            async with ask(f"/casts/{cast.pk}", Prefer=spelling) as answer:
                assert (await answer.json())["final"]
        assert time.monotonic() - began < 10

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_more_may_wait_than_there_are_threads(cast, ask, settings, monkeypatch):
    assert settings.WEB_THREADS < 30

    async def one():
        async with ask(f"/casts/{cast.pk}", Prefer="wait=20") as answer:
            return (await answer.json())["final"]

    async def scene():
        waiting = [asyncio.create_task(one()) for _ in range(30)]
        await asyncio.sleep(0.5)
        async with ask("/budget") as answer:  # somebody else's request is not held up
            assert answer.status == 200
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("web") for name in names) <= settings.WEB_THREADS
        # Django's own handler would keep a pool of one thread for each of the thirty; one is shared by all, and a
        # test before this one may have left another on its way out.
        assert sum(name.startswith("ThreadPoolExecutor") for name in names) < 5
        await do(finish, cast)
        assert await asyncio.gather(*waiting) == [True] * 30

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_a_server_that_stops_answers_who_waits(cast, ask):
    async def scene():
        asyncio.get_running_loop().call_later(0.3, hub.stop)
        async with ask(f"/casts/{cast.pk}", Prefer="wait=30") as answer:
            assert (answer.status, (await answer.json())["final"]) == (200, False)

    run(scene())


@pytest.mark.parametrize("wrong", ["0", "61", "-1", "1.5", "", "soon", "1s", "٣", "1e1", "9" * 50, '"'])
def test_a_wait_that_can_not_be_is_400_and_does_nothing(api, spell, wrong):
    for path, method, body in (("/cast", "POST", {"spell_key": "greet"}), ("/casts", "GET", None)):
        with nothing_left():
            problem(api.call(method, path, body, Prefer=f"wait={wrong}"), 400, "MALFORMED_REQUEST")


def test_other_preferences_are_ignored(api, cast):
    answer = api.get(f"/casts/{cast.pk}", Prefer="return=minimal, respond-async")
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer


def test_a_refusal_is_not_waited_with(api, spell):
    began = time.monotonic()
    problem(api.post("/cast", {"spell_key": "none"}, Prefer="wait=20"), 404, "SPELL_NOT_FOUND")
    problem(api.get("/casts/nonsense", Prefer="wait=20"), 404, "CAST_NOT_FOUND")
    assert time.monotonic() - began < 5


def test_a_list_is_not_waited_for(api, cast):
    began = time.monotonic()
    assert api.get("/casts", Prefer="wait=20").status_code == 200
    assert time.monotonic() - began < 5


def test_an_unchanged_cast_that_has_ended_is_304_also_with_a_wait(api, cast):
    ending.end(claim(cast), CastStatus.FAILED, reason="x", message="x", charge=False)
    etag = api.get(f"/casts/{cast.pk}")["ETag"]
    assert api.get(f"/casts/{cast.pk}", If_None_Match=etag, Prefer="wait=20").status_code == 304
