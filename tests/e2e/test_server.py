"""The web server by itself: its first requests, long request lines, and how long it keeps connections."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import marking
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import ROOT, Platform, drop_database, prepared, until

SCHEMA, DOCS = "/api/v1/schema", "/api/v1/docs"
GUNICORN = runpy.run_path(str(ROOT / "spellplatform" / "gunicorn.conf.py"))


@pytest.fixture
@marking("once")  # what is asked here asks no database
def web(tmp_path: Path) -> Iterator[Platform]:
    """A web process that has answered nothing yet."""
    alone = Platform(tmp_path, database=prepared(SPELLS)[0], WEB_THREADS="16")
    alone.start("web")
    try:
        until(lambda: listens(alone.web_port))
        yield alone
    finally:
        alone.stop("web")
        drop_database(alone.database_url)


def listens(port: int) -> bool:
    """Whether somebody takes connections there. Nothing is asked of them: gunicorn listens before it can answer."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_first_requests_may_come_together(web: Platform):
    together, answers = threading.Barrier(24), []

    def ask(path: str) -> None:
        together.wait()
        answers.append(requests.get(web.url + path, timeout=60))

    callers = [threading.Thread(target=ask, args=([SCHEMA, DOCS, "/api/v1/spells"][n % 3],)) for n in range(24)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    statuses = {path: {a.status_code for a in answers if a.url == web.url + path} for path in (SCHEMA, DOCS)}
    assert statuses == {SCHEMA: {200}, DOCS: {200}}, web.log("web")
    assert len({(a.content, a.headers["ETag"]) for a in answers if a.url == web.url + SCHEMA}) == 1
    assert len(answers) == 24


def test_who_has_the_description_is_not_sent_it_again(web: Platform):
    first = requests.get(web.url + SCHEMA, timeout=60)
    assert first.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    again = requests.get(web.url + SCHEMA, timeout=60, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert requests.head(web.url + SCHEMA, timeout=60).headers["Content-Length"] == str(len(first.content))
    assert requests.get(web.url + SCHEMA, timeout=60, headers={"Accept": "application/json"}).json() == first.json()
    assert requests.post(web.url + SCHEMA, timeout=60).json()["code"] == "METHOD_NOT_ALLOWED"


def test_an_idle_connection_does_not_hold_up_a_restart(web: Platform):
    with requests.Session() as session:
        assert session.get(web.url + SCHEMA, timeout=60).status_code == 200
        assert web.stop("web") == 0
        assert "Forcing close" not in web.log("web")
        web.start("web")
        until(lambda: listens(web.web_port))


def test_a_web_process_that_stops_takes_no_connection_any_more(web: Platform):
    def is_last() -> bool:
        return kept.get(web.url + SCHEMA, timeout=60).headers.get("Connection") == "close"

    with requests.Session() as kept:
        assert not is_last()
        os.kill(web.web_process(), signal.SIGTERM)
        # Until it has been told. If it has closed the connection by then, the next process answers.
        until(lambda: is_last() or web.log("web").count("ASGI server listening") == 2)
    assert requests.get(web.url + "/livez", timeout=60).status_code == 200
    assert web.log("web").count("ASGI server listening") == 2  # gunicorn started another one, which answered


def test_a_request_on_a_kept_connection_is_answered_as_the_last_one_while_web_stops(web: Platform):
    # Which of the two a process finds first is chance; it answers in any case.
    until(lambda: answered_while_it_stops(web) == "close", seconds=120)


def answered_while_it_stops(web: Platform) -> str | None:
    """Have web find a request and its end together; return what the answer says of the connection. Web runs again.

    None also if this took so long that web was killed: it has graceful_timeout, and stands still for a part of it.
    """
    answers: list[requests.Response] = []
    with requests.Session() as session:
        assert session.get(web.url + SCHEMA, timeout=60).headers.get("Connection") != "close"
        child, process = web.web_process(), web.running.pop("web")
        asking = threading.Thread(target=ask, args=(session, web.url + SCHEMA, answers))
        began = time.monotonic()
        try:
            os.kill(child, signal.SIGSTOP)
            process.terminate()
            until(lambda: is_told_to_end(child))
            asking.start()
            until(lambda: waits_unread(web.web_port))
            os.kill(child, signal.SIGCONT)
            asking.join(60)
        except (FileNotFoundError, ProcessLookupError):
            pass
        late = time.monotonic() - began > GUNICORN["graceful_timeout"] / 2
        assert process.wait(30) == 0
        web.start("web")
        until(lambda: web.answers(web.url + SCHEMA))
    if late and not answers:
        return None
    [answer] = answers
    assert answer.status_code == 200
    return answer.headers.get("Connection")


def ask(session: requests.Session, url: str, answers: list[requests.Response]) -> None:
    with contextlib.suppress(requests.ConnectionError):
        answers.append(session.get(url, timeout=60))


def is_told_to_end(process: int) -> bool:
    """Whether SIGTERM waits for a process that is stopped."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return bool(int(status["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)


def waits_unread(port: int) -> bool:
    """Whether bytes have come to a server that it has not read."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[1].endswith(f":{port:04X}") and line[4].split(":")[1] != "00000000" for line in lines)


def test_a_request_line_that_is_too_long_is_told_so(web: Platform):
    answer = requests.get(web.url + "/api/v1/casts?metadata.x=" + "y" * 150_000, timeout=60)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (414, "URI_TOO_LONG")
    assert answer.json()["max_bytes"] < GUNICORN["limit_request_line"]


def test_what_may_be_stored_may_be_asked_for(here: Platform):
    key, value = "🔑" * 100, "🪄" * 500
    cast = here.cast("stumble", {"reason": "a long name"}, metadata={key: value})
    query = {f"metadata.{key}": value, "page_size": "1", "status": "failed"}
    assert here.ended(cast["cast_id"])["metadata"] == {key: value}
    found = here.call("GET", "/api/v1/casts", params=query)
    assert [one["cast_id"] for one in found.json()["results"]] == [cast["cast_id"]]


def test_our_proxies_let_go_of_connections_before_we_do():
    nginx = "".join(file.read_text() for file in sorted((ROOT / "deploy" / "nginx").glob("*.conf")))
    caddy = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
    page = (ROOT / "docs" / "how-to" / "production.md").read_text()
    kept = re.findall(r"^ +keepalive_timeout (\d+)s;", nginx, re.MULTILINE)
    kept += re.findall(r"^\s+keepalive (\d+)s\b", caddy, re.MULTILINE)
    assert len(kept) == 3
    assert max(map(int, kept)) < GUNICORN["keepalive"]
    told = re.findall(r"less than the service's (\d+)|does \((\d+) seconds", nginx + caddy + page)
    assert {one or other for one, other in told} == {"150"}
    assert GUNICORN["keepalive"] == 150 > 120  # Caddy's own default


def test_nginx_passes_on_what_we_take():
    from core.limits import TARGET_BYTES

    text = (ROOT / "deploy" / "nginx" / "pass.conf").read_text()
    [buffer] = re.findall(r"large_client_header_buffers \d+ (\d+)k;", text)
    assert int(buffer) * 1024 >= TARGET_BYTES
