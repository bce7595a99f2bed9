"""What rationing costs: the same requests to the same release with and without it, in turns on the same machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import ExitStack

from tests.bench.installation import INPUT, Installation
from tests.bench.load import Load, closed_loop, request
from tests.bench.measures import median
from tests.bench.processes import Server
from tests.bench.report import Table
from tests.bench.run import Run

ALLOWANCES = ("RATION_PER_KEY", "RATION_PER_ACCOUNT", "RATION_PER_LINK", "RATION_PER_ADDRESS")
PENALTIES = ("RATION_BAD_KEYS", "RATION_BAD_SIGNATURES", "RATION_FAILED_LOGINS", "RATION_FAILED_LOGINS_PER_USER")
OFF = dict.fromkeys((*ALLOWANCES, *PENALTIES), "0")
# What a minute of load needs: a block has as large a part of it as one of production's allowance.
ON = dict.fromkeys(ALLOWANCES, "100000")
Sides = dict[str, Server]
COLUMNS = ["GET or POST", "rationed", "requests/s", "p50 ms", "p99", "CPU ms each"]
ONE_CAST = """
from accounts.models import ApiKey
from casts.casting import CastOrder, place
key = ApiKey.objects.select_related("account").get()
print(place(CastOrder.of_key(key, spell_key="greet", input={"name": "Ada"}), None).body["cast_id"])
"""
NOTHING_LEFT = "from accounts.models import Account; Account.objects.update(requests_per_key=1)"


def measure(run: Run) -> None:
    """Measure a GET of two statements and POST /cast, not rationed and rationed, and what a refusal costs."""
    table = Table("Rationing", COLUMNS)
    table.note = "One web process for each side, a second each in turns. A refused key is refused by its digest."
    run.findings.tables.append(table)
    with ExitStack() as held:
        place = held.enter_context(run.installation("rationing"))
        sides: Sides = {}
        for name, settings in (("no", OFF), ("yes", ON)):
            sides[name] = held.enter_context(place.web(name, processes=1, **settings))
        cast_id = uuid.UUID(place.manage("shell", "-v0", "-c", ONE_CAST).strip())
        read = request("GET", f"/api/v1/casts/{cast_id}", headers=place.authorized())
        compare(run, table, "GET /casts/{id}, 8 at once", sides, lambda: read, at_once=8)
        compare(run, table, "GET /casts/{id}, 1 at once", sides, lambda: read, at_once=1)
        compare(run, table, "POST /cast, 8 at once", sides, lambda: cast(place), at_once=8)
        place.manage("shell", "-v0", "-c", NOTHING_LEFT)
        refused = [load_of(sides["yes"], lambda: read, at_once=8) for _ in range(3)]
        tell(table, "GET /casts/{id}, 8 at once", "and refused", refused)


def cast(place: Installation) -> bytes:
    body = json.dumps({"spell_key": "greet", "input": INPUT}).encode()
    headers = {**place.authorized(), "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    return request("POST", "/api/v1/cast", headers=headers, body=body)


def load_of(web: Server, source: Callable[[], bytes], *, at_once: int) -> Load:
    return closed_loop([web.address], source, concurrency=at_once, seconds=1.0, pids=web.pids())


def compare(run: Run, table: Table, title: str, sides: Sides, source: Callable[[], bytes], *, at_once: int) -> None:
    """Load both sides in turns, each as often first, and say by how much more CPU time the rationed one needed."""
    found: dict[str, list[Load]] = {name: [] for name in sides}
    for turn in range(run.pick(24, 12)):
        for name in sorted(sides, reverse=bool(turn % 2)):
            found[name].append(load_of(sides[name], source, at_once=at_once))
    wrong = {status for loads in found.values() for load in loads for status in load.statuses} - {200, 201}
    run.say(f"{title}: {wrong or 'all answered'}")
    for name, loads in found.items():
        tell(table, title, name, loads)
    more = 100 * (cpu(found["yes"]) / cpu(found["no"]) - 1)
    run.findings.goal(f"rationing, {title}", "≤ 5 % of a request", f"{more:+.1f} % CPU time", more <= 5)


def cpu(loads: list[Load]) -> float:
    """Return the CPU time of one request, in milliseconds, over all turns."""
    asked = sum(len(load.latencies) for load in loads)
    return sum(load.cpu_ms * len(load.latencies) for load in loads) / max(1, asked)


def tell(table: Table, title: str, name: str, loads: list[Load]) -> None:
    rate, half, tail = (
        median(figures) for figures in zip(*((x.per_second, x.at(50), x.at(99)) for x in loads), strict=True)
    )
    table.add(title, name, rate, half, tail, cpu(loads))
