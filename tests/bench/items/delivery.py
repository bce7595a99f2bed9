"""From GitHub's webhook to the client: to one stream among thousands, over two processes, and to a thousand at once."""

from __future__ import annotations

import time

from tests.bench import payloads, peers
from tests.bench.items.streams import Side, one_by_one, ours
from tests.bench.load import Connection
from tests.bench.measures import median, percentile
from tests.bench.processes import NotStarted
from tests.bench.report import Line, Table
from tests.bench.run import Run
from tests.bench.streams import Streams


def to_one(run: Run) -> None:
    """POST webhooks to the first of two processes; the streams are on both."""
    count, posts = run.pick((5000, 400), (500, 60))
    with ours(run, count, processes=2) as (side, _):
        streams = Streams()
        opening = streams.open([side.target(n) for n in range(count)])
        run.say(f"two processes: {streams.held} streams, {opening.per_second:.0f} opened/s")
        streams.settle(1)
        times = one_by_one(side, streams, first=0, count=posts)
        lost = streams.lost
        streams.close()
    table = Table(
        f"Webhook in → event at the client, {count:,} streams over two processes", ["stream is", "p50 ms", "p99"]
    )
    table.note = (
        "12 KB, signed, 20 a second; verified, stored, folded, committed, fanned out. Kernel's clock at the client."
    )
    table.add("on the process that got the webhook", median(times[::2]), percentile(times[::2], 99))
    table.add("on the other one", median(times[1::2]), percentile(times[1::2], 99))
    table.add("all", median(times), percentile(times, 99))
    run.findings.tables.append(table)
    p50, p99 = median(times), percentile(times, 99)
    run.findings.goal(
        f"webhook → client, one of {count:,}",
        "p50 ≤ 10 ms, p99 ≤ 40 ms",
        f"{p50:.1f} / {p99:.1f} ms ({lost} lost, {posts - len(times)} missed)",
        p50 <= 10 and p99 <= 40 and not lost and len(times) == posts,
    )


def to_all(run: Run) -> None:
    """One event to a thousand streams of one cast: when has the last one got it?"""
    count = run.pick(1000, 300)
    table = Table(f"One event to {count:,} streams", ["server", "last stream p50 ms", "p99", "middle stream p50 ms"])
    run.findings.tables.append(table)
    with ours(run, 10) as (side, _):
        p99 = broadcast(run, side, count, table, lambda k: payloads.stepped(0, k))
    run.findings.goal(f"one event to {count:,} streams", "last stream p99 ≤ 60 ms", f"{p99:.1f} ms", p99 <= 60)
    for peer in peers.STREAM_PEERS[:4]:
        try:
            with peer.start(run.room(f"all-{peer.name.replace(' ', '-')}")) as server:
                side = Side(
                    peer.name,
                    [server],
                    lambda n, s=server: peers.subscribe(s, "topic"),  # type: ignore[misc]
                    lambda n: peers.publish("topic"),
                    server.address,
                )
                broadcast(run, side, count, table, lambda k: peers.publish("topic"))
        except NotStarted as exc:
            run.skip(peer.name, exc)


def broadcast(run: Run, side: Side, count: int, table: Table, news: object) -> float:
    streams = Streams()
    streams.open([(side.address, side.target(0)[1])] * count)
    streams.settle(side.snapshot)
    connection, last, middle = Connection(side.address), [], []
    for k in range(run.pick(40, 12)):
        known = {s.number: s.events for s in streams.all}
        request = news(k + 1)  # type: ignore[operator]
        began = time.time_ns()
        connection.send(request)
        if streams.pump(10, lambda before=known: all(s.events > before[s.number] or s.lost for s in streams.all)):  # type: ignore[misc]
            times = [(s.last - began) / 1e6 for s in streams.all if not s.lost]
            last.append(max(times))
            middle.append(median(times))
        while connection.receive() is None:
            pass
        streams.pump(0.15)
    connection.close()
    streams.close()
    run.say(f"{side.name}: to {count}: last p50 {median(last):.1f} ms, p99 {percentile(last, 99):.1f} ms")
    table.add(side.name, median(last), percentile(last, 99), median(middle))
    run.findings.lines.append(Line("broadcast", side.name, [(count, percentile(last, 99))]))
    return percentile(last, 99)
