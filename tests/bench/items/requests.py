"""Webhooks and POST /cast under load, beside the least that a Django view must do, in turns on the same machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from tests.bench import database, payloads, peers, seed
from tests.bench.installation import INPUT
from tests.bench.load import Load, closed_loop, request
from tests.bench.measures import median
from tests.bench.processes import NotStarted, Server
from tests.bench.report import Table, ratio
from tests.bench.run import Run

PROCESSES = 2
Sides = dict[str, tuple[Server, Callable[[], bytes]]]
Rounds = dict[str, list[Load]]
COLUMNS = ["server", "requests/s", "p50 ms", "p99", "CPU ms each", "ours is"]
RAW_INSERT = """
INSERT INTO minimal_delivery (guid, event, body, received_at)
VALUES (gen_random_uuid()::text, 'workflow_run', '{body}', now()) ON CONFLICT DO NOTHING;
"""


def deliveries() -> Callable[[], bytes]:
    """Return a source of webhooks as GitHub sends them: about a hundred runs at a time, each in its order."""

    def sent() -> Iterator[bytes]:
        for hundred in count():
            lives = [payloads.life(number) for number in range(100 * hundred, 100 * (hundred + 1))]
            for moment in zip(*lives, strict=True):
                yield from moment

    return sent().__next__


def rounds(run: Run, sides: Sides, *, concurrency: int, times: int) -> Rounds:
    """Load each side in turn, several times over, so that all share what else the machine is doing."""
    found: Rounds = {name: [] for name in sides}
    for _ in range(times):
        for name, (server, source) in sides.items():
            seconds = run.pick(5.0, 2.0)
            load = closed_loop([server.address], source, concurrency=concurrency, seconds=seconds, pids=server.pids())
            wrong = {status: n for status, n in load.statuses.items() if status not in (200, 201, 202)}
            run.say(f"{name}, {concurrency} at once: {load.per_second:.0f}/s, p99 {load.at(99):.1f} ms {wrong or ''}")
            found[name].append(load)
    return found


def tell(table: Table, found: Rounds, ours: str) -> None:
    """Add a line for each side: medians over the rounds."""
    mine = median(load.per_second for load in found[ours])
    for name, loads in found.items():
        rate = median(load.per_second for load in loads)
        middle, tail = median(load.at(50) for load in loads), median(load.at(99) for load in loads)
        cpu = median(load.cpu_ms for load in loads)
        table.add(name, rate, middle, tail, cpu, "" if name == ours else ratio(mine, rate))


def webhooks(run: Run) -> None:
    times = run.pick(3, 2)
    table = Table("Webhooks, 12 KB, signed, 16 at once", COLUMNS)
    table.note = (
        f"{PROCESSES} web processes. Ours: six deliveries a run, each verified, stored once and folded into its cast, "
        "with its event. The minimal view verifies and inserts."
    )
    run.findings.tables.append(table)
    with ExitStack() as held:
        sides: Sides = {}
        place = held.enter_context(run.installation("webhooks"))
        seed.casts(place.database_url, run.pick(20_000, 6000), kind="waiting", events=True)
        source = deliveries()
        # A database of its own, and a source of its own: who sends what must not depend on the other.
        anchor_url = database.create(run.postgres, "bench_minimal")
        held.callback(database.drop, run.postgres, anchor_url)
        peers.prepare_minimal(anchor_url, place.key)
        web = held.enter_context(place.web(processes=PROCESSES))
        sides["ours"] = (web, source)
        for name, threads in (("minimal Django view, same server", 0), ("minimal Django view, 4 threads each", 4)):
            folder = run.room(f"minimal-webhooks-{threads}")
            server = peers.minimal(name, folder, anchor_url, place.key, processes=PROCESSES, threads=threads)
            sides[name] = (held.enter_context(server), deliveries())
        found = rounds(run, sides, concurrency=16, times=times)
        # Not in turns with the others: what it runs for each delivery goes on for seconds after it has answered.
        try:
            with peers.webhook_program(run.room("webhook-program")) as program:
                side: Sides = {"webhook (Debian; stores nothing)": (program, deliveries())}
                found |= rounds(run, side, concurrency=16, times=1)
        except NotStarted as exc:
            run.skip("webhook (Debian)", exc)
        tell(table, found, "ours")
        raw_insert(run, anchor_url, table, median(load.per_second for load in found["ours"]))
        profile(run, place.database_url, "webhooks")
    ours, theirs = found["ours"], found["minimal Django view, same server"]
    part = median(x.per_second for x in ours) / median(x.per_second for x in theirs)
    tail = median(x.at(99) for x in ours)
    run.findings.goal(
        "webhooks at concurrency 16",
        "≥ 120 % of the minimal view, p99 < 60 ms",
        f"{100 * part:.0f} %, p99 {tail:.0f} ms",
        part >= 1.2 and tail < 60,
    )  # fmt: skip


def raw_insert(run: Run, url: str, table: Table, mine: float) -> None:
    """What the database alone takes: the same insert without Python."""
    body = payloads.template("workflow_run.requested.json", "requested", None, 0, 0)[1].decode().replace("'", "''")
    try:
        folder: Path = run.room("pgbench")
        script = RAW_INSERT.format(body=body.replace(":", "&#58;"))  # a colon would be a variable of pgbench's
        rate = database.pgbench(url, script, folder, clients=16, seconds=run.pick(5, 2))
    except database.NoPgbench as exc:
        run.skip("pgbench", exc)
        return
    table.add("raw insert (pgbench)", rate, None, None, None, ratio(mine, rate))


def casts(run: Run) -> None:
    times = run.pick(3, 2)
    alone_goal, part_goal = 0.0, 0.0
    with run.installation("casts") as place:
        anchor_url = database.create(run.postgres, "bench_minimal")
        peers.prepare_minimal(anchor_url, place.key)

        def cast() -> bytes:
            body = json.dumps({"spell_key": "greet", "input": INPUT}).encode()
            headers = {**place.authorized(), "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
            return request("POST", "/api/v1/cast", headers=headers, body=body)

        with ExitStack() as held:
            held.callback(database.drop, run.postgres, anchor_url)
            web = held.enter_context(place.web(processes=PROCESSES))
            sides: Sides = {"ours": (web, cast)}
            names = (("minimal DRF view, same server", 0), ("minimal DRF view, 4 threads each", 4))
            for name, threads in names:
                folder = run.room(f"minimal-casts-{threads}")
                server = peers.minimal(name, folder, anchor_url, place.key, processes=PROCESSES, threads=threads)
                sides[name] = (held.enter_context(server), cast)
            for concurrency in (1, 8, 16):
                found = rounds(run, sides, concurrency=concurrency, times=times if concurrency == 8 else 2)
                table = Table(f"POST /cast, {concurrency} at once", COLUMNS)
                if concurrency == 1:
                    table.note = (
                        f"{PROCESSES} web processes. Ours: key, schema, idempotency, budget, ledger, event. The "
                        "minimal view: key and three inserts."
                    )
                    alone_goal = median(load.at(50) for load in found["ours"])
                if concurrency == 8:
                    mine, theirs = found["ours"], found[names[0][0]]
                    part_goal = median(x.per_second for x in mine) / median(x.per_second for x in theirs)
                tell(table, found, "ours")
                run.findings.tables.append(table)
            profile(run, place.database_url, "POST /cast")
    run.findings.goal(
        "POST /cast", "≥ 85 % of a minimal DRF view at 8; p50 ≤ 10 ms alone",
        f"{100 * part_goal:.0f} %; {alone_goal:.1f} ms", part_goal >= 0.85 and alone_goal <= 10,
    )  # fmt: skip


def profile(run: Run, url: str, what: str) -> None:
    """Keep what the database was asked, and how long it took: where to look first."""
    table = Table(f"{what}: statements that took the database longest", ["calls", "ms in all", "statement"])
    for calls, milliseconds, text in database.statements(url):
        table.add(int(str(calls)), float(str(milliseconds)), f"`{' '.join(str(text).replace('|', '/').split())}`")
    run.findings.tables.append(table)
