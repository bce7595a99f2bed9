"""Reading at a thousand and at a million casts: one cast, and a page of twenty."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.bench import database, seed
from tests.bench.installation import Installation
from tests.bench.load import Connection, closed_loop, request
from tests.bench.report import Line, Table
from tests.bench.run import Run
from tests.bench.streams import Address

SHOWN = 500  # casts that are asked for, one after the other


def measure(run: Run) -> None:
    sizes = run.pick([1000, 10_000, 100_000, 1_000_000], [1000, 20_000])
    table = Table("Reading, 8 at once", ["casts", "what", "requests/s", "p50 ms", "p95", "statements a request"])
    run.findings.tables.append(table)
    lines = {what: Line("growth in casts", what, []) for what in ("GET /casts/{id}", "GET /casts, 20")}
    with run.installation("history") as place:
        kept = 0
        for size in sizes:
            seed.casts(place.database_url, size - kept, kind="succeeded", start=kept)
            kept = size
            run.say(f"{size:,} casts are there")
            with place.web(processes=2) as web:
                for what, ask in asked(place, size).items():
                    load = closed_loop([web.address], ask, concurrency=8, seconds=run.pick(4.0, 2.0))
                    each = statements(place.database_url, web.address, ask)
                    run.say(
                        f"{what} at {size:,}: {load.per_second:.0f}/s, p95 {load.at(95):.1f} ms, {each:g} statements"
                    )
                    table.add(size, what, load.per_second, load.at(50), load.at(95), each)
                    lines[what].points.append((size, load.at(95)))
    run.findings.lines += lines.values()
    for (what, line), limit in zip(lines.items(), (25, 60), strict=True):
        counts = {row[5] for row in table.rows if row[1] == what}
        largest, p95 = line.points[-1]
        run.findings.goal(
            f"{what} at {largest:,.0f} casts, 8 at once", f"p95 ≤ {limit} ms, constant statements",
            f"{p95:.1f} ms, {'constant' if len(counts) == 1 else counts}", p95 <= limit and len(counts) == 1,
        )  # fmt: skip


def asked(place: Installation, size: int) -> dict[str, Callable[[], bytes]]:
    """Return what is asked for: casts from all over the history, and pages at its end and in its middle."""
    rows = database.execute(
        place.database_url,
        "SELECT c.id FROM casts_cast c JOIN accounts_account a ON a.id = c.account_id WHERE a.name = 'bench' "
        "AND (run_key::bigint - %s) %% greatest(2, 2 * (%s / 2 / %s)) = 0 LIMIT %s",
        *(seed.FIRST_RUN, size, SHOWN, SHOWN),
    )
    headers = place.authorized()
    ones = itertools.cycle([request("GET", f"/api/v1/casts/{row[0]}", headers=headers) for row in rows])
    page = request("GET", "/api/v1/casts", headers=headers)
    return {"GET /casts/{id}": ones.__next__, "GET /casts, 20": lambda: page}


def statements(url: str, address: Address, ask: Callable[[], bytes], times: int = 20) -> float:
    """Return what one request asks the database."""
    connection = Connection(address)
    connection.ask(ask())
    before, _ = database.asked(url)
    for _ in range(times):
        status, _ = connection.ask(ask())
        assert status == 200, status
    after, _ = database.asked(url)
    connection.close()
    return round((after - before) / times, 1)
