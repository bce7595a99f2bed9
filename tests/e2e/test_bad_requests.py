"""What nobody should send, through gunicorn: answered with a problem that says what to fix, never with a 500."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from typing import Any

import pytest
import requests

from tests.e2e.platform import Platform

CAST = "/api/v1/cast"
NOBODY = "/api/v1/casts/01a20913-34fb-7a11-aada-f91bdb46a55b"


def body(**fields: Any) -> bytes:
    return json.dumps({"spell_key": "greet", "input": {"name": "Ada"}} | fields).encode()


def is_problem(answer: requests.Response, status: int, code: str) -> bool:
    """Check an answer's form; return whether it is this problem."""
    assert answer.headers["Content-Type"] == "application/problem+json", (answer.status_code, answer.text[:200])
    told = answer.json()
    assert {"type", "title", "status", "detail", "code", "request_id"} <= told.keys()
    assert told["status"] == answer.status_code
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert told["detail"]
    return (answer.status_code, told["code"]) == (status, code)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, "VALIDATION_ERROR"),
    "cut off": (body()[:-1], 400, "MALFORMED_JSON"),
    "no UTF-8": (b'{"spell_key": "\xff"}', 415, "UNSUPPORTED_MEDIA_TYPE"),
    "UTF-16": ('{"spell_key": "greet"}'.encode("utf-16"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "UTF-16 without a mark": ('{"spell_key": "greet"}'.encode("utf-16-le"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a list": (b"[]", 400, "MALFORMED_JSON"),
    "a text": (b'"greet"', 400, "MALFORMED_JSON"),
    "null": (b"null", 400, "MALFORMED_JSON"),
    "NaN": (b'{"spell_key": "echo", "input": NaN}', 400, "MALFORMED_JSON"),
    "infinity by exponent": (b'{"spell_key": "echo", "input": 1e999}', 400, "MALFORMED_JSON"),
    "NUL": (b'{"spell_key": "echo", "input": "\\u0000"}', 400, "MALFORMED_JSON"),
    "NUL in a name": (b'{"spell_key": "echo", "input": {"\\u0000": 1}}', 400, "MALFORMED_JSON"),
    "half a character": (b'{"spell_key": "echo", "input": "\\ud800"}', 400, "MALFORMED_JSON"),
    "deep": (b'{"spell_key": "echo", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "MALFORMED_JSON"),
    "a number of 5000 digits": (b'{"spell_key": "echo", "input": ' + b"9" * 5000 + b"}", 400, "MALFORMED_JSON"),
    "two megabytes": (body(input={"name": "x" * 2_000_000}), 413, "INPUT_TOO_LARGE"),
    "more than a workflow takes": (body(spell_key="echo", input="x" * 70_000), 413, "INPUT_TOO_LARGE"),
    "no spell": (b"{}", 422, "VALIDATION_ERROR"),
    "an unknown field": (body(ttl=5), 422, "VALIDATION_ERROR"),
    "a spell that is a number": (body(spell_key=7), 422, "VALIDATION_ERROR"),
    "an unknown spell": (body(spell_key="abracadabra"), 404, "SPELL_NOT_FOUND"),
    "a spell's name with NUL": (b'{"spell_key": "a\\u0000", "input": {}}', 400, "MALFORMED_JSON"),
    "input that does not fit": (body(input={"name": ""}), 422, "VALIDATION_ERROR"),
    "input with too much": (body(input={"name": "Ada", "age": 36}), 422, "VALIDATION_ERROR"),
    "no time": (body(ttl_seconds=0), 422, "VALIDATION_ERROR"),
    "time as text": (body(ttl_seconds="60"), 422, "VALIDATION_ERROR"),
    "time as truth": (body(ttl_seconds=True), 422, "VALIDATION_ERROR"),
    "endless time": (body(ttl_seconds=10**400), 422, "VALIDATION_ERROR"),
    "a file as callback": (body(callback_url="file:///etc/passwd"), 422, "VALIDATION_ERROR"),
    "metadata that is a list": (body(metadata=["a"]), 422, "VALIDATION_ERROR"),
    "metadata with numbers": (body(metadata={"a": 1}), 422, "VALIDATION_ERROR"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(here: Platform, name: str):
    sent, status, code = BODIES[name]
    casts = "SELECT COUNT(*) AS casts FROM casts_cast"
    before = here.rows(casts)
    answer = here.call("POST", CAST, data=sent, headers={"Content-Type": "application/json"})
    assert is_problem(answer, status, code), answer.text[:300]
    if code == "VALIDATION_ERROR":
        assert all(error["pointer"] is not None and error["detail"] for error in answer.json()["errors"])
    assert here.rows(casts) == before


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1/cast/", 404, "NOT_FOUND"),
        ("GET", "/api/v2/casts", 404, "NOT_FOUND"),
        ("GET", "/api/", 404, "NOT_FOUND"),
        ("GET", NOBODY, 404, "CAST_NOT_FOUND"),
        ("GET", NOBODY + "/events", 404, "CAST_NOT_FOUND"),
        ("GET", NOBODY + "/artifacts/spell-result", 404, "CAST_NOT_FOUND"),
        ("GET", NOBODY + "/artifacts/..%2f..%2f..%2fetc%2fpasswd", 404, None),
        ("GET", "/api/v1/casts/7", 404, "CAST_NOT_FOUND"),
        ("GET", "/api/v1/casts/7/events", 404, "CAST_NOT_FOUND"),
        ("GET", "/api/v1/casts/%00", 404, None),
        ("GET", "/api/v1/casts/%FF", 404, None),
        ("GET", "/api/v1/casts/" + "x" * 3000, 404, "CAST_NOT_FOUND"),
        ("GET", "/api/v1/spells/nothing", 404, "SPELL_NOT_FOUND"),
        ("GET", "/api/v1/spells/a%00b", 404, None),
        ("GET", "/api/v1/casts?status=done", 422, "VALIDATION_ERROR"),
        ("GET", "/api/v1/casts?colour=red", 422, "VALIDATION_ERROR"),
        ("GET", "/api/v1/casts?created_after=yesterday", 422, "VALIDATION_ERROR"),
        ("GET", "/api/v1/casts?created_after=0001-01-01T00:00:00%2B23:59", 422, "VALIDATION_ERROR"),
        ("GET", "/api/v1/casts?cursor=%00%FF", None, None),
        ("GET", "/api/v1/casts?spell_key=%00", None, None),
        ("GET", "/api/v1/casts?metadata.a=%00", None, None),
        ("GET", "/api/v1/casts?metadata.%00=a", None, None),
        ("GET", NOBODY + "/events?after=-1", 400, "MALFORMED_REQUEST"),
        ("GET", NOBODY + "/events?after=1.5", 400, "MALFORMED_REQUEST"),
        ("GET", NOBODY + "/events?after=%D9%A3", 400, "MALFORMED_REQUEST"),
        ("GET", NOBODY + "/events?after=99999999999999999999", 400, "MALFORMED_REQUEST"),
        ("GET", NOBODY + "/events?token=%00", 401, "UNAUTHORIZED"),
        ("GET", CAST, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", CAST, 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", NOBODY, 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", NOBODY + "/artifacts/x", 405, "METHOD_NOT_ALLOWED"),
        ("POST", NOBODY + "/events", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/v1/budget", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/webhooks/github", 405, "METHOD_NOT_ALLOWED"),
        ("WAND", "/api/v1/spells", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/api/v1/keys/99999999999999999999999", 404, None),
    ],
)
def test_paths_queries_and_methods(here: Platform, method: str, path: str, status: int | None, code: str | None):
    answer = here.call(method, path)
    if status is None:  # taken or refused, as it may be
        assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert is_problem(answer, status or answer.status_code, code or answer.json()["code"]), answer.text
    if answer.status_code == 405:
        assert answer.headers["Allow"]
        assert method not in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": ""}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Basic YTpi"}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer"}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer sk_live_spl_" + "0" * 36}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer \xff\xfe"}, 401, "UNAUTHORIZED"),
        ({"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Type": "multipart/form-data"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Prefer": "wait=soon"}, 400, "MALFORMED_REQUEST"),
        ({"Prefer": "wait=0"}, 400, "MALFORMED_REQUEST"),
        ({"Prefer": "wait=61"}, 400, "MALFORMED_REQUEST"),
        ({"Prefer": "wait=" + "9" * 5000}, 400, "MALFORMED_REQUEST"),
        ({"Accept": "text/csv"}, 406, "NOT_ACCEPTABLE"),
    ],
    ids=str,
)
def test_headers(here: Platform, headers: dict[str, str], status: int, code: str):
    sent = {"Authorization": f"Bearer {here.key}", "Content-Type": "application/json"} | headers
    answer = requests.post(here.url + CAST, data=body(), headers=sent, timeout=10)
    assert is_problem(answer, status, code), answer.text
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_body_beyond_all_measure_is_refused_long_before_its_end(here: Platform):
    head = f"POST {CAST} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {here.key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", here.web_port), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 2000000000\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while not select.select([connection], [], [], 0)[0]:
                sent += connection.send(b"x" * 65536)
        answer = connection.recv(65536).decode()
    assert sent < 100_000_000
    assert answer.startswith("HTTP/1.1 413 ")
    assert '"INPUT_TOO_LARGE"' in answer


def chunked(where: Platform, sent: bytes, size: int = 65536) -> requests.Response:
    parts = (sent[i : i + size] for i in range(0, len(sent), size))
    return where.call("POST", CAST, data=parts, headers={"Content-Type": "application/json"})


def test_bodies_of_unannounced_length_are_read_and_bounded_like_others(here: Platform):
    made = chunked(here, body(spell_key="echo", input={"word": "bit by bit"}), 7)
    assert made.status_code == 201, made.text
    assert here.ended(made.json()["cast_id"])["output"] == {"word": "bit by bit"}
    assert is_problem(chunked(here, BODIES["two megabytes"][0]), 413, "INPUT_TOO_LARGE")


def test_many_bad_requests_on_one_connection_leave_it_usable(here: Platform):
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {here.key}"
        for _ in range(3):
            assert session.post(here.url + CAST, data=b"{", timeout=10).status_code == 415
            assert session.get(here.url + "/api/v1/nowhere", timeout=10).status_code == 404
        assert session.get(here.url + "/api/v1/spells", timeout=10).status_code == 200
