"""The access log: a line for each request with facts of ours, and nothing that a stranger wrote."""

from __future__ import annotations

import json
import logging

import pytest

from casts import links
from core.asgi import access_log
from tests.casts.client import asked, run
from tests.casts.conftest import accept_cast

KEY = "sk_live_spl_4fK9xQ2mT7vB1nZ8cR5wY3pL6hJ0gDaE1x2y3z"
HOSTILE = 'Hush\r\n{"event":"forged"}\x1b[2J\u2028'


@pytest.fixture
def cast(api_key, spell):
    return accept_cast(api_key=api_key, spell=spell, input={"name": "Ada"})


@pytest.fixture
def lines(caplog):
    """Return what reads the lines that were written so far, as dicts."""
    from spellplatform import asgi  # noqa: F401 - sets up logging, and with it removes what listens

    logging.getLogger("access").addHandler(caplog.handler)
    caplog.set_level(logging.INFO, "access")
    standard = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}

    def read():
        records = list(dict.fromkeys(record for record in caplog.records if record.name == "access"))
        caplog.clear()
        return [
            {"event": record.getMessage(), **{k: v for k, v in vars(record).items() if k not in standard}}
            for record in records
        ]

    yield read
    logging.getLogger("access").removeHandler(caplog.handler)


@pytest.mark.django_db(transaction=True)
def test_a_request_leaves_one_line_with_its_route_and_who_asked(lines, cast, secret, api_key):
    async def scene():
        async with asked(
            f"/api/v1/casts/{cast.pk}", Authorization=f"Bearer {secret}", X_Request_Id="trace-12345"
        ) as got:
            body = await got.body()
        [line] = lines()
        assert line.pop("ms") > 0
        assert line == {
            **{"event": "request", "method": "GET", "route": "api:cast", "status": 200, "bytes": len(body)},
            **{"request_id": "trace-12345", "key": api_key.prefix, "account": cast.account_id, "client": "127.0.0.1"},
            "cast_id": str(cast.pk),
        }
        link = links.token_for(cast.pk)
        async with asked(f"/casts/{cast.pk}/?token={link}") as got:
            await got.body()
        [line] = lines()
        assert (line["route"], line["by"], "key" in line) == ("cast-page", "link", False)
        assert link not in json.dumps(line)

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_a_stream_leaves_a_line_when_it_opens_and_one_at_its_end(lines, cast, secret, api_key):
    async def scene():
        async with asked(f"/api/v1/casts/{cast.pk}/events", Authorization=f"Bearer {secret}") as stream:
            await stream.next()
            await stream.next()
            [opened] = lines()
        [ended] = lines()
        assert (opened["event"], opened["bytes"]) == ("stream opened", 0)
        assert (ended["event"], ended["bytes"] > 100, ended["ms"] >= opened["ms"]) == ("stream ended", True, True)
        for line in (opened, ended):
            assert (line["route"], line["status"], line["key"]) == ("api:cast-events", 200, api_key.prefix)
            assert line["account"] == cast.account_id

    run(scene())


REFUSED = [
    ("GET", "/api/v1/casts", {}, 401, "api:casts"),
    ("GET", f"/api/v1/{KEY}/%0d%0aHush", {}, 404, "core.api.problems.not_found"),
    ("GET", f"/{KEY}/Hush", {}, 404, None),
    ("GET", f"/api/v1/casts?token={KEY}&x=Hush", {}, 401, "api:casts"),
    ("GET", f"/api/v1/casts?{'Hush' * 10_000}", {}, 414, None),
    ("GET", "/api/v1/casts", {"Authorization": f"Bearer {KEY}"}, 401, "api:casts"),
    ("GET", "/api/v1/casts", {"X_Request_Id": KEY}, 401, "api:casts"),
    ("GET", "/api/v1/casts", {"X_Request_Id": HOSTILE.encode().decode("latin-1")}, 401, "api:casts"),
    ("GET", "/api/v1/casts", {"User_Agent": KEY, "X_Forwarded_For": "Hush, 1.2.3.4\x1b"}, 401, "api:casts"),
    ("HUSH\x1b", "/api/v1/casts", {}, 401, "api:casts"),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("method", "path", "headers", "status", "route"), REFUSED)
def test_a_refused_request_leaves_a_line_too_and_nothing_of_what_it_said(lines, method, path, headers, status, route):
    async def scene():
        async with asked(path, method=method, **headers) as answer:
            await answer.body()
        [line] = lines()
        assert (line["status"], line.get("route")) == (status, route)
        assert line["request_id"] == answer.headers["X-Request-Id"]
        text = json.dumps(line)
        assert not any(said in text for said in ("Hush", "HUSH", KEY[20:], "\\r", "\\u001b", "\\u2028")), text

    run(scene())


@pytest.mark.django_db(transaction=True)
def test_styles_that_were_sent_leave_none(lines):
    async def scene():
        for path, left in (("/static/admin/css/base.css", 0), ("/static/none.css", 1)):
            async with asked(path) as answer:
                await answer.body()
            assert len(lines()) == left, path

    run(scene())


def test_it_can_be_switched_off(lines, settings):
    settings.ACCESS_LOG = False

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})

    async def idle(*message):
        return {}

    run(access_log.access_log(app)({"method": "GET", "path": "/", "headers": []}, idle, idle))
    assert lines() == []
