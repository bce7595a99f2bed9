"""From GitHub's webhook to the client: to one stream among thousands, over two processes, and to a thousand at once."""

from __future__ import annotations

import time

from tests.bench import database, payloads, peers
from tests.bench.items.streams import Side, one_by_one, ours
from tests.bench.load import Connection
from tests.bench.measures import CpuShare, median, memory_kb, percentile
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


def held(run: Run) -> None:
    """Hold ten thousand streams on two processes for ten minutes, tell each one something, and count."""
    count, seconds = run.pick((10_000, 600), (500, 10))
    with ours(run, count, processes=2) as (side, url):
        streams = Streams()
        opening = streams.open([side.target(n) for n in range(count)])
        run.say(f"{streams.held} streams, {opening.per_second:.0f} opened/s")
        streams.settle(1, seconds=60)
        before, _ = database.asked(url)
        first, share = memory_kb(side.pids()), CpuShare(side.pids())
        connections = [Connection(server.address) for server in side.servers]
        began = time.monotonic()
        for number in range(count):
            connection = connections[number % 2 ^ number // 2 % 2]  # half of them at the other process
            connection.send(side.news(number))
            while connection.receive() is None:
                pass
            streams.pump(max(0.0, began + (number + 1) * seconds / count - time.monotonic()))
        streams.settle(2, seconds=15)
        took = time.monotonic() - began
        after, _ = database.asked(url)
        missed, twice = sum(s.events < 2 for s in streams.all), sum(s.events > 2 for s in streams.all)
        lost, cpu, grown = streams.lost + opening.failed, share.percent(), memory_kb(side.pids()) - first
        streams.close()
    table = Table(f"{count:,} streams held for {took / 60:.1f} minutes on two processes", ["what", "measured"])
    table.note = "Each cast's run begins once in this time, told by a signed webhook to one process or the other."
    table.add("streams dropped", lost)
    table.add("streams that missed their event", missed)
    table.add("streams that were told it twice", twice)
    table.add("webhooks a second", count / took)
    table.add("CPU % of a core", cpu)
    table.add("memory grown, MB", grown / 1024)
    table.add("statements for each webhook, with all that went on beside", (after - before) / count)
    run.findings.tables.append(table)
    run.say(f"held {took:.0f} s: {lost} dropped, {missed} missed, {twice} twice, {cpu:.1f} % of a core")
    run.findings.goal(
        f"{count:,} streams held {took / 60:.0f} minutes", "none dropped, none missed an event",
        f"{lost} dropped, {missed} missed", not lost and not missed and not twice,
    )  # fmt: skip


def to_all(run: Run) -> None:
    """One event to a thousand streams of one cast: when has the last one got it?"""
    count = run.pick(1000, 300)
    table = Table(f"One event to {count:,} streams", ["server", "last stream p50 ms", "p99", "middle stream p50 ms"])
    run.findings.tables.append(table)
    with ours(run, 10) as (side, _):
        p99 = broadcast(run, side, count, table, lambda k: payloads.stepped(0, k))
    run.findings.goal(f"one event to {count:,} streams", "last stream p99 ≤ 45 ms", f"{p99:.1f} ms", p99 <= 45)
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
    for k in range(run.pick(41, 13)):
        known = {s.number: s.events for s in streams.all}
        request = news(k + 1)  # type: ignore[operator]
        began = time.time_ns()
        connection.send(request)
        told = streams.pump(10, lambda before=known: all(s.events > before[s.number] or s.lost for s in streams.all))  # type: ignore[misc]
        if told and k:  # the first one has the server load what it needs
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
