"""Whatever goes wrong below /api/, the answer is a problem (RFC 9457)."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from casts import access
from casts.api import casts, downloads
from casts.lifecycle import accepting
from casts.live import openings
from core import limits
from core.asgi import refusals
from tests.casts.client import Api, asked, problem, run
from tests.casts.conftest import nothing_left

SOME_ID = str(uuid.uuid4())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/cast/", "/casts/", f"/casts/{SOME_ID}/", f"/casts/{SOME_ID}/nothing", "/keys/x", "/a%00b"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_path_that_does_not_exist_is_404_with_and_without_a_key(api, path, method):
    for caller in (api, Api(None)):
        problem(caller.call(method, path), 404, "NOT_FOUND")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/casts", "/api/v1"])
def test_other_paths_below_api_are_404_too(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    if path != "/api":
        problem(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/cast", {"POST", "OPTIONS"}),
        ("DELETE", "/casts", {"GET", "POST", "HEAD", "OPTIONS"}),
        ("PUT", "/cast", {"POST", "OPTIONS"}),
        ("PATCH", f"/casts/{SOME_ID}", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", f"/casts/{SOME_ID}", {"GET", "HEAD", "OPTIONS"}),
        ("POST", f"/casts/{SOME_ID}/events", {"GET"}),
        ("HEAD", f"/casts/{SOME_ID}/events", {"GET"}),
        ("PUT", f"/casts/{SOME_ID}/artifacts/x", {"GET", "HEAD"}),
        ("POST", "/spells", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/spells/greet", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/budget", {"GET", "PATCH", "HEAD", "OPTIONS"}),
        ("PUT", "/keys", {"GET", "POST", "HEAD", "OPTIONS"}),
        ("GET", "/keys/1", {"DELETE", "OPTIONS"}),
        ("BREW", "/casts", {"GET", "POST", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(api, method, path, allowed):
    answer = api.call(method, path)
    if method == "HEAD":
        assert answer.status_code == 405
    else:
        problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert set(answer["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/casts", "/spells", "/spells/greet", "/budget", "/keys"])
def test_head_is_get_without_a_body(api, spell, path):
    got, head = api.get(path), api.call("HEAD", path)
    assert (got.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert head["Content-Type"] == got["Content-Type"] == "application/json"


def test_head_of_a_cast_has_its_etag(api, cast):
    got, head = api.get(f"/casts/{cast.pk}"), api.call("HEAD", f"/casts/{cast.pk}")
    assert (head.status_code, head.content) == (200, b"")
    assert head["ETag"] == got["ETag"]


@pytest.mark.parametrize("path", ["/cast", "/casts", "/spells", "/budget", "/keys"])
def test_options_tells_the_methods_and_does_nothing(api, path):
    with nothing_left():
        answer = api.call("OPTIONS", path)
    assert answer.status_code == 200
    assert "OPTIONS" in answer["Allow"]


def test_an_answer_in_another_format_is_not_to_be_had(api):
    problem(api.get("/budget", Accept="text/html"), 406, "NOT_ACCEPTABLE")
    for fine in ("application/json", "*/*", "application/*;q=0.5, text/html"):
        assert api.get("/budget", Accept=fine).status_code == 200


@pytest.mark.parametrize("path", ["/spells/%00", "/spells/greet%00", "/spells/%ff", f"/casts/{SOME_ID}/artifacts/%00"])
def test_bytes_that_no_database_takes_are_404_in_a_path(api, cast, path):
    answer = api.get(path.replace(SOME_ID, str(cast.pk)))
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("bad", ["nonsense", "%00", "0" * 5000, "..", SOME_ID[:-1], f"{SOME_ID}x", "٣" * 36])
@pytest.mark.parametrize("rest", ["", "/events", "/artifacts/x"])
def test_an_id_that_is_none_is_404_everywhere(api, bad, rest):
    answer = api.get(f"/casts/{bad}{rest}")
    assert problem(answer, 404, answer.json()["code"])["code"] in ("CAST_NOT_FOUND", "NOT_FOUND")


def test_a_given_request_id_is_used_and_an_unsound_one_is_not(api):
    assert api.get("/nothing", X_Request_Id="trace-0123456789").json()["request_id"] == "trace-0123456789"
    for unsound in ("short", "x" * 65, "new\tline12345", "<script>alert</script>"):
        given = problem(api.get("/nothing", X_Request_Id=unsound), 404, "NOT_FOUND")["request_id"]
        assert given != unsound
        assert len(given) >= 8


def test_every_request_has_another_number(api):
    assert len({api.get("/nothing").json()["request_id"] for _ in range(20)}) == 20


def test_a_foreign_host_is_a_problem_too(api):
    answer = Client().get("/api/v1/casts", headers={"Host": "evil.example", **api.headers})
    problem(answer, 400, "MALFORMED_REQUEST")


def fail(*args, **kwargs):
    raise RuntimeError("the cauldron has exploded; key sk_live_spl_0123456789abcdef")


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.ERROR)
    return caplog


@pytest.mark.parametrize(
    ("where", "method", "path"),
    [
        ((accepting, "accept"), "POST", "/cast"),
        ((casts, "served_by"), "GET", "/casts"),
        ((access.BY_ID, "first"), "GET", f"/casts/{SOME_ID}"),
        ((openings, "openings_for"), "GET", f"/casts/{SOME_ID}/events"),
        ((downloads, "readable_cast"), "GET", f"/casts/{SOME_ID}/artifacts/x"),
    ],
)
def test_a_failure_of_ours_is_a_logged_500_that_tells_no_secrets(api, spell, monkeypatch, where, method, path, logged):
    monkeypatch.setattr(*where, fail)
    with nothing_left():
        answer = api.call(method, path, {"spell_key": "greet"} if method == "POST" else None)
    found = problem(answer, 500, "INTERNAL")
    assert "cauldron" not in answer.text
    assert "Traceback" not in answer.text
    assert found["request_id"] in found["detail"] or "request_id" in found["detail"]
    assert any("cauldron" in str(record.exc_info) for record in logged.records if record.exc_info)


@pytest.mark.parametrize(
    ("where", "method", "path"),
    [
        ((accepting, "accept"), "POST", "/cast"),
        ((access.BY_ID, "first"), "GET", f"/casts/{SOME_ID}"),
        ((openings, "openings_for"), "GET", f"/casts/{SOME_ID}/events"),
    ],
)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_without_its_database_the_service_says_when_to_try_again(
    api, spell, monkeypatch, where, method, path, logged, error
):
    def away(*_, **__):
        raise error("the server closed the connection unexpectedly; host=db password=cauldron")

    monkeypatch.setattr(*where, away)
    with nothing_left():
        answer = api.call(method, path, {"spell_key": "greet"} if method == "POST" else None)
    problem(answer, 503, "UNAVAILABLE")
    assert answer.headers["Retry-After"] == "2"
    assert "cauldron" not in answer.text
    assert any("cauldron" in str(record.exc_info) for record in logged.records if record.exc_info)


def test_a_failure_after_the_hold_takes_the_hold_back(api, spell, monkeypatch):
    monkeypatch.setattr("casts.lifecycle.events.append_all", fail)
    with nothing_left():
        problem(api.post("/cast", {"spell_key": "greet"}), 500, "INTERNAL")


@pytest.mark.django_db(transaction=True)
def test_the_api_handler_answers_failures_alike(secret, cast, monkeypatch, logged, settings):
    settings.STREAM_FALLBACK_SECONDS = 0.1
    monkeypatch.setattr(openings, "openings_for", fail)
    monkeypatch.setattr(access.BY_ID, "first", fail)

    async def scene():
        for path in (f"/casts/{cast.pk}", f"/casts/{cast.pk}/events"):
            async with asked(f"/api/v1{path}", Authorization=f"Bearer {secret}") as answer:
                assert answer.status == 500
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.headers["Cache-Control"] == "no-store"
                assert (await answer.json())["request_id"] == answer.headers["X-Request-Id"]
        async with asked("/api/v1/nothing") as answer:
            assert answer.status == 404
            assert (await answer.json())["code"] == "NOT_FOUND"

    run(scene())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("length", ["declared", "counted"])
def test_a_body_too_large_for_its_path_is_refused_before_it_is_taken_in(secret, length, monkeypatch):
    monkeypatch.setattr(refusals, "DROP_SECONDS", 0.05)  # this client sends no more
    sent: dict[str, Any] = {"Authorization": f"Bearer {secret}"} | (
        {} if length == "declared" else {"Content_Length": None}
    )
    largest = {
        "/api/v1/cast": limits.BODY_BYTES,
        "/api/webhooks/github": limits.WEBHOOK_BYTES,
        "/api/v1/nothing": limits.BODY_BYTES,
        "/admin/login/": limits.FORM_BYTES,
        "/admin/casts/spell/add/": limits.ADMIN_FORM_BYTES,
        "/nothing": limits.FORM_BYTES,
    }

    async def scene():
        for path, most in largest.items():
            async with asked(path, method="POST", body=b"x" * (most + 1), **sent) as answer:
                assert answer.status == 413, path
                told = (await answer.body()).decode()
                assert ('"code": "INPUT_TOO_LARGE"' if path.startswith("/api/") else "<h1>") in told, path
            async with asked(path, method="POST", body=b"x" * most, **sent) as answer:
                assert answer.status in (302, 400, 401, 403, 404), path

    run(scene())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("given", ["", "trace-1234", "not sound!"])
@pytest.mark.parametrize("what", ["address", "body"])
def test_what_is_refused_before_all_else_has_a_number_that_the_log_has_too(caplog, given, what):
    sent = {"X-Request-Id": given} if given else {}
    path, body = (
        ("/api/v1/casts?spell_key=" + "x" * 40_000, b"")
        if what == "address"
        else ("/api/v1/cast", b"x" * (limits.BODY_BYTES + 1))
    )
    numbers = []

    class Numbers(logging.Handler):
        def emit(self, record):
            numbers.append(record.request_id)

    handler, logger = Numbers(), logging.getLogger("access")

    async def scene():
        for _ in range(2):
            async with asked(path, method="POST", body=body, **sent) as answer:
                assert answer.status == (414 if what == "address" else 413)
                told = (await answer.json())["request_id"]
                assert told == answer.headers["X-Request-Id"] == numbers[-1]
                assert (told == given) == (given == "trace-1234")
                assert len(told) >= 8
                assert answer.headers["X-Content-Type-Options"] == "nosniff"

    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger="access"):
            run(scene())
    finally:
        logger.removeHandler(handler)
    assert len(numbers) == 2
    assert len(set(numbers)) == (1 if given == "trace-1234" else 2)


def test_the_page_of_the_api_is_only_read(api):
    assert api.call("OPTIONS", "/docs").status_code == 405
