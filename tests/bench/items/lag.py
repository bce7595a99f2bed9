"""How soon a cast ends after its run has: with webhooks, with some lost, and with none at all."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench import database
from tests.bench.installation import INPUT, Installation
from tests.bench.load import Connection, request
from tests.bench.measures import median, percentile
from tests.bench.processes import Server, running
from tests.bench.report import Table
from tests.bench.run import Run
from tests.e2e.platform import SECRET, free_port

AT_ONCE = 20
# name: what is lost, and what p50, p99 and maximum are aimed for, in seconds
WAYS: dict[str, tuple[dict[str, Any], tuple[float, float, float]]] = {
    "webhooks": ({}, (5, 5, 15)),
    "6 % of webhooks and 9 % of answers lost": ({"webhooks_lost": 0.06, "answers_lost": 0.09}, (15, 60, 60)),
    "no webhooks": ({"hook": ""}, (15, 60, 60)),
}


@contextmanager
def github(run: Run, place: Installation, port: int, **told: Any) -> Iterator[Server]:
    arguments = json.dumps({"port": port, "secret": SECRET, "runners": AT_ONCE, **told})
    command = [sys.executable, "-m", "tests.bench.runs", arguments]
    with running("runs", command, address=("127.0.0.1", port), folder=place.folder) as server:
        yield server


def measure(run: Run) -> None:
    """Cast so many times, twenty at once, and compare each run's end with its cast's."""
    count = run.pick(200, 40)
    table = Table(
        f"A run's end → its cast's end, {count} casts, {AT_ONCE} at once",
        ["way", "p50 s", "p99", "most", "calls a cast"],
    )
    run.findings.tables.append(table)
    for name, (told, (p50, p99, most)) in WAYS.items():
        with run.installation("lag") as place:
            lags, calls = lags_of(run, place, count, **told)
        found = median(lags), percentile(lags, 99), max(lags)
        table.add(name, *found, calls / count)
        run.say(f"lag, {name}: p50 {found[0]:.1f} s, p99 {found[1]:.1f} s, most {found[2]:.1f} s")
        run.findings.goal(
            f"lag, {name}", f"p50 < {p50} s, p99 < {p99} s, most < {most} s",
            f"{found[0]:.1f} / {found[1]:.1f} / {found[2]:.1f} s, {len(lags)} casts",
            found[0] < p50 and found[1] < p99 and found[2] < most and len(lags) == count,
        )  # fmt: skip


def lags_of(run: Run, place: Installation, count: int, **told: Any) -> tuple[list[float], int]:
    """Return each cast's lag in seconds, and how many calls GitHub was asked in all."""
    port = free_port()
    place.settings |= {
        "GITHUB_API_URL": f"http://127.0.0.1:{port}",
        "CAST_LOOK_MIN_SECONDS": "5",
        "DELIVERY_SWEEP_SECONDS": "0",
    }
    with place.web() as web:
        hook = {"hook": f"http://127.0.0.1:{web.address[1]}/api/webhooks/github"}
        with github(run, place, port, **(hook | told)) as there, place.worker():
            headers = {**place.authorized(), "Content-Type": "application/json"}
            body = json.dumps({"spell_key": "greet", "input": INPUT}).encode()
            sent, until = 0, time.monotonic() + 600
            while time.monotonic() < until:
                [(running_now,)] = database.execute(
                    place.database_url, "SELECT count(*) FROM casts_cast WHERE finished_at IS NULL"
                )
                if sent == count and not running_now:
                    break
                connection = Connection(web.address)
                for _ in range(min(AT_ONCE - int(str(running_now)), count - sent)):
                    status, answer = connection.ask(request("POST", "/api/v1/cast", headers=headers, body=body))
                    assert status == 201, answer
                    sent += 1
                connection.close()
                time.sleep(0.25)
            asking = Connection(there.address)
            _, answer = asking.ask(request("GET", "/_runs"))
            asking.close()
            seen = json.loads(answer)
    rows = database.execute(
        place.database_url,
        "SELECT run_key, extract(epoch FROM finished_at) FROM casts_cast WHERE status = 'succeeded'",
    )
    ends = {str(run["id"]): run["ended_at"] for run in seen["runs"]}
    run.say(f"asked: {seen['asked']}")
    return [float(str(at)) - ends[str(key)] for key, at in rows], sum(seen["asked"].values())
