"""`Prefer: wait=N`: an answer when the cast ends, and no thread or connection held until then."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.platform import Platform, server, until

PAGE_THREADS = 2  # as by default
WEB_THREADS = 4  # as conftest sets it


def threads(where: Platform) -> int:
    status = Path(f"/proc/{where.web_process()}/status").read_text()
    found = re.search(r"^Threads:\s+(\d+)", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def connections(where: Platform) -> list[str]:
    """Return the state of each of web's connections to Postgres."""
    query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'web'"
    return [row["state"] for row in where.rows(query)]


def waiting(where: Platform, cast_id: str) -> requests.Response:
    return where.call("GET", f"/api/v1/casts/{cast_id}", headers={"Prefer": "wait=30"})


def casting(where: Platform, spell: str, input: Any, wait: int) -> requests.Response:
    body = {"spell_key": spell, "input": input}
    return where.call("POST", "/api/v1/cast", json=body, headers={"Prefer": f"wait={wait}"})


@pytest.mark.parametrize("spell", ["echo", "echo-event"])
def test_a_cast_that_waits_is_answered_with_its_output(here: Platform, spell: str):
    begun = time.monotonic()
    answer = casting(here, spell, {"word": "abracadabra ✨"}, 30)
    assert time.monotonic() - begun < 15
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, "wait=30")
    cast = answer.json()
    assert answer.headers["Location"] == f"{here.url}/api/v1/casts/{cast['cast_id']}"
    assert (cast["status"], cast["final"], cast["output"]) == ("succeeded", True, {"word": "abracadabra ✨"})


def test_a_wait_that_runs_out_is_answered_with_the_cast_as_it_is(here: Platform):
    gate = here.gate()
    answer = casting(here, "gate", {"gate": str(gate)}, 1)
    assert (answer.status_code, answer.json()["final"]) == (201, False)
    gate.touch()
    assert here.ended(answer.json()["cast_id"])["status"] == "succeeded"


def test_thirty_wait_at_once_without_holding_threads_or_connections(here: Platform):
    gate = here.gate()
    cast_id = here.cast("gate", {"gate": str(gate)})["cast_id"]
    here.at_gate(cast_id)
    with ThreadPoolExecutor(30) as pool:
        # Have web start all the threads that it will ever need; on a busy machine one round does not keep all at work.
        started = [0]
        while len({*started[-5:]}) > 1 or len(started) < 5:
            assert {cast["final"] for cast in pool.map(here.get, [cast_id] * 30)} == {False}
            started.append(threads(here))
            assert len(started) < 50, started
        here.get(cast_id, wait=1)
        threads_before, casts_before = threads(here), casts(here)
        sent = [pool.submit(waiting, here, cast_id) for _ in range(29)]
        sent.append(pool.submit(casting, here, "gate", {"gate": str(gate)}, 30))
        until(lambda: casts(here) == casts_before + 1)
        until(lambda: established(here) >= 30)
        took = []
        for _ in range(20):
            begun = time.monotonic()
            here.get(cast_id)
            took.append(time.monotonic() - begun)
        assert not any(answer.done() for answer in sent)
        # On a busy machine too: had the thirty held web's few threads, these would have waited for half a minute.
        assert sorted(took)[10] < 1, took
        assert max(took) < 5, took
        # None of the thirty has one. (One for pages, or for what is told in the background, may have begun meanwhile.)
        assert threads(here) <= threads_before + PAGE_THREADS
        if server():
            states = until(lambda: (found := connections(here)) and not {*found} - {"idle"} and found)
            # And the event hub's, which listens on one and reads on the other, and that on which wake-ups are sent; and
            # those of the threads for pages, if another test has asked for one.
            assert len(states) <= WEB_THREADS + 3 + PAGE_THREADS
        gate.touch()
        answers = [answer.result() for answer in sent]
    assert [answer.status_code for answer in answers] == [200] * 29 + [201]
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}


def casts(where: Platform) -> int:
    [row] = where.rows("SELECT COUNT(*) AS casts FROM casts_cast")
    return row["casts"]


def established(where: Platform) -> int:
    """Return how many client connections web has open."""
    port = f":{where.web_port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(port) and state == "01" for _, local, _, state, *_ in lines)
