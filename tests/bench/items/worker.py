"""The worker: from accepting a cast to the dispatch request, and a hundred thousand open casts."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import database, seed
from tests.bench.installation import INPUT, Installation
from tests.bench.load import Connection, request
from tests.bench.measures import CpuShare, median, memory_kb, percentile
from tests.bench.processes import Server, running
from tests.bench.report import Line, Table
from tests.bench.run import Run
from tests.e2e.platform import free_port

CLAIM = """
import datetime, json, time, os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spellplatform.settings")
import django
django.setup()
from casts.models import Cast
times = []
for _ in range(60):
    began = time.perf_counter()
    rows = Cast.due_rows().claim(limit=8, lease=datetime.timedelta(seconds=30))
    times.append((time.perf_counter() - began) * 1000)
    assert len(rows) == 8, rows
    for row in rows:
        row.give_back(row.created_at)
print(json.dumps(times))
"""


@contextmanager
def github(folder: Path) -> Iterator[Server]:
    """The GitHub that answers at once."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.github", str(port)]
    with running("github", command, address=("127.0.0.1", port), folder=folder) as server:
        yield server


def seen(server: Server) -> dict[str, Any]:
    connection = Connection(server.address)
    _, body = connection.ask(request("GET", "/_seen"))
    connection.close()
    answer: dict[str, Any] = json.loads(body)
    return answer


def dispatch(run: Run) -> None:
    """Accept a cast every now and then on an idle system: how soon is GitHub asked to start its run?"""
    count = run.pick(60, 15)
    table = Table(
        "Accepting a cast → its dispatch request at GitHub, idle system", ["database", "p50 ms", "p99", "casts"]
    )
    table.note = "From the row's created_at, before its transaction commits, to the request's arrival."
    run.findings.tables.append(table)
    measured = {}
    with run.installation("dispatch") as place:
        measured["Postgres"] = accept_and_wait(run, place, count)
    folder = run.room("dispatch-sqlite")
    measured["SQLite"] = accept_and_wait(run, Installation(folder, f"sqlite:///{folder / 'bench.sqlite3'}"), count)
    for name, times in measured.items():
        table.add(name, median(times), percentile(times, 99), len(times))
        run.say(f"dispatch on {name}: p50 {median(times):.1f} ms, p99 {percentile(times, 99):.1f} ms")
    postgres, sqlite = measured["Postgres"], measured["SQLite"]
    p50, p99, lite = median(postgres), percentile(postgres, 99), percentile(sqlite, 99)
    run.findings.goal(
        "accept → dispatch request", "p50 ≤ 50, p99 ≤ 300 ms; SQLite p99 ≤ 600 ms",
        f"{p50:.0f} / {p99:.0f} ms; SQLite {lite:.0f} ms",
        p50 <= 50 and p99 <= 300 and lite <= 600 and len(postgres) == len(sqlite) == count,
    )  # fmt: skip


def accept_and_wait(run: Run, place: Installation, count: int) -> list[float]:
    times, accepted = [], {}
    with github(place.folder) as there:
        # Many points a minute: turns are booked as always, and none has to be waited for.
        place.settings |= {
            "GITHUB_API_URL": f"http://127.0.0.1:{there.address[1]}",
            "GITHUB_POINTS_PER_MINUTE": "90000",
        }
        with place.web() as web, place.worker():
            connection = Connection(web.address)
            time.sleep(3)  # the worker has started
            headers = {**place.authorized(), "Content-Type": "application/json"}
            body = json.dumps({"spell_key": "greet", "input": INPUT}).encode()
            for number in range(count + 2):
                more = {"Idempotency-Key": str(uuid.uuid4())}
                status, answer = connection.ask(request("POST", "/api/v1/cast", headers={**headers, **more}, body=body))
                assert status == 201, answer
                if number >= 2:  # the first ones mint the token and load what is loaded once
                    told = json.loads(answer)
                    accepted[told["cast_id"]] = told["created_at"]
                time.sleep(0.25)
            time.sleep(1.5)
            asked = seen(there)["dispatched"]
            connection.close()
    for cast_id, created_at in accepted.items():
        began = time_of(created_at)
        if cast_id in asked:
            times.append(asked[cast_id] / 1e6 - began)
    return times


def time_of(stamp: str) -> float:
    """Return milliseconds since 1970 of an RFC 3339 time."""
    import datetime as dt

    return dt.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() * 1000


def many_open(run: Run) -> None:
    """A hundred thousand running casts, all overdue for a look."""
    sizes = run.pick([1000, 10_000, 100_000], [1000, 10_000])
    table = Table("Claiming 8 of many due casts", ["open casts", "p50 ms", "p99"])
    claims = Line("growth in casts", "claim of 8 due casts", [])
    with run.installation("worker") as place:
        kept = 0
        for size in sizes:
            seed.casts(place.database_url, size - kept, kind="running", start=kept)
            kept = size
            times = claim_times(place)
            table.add(size, median(times), percentile(times, 99))
            claims.points.append((size, median(times)))
            run.say(f"claim among {size:,}: p50 {median(times):.2f} ms, p99 {percentile(times, 99):.2f} ms")
        run.findings.tables.append(table)
        run.findings.lines.append(claims)
        looks(run, place, sizes[-1], median(times))


def claim_times(place: Installation) -> list[float]:
    import subprocess

    from tests.e2e.platform import ROOT

    done = subprocess.run(
        [sys.executable, "-c", CLAIM], cwd=ROOT, env=place.environment(), capture_output=True, text=True, check=True
    )
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times[5:]


def looks(run: Run, place: Installation, size: int, claim: float) -> None:
    """Let the worker look at them for some time: how often does it ask GitHub, and does it grow?"""
    seconds = run.pick(60, 10)
    with github(place.folder) as there:
        place.settings |= {"GITHUB_API_URL": f"http://127.0.0.1:{there.address[1]}"}
        with place.worker() as worker:
            time.sleep(5)
            before, began = seen(there)["calls"], time.monotonic()
            first = memory_kb(worker.pids(), "Rss")
            share = CpuShare(worker.pids())
            time.sleep(seconds)
            after, took = seen(there)["calls"], time.monotonic() - began
            last, cpu = memory_kb(worker.pids(), "Rss"), share.percent()
    calls = {name: after.get(name, 0) - before.get(name, 0) for name in ("run", "list", "jobs")}
    points = sum(after.get(name, 0) for name in calls) * 60 / (took + 5)
    hourly = sum(calls.values()) * 3600 / took
    [(booked,)] = database.execute(
        place.database_url, "SELECT count(*) FROM casts_cast WHERE pace_at IS NOT NULL OR line_at IS NOT NULL"
    )
    table = Table(f"A worker with {size:,} open casts, all overdue", ["what", "measured", "limit"])
    table.add("requests to GitHub a minute, with the burst after its start", points, "900 points")
    table.add("requests to GitHub an hour, at the pace that followed", hourly, "spared as the hour's 5,000 run out")
    table.add("casts that were given a turn meanwhile", int(str(booked)), "")
    table.add("CPU % of a core", cpu, "")
    table.add("RSS after 5 s, MB", first / 1024, "")
    table.add(f"RSS {seconds} s later, MB", last / 1024, "flat")
    run.findings.tables.append(table)
    run.say(f"worker: {points:.0f} requests a minute, {hourly:.0f} an hour, {first / 1024:.0f} → {last / 1024:.0f} MB")
    run.findings.goal(
        f"worker with {size:,} open casts", "a claim ≤ 5 ms, within the points a minute, memory flat",
        f"{claim:.1f} ms, {points:.0f} a minute, {first / 1024:.0f} → {last / 1024:.0f} MB",
        claim <= 5 and points <= 900 and last <= first * 1.1,
    )  # fmt: skip
