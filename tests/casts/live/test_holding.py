"""How many streams and waiting requests one key, account, link or address may hold open."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from accounts import keys
from casts import links
from casts.live import holding
from casts.models import Cast
from tests.casts.client import asked, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1  # how long the hub's thread may take to end with its test
    settings.TRUSTED_PROXIES = ["127.0.0.1", "::1"]
    for whose in ("KEY", "ACCOUNT", "LINK", "ADDRESS"):
        setattr(settings, f"STREAMS_PER_{whose}", 50)
    holding._counts.clear()  # of answers that other tests never closed
    yield
    assert holding._counts == {}, "what has ended is still counted"


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def linked(cast):
    return links.events_url(cast.pk).removeprefix("http://testserver")


async def refused(path, **headers):
    async with asked(path, **headers) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (429, "TOO_MANY_STREAMS")
        assert int(answer.headers["Retry-After"]) > 0
        return problem["limit"], problem["max_streams"]


@pytest.mark.parametrize("limit", ["key", "account", "links", "link", "address"])
def test_one_more_is_refused_until_one_of_them_has_ended(limit, settings, make_cast, account, secret):
    first, second, strange = make_cast(), make_cast(), make_cast()
    other_key = keys.create(account, name="other")[1]
    setattr(settings, f"STREAMS_PER_{'ACCOUNT' if limit == 'links' else limit.upper()}", 2)
    by_key, here = f"/api/v1/casts/{first.pk}/events", {"X-Forwarded-For": "2001:db8::1"}
    opens, more, free = {
        "key": (
            [(by_key, bearer(secret))] * 2,
            (f"/api/v1/casts/{second.pk}/events", bearer(secret)),
            [(by_key, bearer(other_key)), (linked(first), {})],
        ),
        "account": ([(by_key, bearer(secret))] * 2, (by_key, bearer(other_key)), [(linked(first), {})]),
        "links": ([(linked(first), {}), (linked(second), {})], (linked(strange), {}), [(by_key, bearer(secret))]),
        "link": ([(linked(first), {})] * 2, (linked(first), {}), [(linked(second), {}), (by_key, bearer(secret))]),
        "address": (
            [(linked(first), here), (linked(second), {"X-Forwarded-For": "2001:db8::2"})],  # of one /64
            (linked(strange), here),
            [(linked(first), {}), (by_key, here | bearer(secret))],
        ),
    }[limit]

    async def scene():
        async with AsyncExitStack() as some:
            first = await some.enter_async_context(asked(opens[0][0], **opens[0][1]))
            async with asked(opens[1][0], **opens[1][1]) as second:
                assert (first.status, second.status) == (200, 200)
                assert await refused(more[0], **more[1]) == (limit, 2)
                for path, headers in free:
                    async with asked(path, **headers) as answer:
                        assert answer.status == 200
            async with asked(more[0], **more[1]) as answer:
                assert answer.status == 200

    run(scene())


def test_a_wait_counts_too_and_what_was_cast_is_answered_without_one(settings, make_cast, secret, spell):
    settings.STREAMS_PER_KEY = 1
    cast = make_cast()

    async def scene():
        async with asked(f"/api/v1/casts/{cast.pk}/events", **bearer(secret)) as stream:
            assert stream.status == 200
            path, wait = f"/api/v1/casts/{cast.pk}", {"Prefer": "wait=60"} | bearer(secret)
            assert await refused(path, **wait) == ("key", 1)
            body = f'{{"spell_key": "{spell.key}", "input": {{"name": "Ada"}}}}'.encode()
            async with asked("/api/v1/cast", method="POST", body=body, **wait) as placed:
                assert placed.status == 201
                assert "Preference-Applied" not in placed.headers
        async with asked(path, **{"Prefer": "wait=1"} | bearer(secret)) as answer:
            assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=1")

    run(scene())
    assert Cast.objects.count() == 2


def test_a_stream_that_django_serves_counts_too(settings, make_cast, secret):
    """A query that is not ASCII goes there."""
    settings.STREAMS_PER_KEY = 1
    path = f"/api/v1/casts/{make_cast().pk}/events?x=é"

    async def scene():
        async with asked(path, **bearer(secret)) as stream:
            assert stream.status == 200
            assert await refused(path, **bearer(secret)) == ("key", 1)
        async with asked(path, **bearer(secret)) as stream:
            assert stream.status == 200

    run(scene())
