"""Pages of any origin: what a signed link opens they may read, also by fetch() with headers of their own."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from casts import links
from core.rationing.visits import HEADERS
from tests.casts.client import Api, asked, problem, run

WISHES = {
    "Origin": "https://shop.example",
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "last-event-id, cache-control",
}
LINKS = {"events": lambda cast: links.events_url(cast.pk), "artifact": lambda cast: links.artifact_url(cast.pk, "x")}


def listed(answer, name):
    return {word.strip().lower() for word in answer[name].split(",")}


@pytest.mark.parametrize("kind", LINKS)
def test_a_page_may_ask_beforehand_and_is_told_what_it_may_do(cast, kind):
    url = urlsplit(LINKS[kind](cast))
    path = f"{url.path}?{url.query}".removeprefix("/api/v1")
    answer = Api(None).call("OPTIONS", path, **WISHES)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert listed(answer, "Access-Control-Allow-Methods") == {"get", "head"}
    assert listed(answer, "Access-Control-Allow-Headers") >= {"last-event-id", "cache-control"}
    assert "Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize("kind", LINKS)
def test_who_brings_no_token_is_told_nothing(cast, kind):
    path = urlsplit(LINKS[kind](cast)).path.removeprefix("/api/v1")
    answer = Api(None).call("OPTIONS", path, **WISHES)
    problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.django_db(transaction=True)  # streams read in threads of their own
@pytest.mark.parametrize("spoilt", [False, True])
def test_what_a_page_may_read_of_an_answer(cast, kind, spoilt):
    async def scene():
        path = LINKS[kind](cast).removeprefix("http://testserver") + "x" * spoilt
        async with asked(path, Origin="https://shop.example") as answer:
            assert answer.status == (401 if spoilt else {"events": 200, "artifact": 404}[kind])
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            exposed = {word.strip() for word in answer.headers["Access-Control-Expose-Headers"].split(",")}
            assert exposed == {"ETag", "Content-Disposition", "Repr-Digest", "Retry-After", *HEADERS}

    run(scene())
