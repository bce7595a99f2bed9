"""The ASGI application: lifespan, request numbers, static files, headers, and two handlers behind one application."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from core.api.headers import NOWHERE
from core.asgi import handler
from core.db import threads
from core.shares import Shares, TooManyAtOnce
from tests.casts.client import asked, run


@pytest.mark.django_db(transaction=True)
def test_pages_and_the_api_answer_from_one_application():
    async def scene():
        async with asked("/") as page:
            assert (page.status, page.headers["Location"]) == (302, "/login/?next=/")
        async with asked("/login/") as page:
            assert page.status == 200
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            assert page.headers["X-Frame-Options"] == "DENY"
            assert page.headers["X-Request-Id"]
        async with asked("/nothing") as page:
            assert page.status == 404
            assert page.headers["Content-Type"].startswith("text/html")
        async with asked("/api/v1/nothing") as answer:
            assert answer.status == 404
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Content-Security-Policy"] == f"default-src 'none'; {NOWHERE}"

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_a_fresh_clone_serves_its_static_files():
    async def scene():
        async with asked("/static/admin/css/base.css") as file:
            assert file.status == 200
            assert file.headers["Content-Type"].startswith("text/css")
            assert len(await file.body()) > 1000
        async with asked("/static/none.css") as file:
            assert file.status == 404
        async with asked("/static/../manage.py") as file:
            assert file.status == 404

    run(scene())


class Full(Shares):
    """As many wait as may."""

    async def _enter(self, name: Any, admitted: bool) -> None:
        if not admitted:
            raise TooManyAtOnce("Send fewer at once.", headers={"Retry-After": "1"})
        await super()._enter(name, admitted)


@pytest.mark.django_db(transaction=True)
def test_the_api_and_pages_say_so_when_too_many_requests_wait(monkeypatch, secret):
    monkeypatch.setattr(threads, "api_shares", lambda: Full(4, each=3, waiting=9))
    monkeypatch.setattr(handler, "page_shares", lambda: Full(4, each=3, waiting=9))

    async def scene():
        for path in ("/api/v1/spells", "/api/v1/casts", "/api/v1/casts/019a8f00-0000-7000-8000-000000000000"):
            async with asked(path, Authorization=f"Bearer {secret}") as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
                assert b'"TOO_MANY_AT_ONCE"' in await answer.body()
        async with asked("/admin/login/") as page:
            assert (page.status, page.headers["Retry-After"]) == (503, "1")
            assert page.headers["Content-Type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]

    run(scene())


@pytest.mark.parametrize("broken", [False, True], ids=["sent", "the client left"])
def test_a_response_is_closed_also_if_it_can_not_be_sent(monkeypatch, broken):
    from spellplatform import asgi

    closed, sent = [], []

    async def answered(request):
        response: Any = HttpResponse(b"done")
        response._resource_closers.append(lambda: closed.append(True))
        return response

    async def send(message):
        if broken:
            raise ConnectionResetError
        sent.append(message["type"])

    async def receive():
        if not received:
            received.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()

    received: list[bool] = []
    monkeypatch.setattr(asgi.api, "run_get_response", answered)
    scope = {"type": "http", "method": "GET", "path": "/api/v1/spells", "query_string": b"", "headers": []}
    asyncio.run(asgi.application(scope, receive, send))
    assert closed == [True]
    assert sent == ([] if broken else ["http.response.start", "http.response.body"])


@pytest.mark.parametrize("fails", [False, True], ids=["whole", "broken"])
def test_a_body_in_parts_is_made_in_the_pages_threads_no_sooner_than_it_is_sent(monkeypatch, fails):
    made, sent, threads_of = [], [], set()

    def parts():
        for part in ("a", "", "b", "c"):  # what is empty ends nothing
            threads_of.add(threading.current_thread())
            made.append(part)
            yield part
            if fails and part == "b":
                raise ValueError("no more")

    def answered(request):
        response = StreamingHttpResponse(parts(), status=206, headers={"Content-Type": "text/csv"})
        response.set_cookie("kept", "1")
        vars(response)["in_parts"] = True
        return response

    async def scene():
        pages = handler.PageHandler()
        monkeypatch.setattr(pages, "get_response", answered)
        response = await pages.run_get_response(RequestFactory().get("/"))
        assert (response.status_code, response["Content-Type"], "kept" in response.cookies) == (206, "text/csv", True)
        assert made == []
        async for part in response:
            sent.append(part)
            assert made[-1].encode() == part  # none is made ahead of a slow client
        return threading.current_thread()

    if fails:
        with pytest.raises(ValueError, match="no more"):
            run(scene())
    else:
        assert run(scene()) not in threads_of
    assert sent == ([b"a", b"b"] if fails else [b"a", b"b", b"c"])


def test_a_server_may_start_and_stop_it():
    from spellplatform.asgi import application

    async def scene():
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent = []

        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message["type"])

        await application({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(scene())
