"""Streams beside API calls: on the same processes, or each on processes of their own."""

from __future__ import annotations

import json
import multiprocessing
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import payloads, seed
from tests.bench.installation import INPUT
from tests.bench.items.streams import Side, one_by_one
from tests.bench.load import closed_loop, request
from tests.bench.measures import median, percentile
from tests.bench.report import Table
from tests.bench.run import Run
from tests.bench.streams import Address, Streams


def measure(run: Run) -> None:
    """Two processes, a thousand streams, and callers who cast without a pause."""
    count, posts = run.pick((1000, 200), (200, 40))
    table = Table(
        f"{count:,} streams beside POST /cast, 4 at once, two processes",
        ["layout", "casts/s", "p99 ms", "event to one: p50 ms", "p99"],
    )
    table.note = "Split: one process has the streams, the other the API and the webhooks, as a proxy can route them."
    run.findings.tables.append(table)
    with run.installation("layout") as place:
        seed.casts(place.database_url, count, kind="waiting", events=True)
        ids = seed.ids(place.database_url, count)

        def cast() -> bytes:
            headers = {**place.authorized(), "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
            body = json.dumps({"spell_key": "greet", "input": INPUT}).encode()
            return request("POST", "/api/v1/cast", headers=headers, body=body)

        with place.web("web 1") as first, place.web("web 2") as second:
            both = [first, second]
            layouts = {"both on both": (both, both), "split": ([second], [first])}
            for number, (name, (streaming, answering)) in enumerate(layouts.items()):
                # Which casts there are news of must not depend on the other layout.
                shift, half = number * count // 2, count // 2
                side = Side(
                    name,
                    both,
                    lambda n, s=streaming, k=shift, h=half: place.stream(s[n % len(s)].address, ids[k + n % h]),  # type: ignore[misc]
                    lambda n, k=shift: payloads.begun(k + n),  # type: ignore[misc]
                    answering[0].address,
                )
                rate, tail, times = beside(run, side, [server.address for server in answering], cast, count, posts)
                table.add(name, rate, tail, median(times), percentile(times, 99))
                run.say(
                    f"{name}: {rate:.0f} casts/s, event p50 {median(times):.1f} ms, p99 {percentile(times, 99):.1f} ms"
                )


def beside(
    run: Run, side: Side, addresses: Sequence[Address], cast: Callable[[], bytes], count: int, posts: int
) -> tuple[float, float, list[float]]:
    """Tell single streams something while somebody casts; return casts a second, their p99 and the events' times."""
    streams = Streams()
    streams.open([side.target(n) for n in range(count)])
    streams.settle(1)
    hearing, telling = multiprocessing.Pipe(duplex=False)
    seconds = posts * 0.08
    load = multiprocessing.get_context("fork").Process(target=casting, args=(telling, addresses, cast, seconds))
    load.start()
    streams.pump(0.5)
    times = one_by_one(side, streams, first=0, count=posts)
    rate, tail = hearing.recv()
    load.join()
    streams.close()
    return rate, tail, times


def casting(telling: Any, addresses: Sequence[Address], cast: Callable[[], bytes], seconds: float) -> None:
    """Cast for so long, in a process of its own, and tell how fast it went."""
    load = closed_loop(addresses, cast, concurrency=4, seconds=seconds)
    telling.send((load.per_second, load.at(99)))
