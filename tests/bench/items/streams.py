"""Ten thousand watchers: opening and holding streams, and one event to one of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import database, payloads, peers, seed
from tests.bench.load import Connection
from tests.bench.measures import CpuShare, median, memory_kb, percentile, threads
from tests.bench.processes import NotStarted, Server
from tests.bench.report import Line, Table
from tests.bench.run import Run
from tests.bench.streams import AT_ONCE, Address, Streams, Target

OURS = "ours"
COLUMNS = ["server", "streams", "opened/s", "first byte p50 ms", "p99", "KB per stream", "threads", "idle CPU %"]
COLUMNS += ["event to one: p50 ms", "p99", "lost"]


@dataclass
class Side:
    """One server under measurement: how to open stream number n, and how to have it told something."""

    name: str
    servers: list[Server]
    target: Callable[[int], Target]
    news: Callable[[int], bytes]
    address: Address
    snapshot: int = 0  # events that come by themselves when a stream opens
    events: int = 60
    pause: float = 0.05

    def pids(self) -> list[int]:
        return [pid for server in self.servers for pid in server.pids()]


@contextmanager
def ours(run: Run, most: int, *, processes: int = 1) -> Iterator[tuple[Side, str]]:
    """Our web processes, each on a port of its own, and a database with that many open casts."""
    with run.installation("streams") as place:
        seed.casts(place.database_url, most + 2000, kind="waiting", events=True)
        ids = seed.ids(place.database_url, most + 2000)
        with place.web("web 1") as first:
            if processes == 1:
                yield our_side(place.stream, [first], ids), place.database_url
            else:
                with place.web("web 2") as second:
                    yield our_side(place.stream, [first, second], ids), place.database_url


def our_side(open_one: Callable[[Address, str], Target], servers: list[Server], ids: list[str]) -> Side:
    return Side(
        OURS if len(servers) == 1 else f"{OURS}, {len(servers)} processes",
        servers,
        lambda n: open_one(servers[n % len(servers)].address, ids[n]),
        payloads.begun,
        servers[0].address,
        snapshot=1,
    )


def measure(run: Run) -> None:
    """Open more and more streams on each server, and measure at each number."""
    counts = run.pick([100, 1000, 5000, 10_000], [100, 1000])
    table = Table("Streams", COLUMNS)
    table.note = (
        f"One process each, {AT_ONCE} connections opened at a time. Ours is authenticated, reads its cast, and is told "
        "by a signed webhook that is verified, stored and folded; the others take anybody, and are told by a bare POST."
    )
    run.findings.tables.append(table)
    with ours(run, counts[-1]) as (side, url):
        queries(run, side, url, seconds=0)
        series(run, side, counts, table, url=url)
    if not run.quick:
        with ours(run, counts[-1], processes=2) as (side, url):
            series(run, side, counts[-1:], table, url=url)
    for peer in peers.STREAM_PEERS:
        try:
            with peer.start(run.room(f"peer-{peer.name.replace(' ', '-')}")) as server:
                side = peer_side(peer, server)
                series(run, side, [n for n in counts if n <= peer.largest], table)
        except NotStarted as exc:
            run.skip(peer.name, exc)


def peer_side(peer: peers.StreamPeer, server: Server) -> Side:
    return Side(
        peer.name,
        [server],
        lambda n: peers.subscribe(server, f"topic-{n}"),
        lambda n: peers.publish(f"topic-{n}"),
        server.address,
        events=peer.events,
        pause=peer.pause,
    )


def series(run: Run, side: Side, counts: list[int], table: Table, *, url: str = "") -> None:
    """Open streams up to each of these numbers in turn and measure there."""
    warm(side)
    streams = Streams()
    pids = side.pids()
    before = memory_kb(pids)
    memory, latency, told = Line("memory", side.name, []), Line("latency", side.name, []), 0
    rate = math.nan
    costs: dict[str, list[tuple[float, float]]] = {"opening one": [], "KB each": [], "event to one": []}
    for count in counts:
        opening = streams.open([side.target(n) for n in range(len(streams.all), count)])
        run.say(f"{side.name}: {streams.held} streams, {opening.per_second:.0f} opened/s, {opening.failed} failed")
        streams.settle(side.snapshot)
        cpu = math.nan
        if count in (1000, 5000, 10_000):
            cpu, rate = idle(run, side, streams, url)
        kb = (memory_kb(side.pids()) - before) / max(1, streams.held)
        held = streams.held
        times = one_by_one(side, streams, first=told, count=side.events)
        told += side.events
        table.add(
            *(side.name, held, opening.per_second, median(opening.first_byte_ms)),
            *(percentile(opening.first_byte_ms, 99), kb, threads(side.pids()), cpu),
            *(median(times), percentile(times, 99), streams.lost),
        )
        memory.points.append((held, kb))
        latency.points.append((held, median(times)))
        for line, cost in zip(costs.values(), (1 / (opening.per_second or math.nan), kb, median(times)), strict=True):
            line.append((held, cost))
        if streams.held < count:
            break
        if side.name == OURS and count == counts[-1]:
            goals(run, count, opening.per_second, percentile(opening.first_byte_ms, 99), kb, cpu, streams.lost, rate)
    run.findings.lines += [memory, latency]
    if side.name == OURS:
        for name, line in costs.items():
            points = [(held, cost / line[0][1]) for held, cost in line]
            run.findings.lines.append(Line("growth in streams", f"ours: {name}", points))
    streams.close()


def warm(side: Side) -> None:
    """Have the server load and start what it needs once, so that it does not count as the first streams' cost."""
    streams = Streams()
    streams.open([side.target(n) for n in range(30)])
    streams.pump(0.5)
    streams.close()
    time.sleep(0.5)


def goals(
    run: Run, count: int, per_second: float, first_p99: float, kb: float, cpu: float, lost: int, rate: float
) -> None:
    told = run.findings.goal
    told(f"open streams: {count:,} on one process", "none dropped", f"{lost} dropped", lost == 0)
    told("memory per stream", "≤ 30 KB", f"{kb:.1f} KB", kb <= 30)
    reached = per_second >= 1000 and first_p99 < 500
    told("opening streams", "≥ 1,000/s, p99 < 500 ms", f"{per_second:,.0f}/s, p99 {first_p99:.0f} ms", reached)
    told(f"idle cost at {count:,}", "< 2 % of a core", f"{cpu:.2f} %, {rate:.0f} queries/min", cpu < 2)


def one_by_one(side: Side, streams: Streams, *, first: int, count: int) -> list[float]:
    """Tell single streams something, paced; return the milliseconds from the request to the event at the client."""
    connection, times = Connection(side.address), []
    for number in range(first, first + count):
        stream = streams.all[number % len(streams.all)]
        if stream.lost:
            continue
        known = stream.events
        news = side.news(number)
        if time.perf_counter() - connection.sent_at > 1:  # gunicorn closes a connection that was quiet for two seconds
            connection.close()
            connection = Connection(side.address)
        began = time.time_ns()
        connection.send(news)
        if streams.pump(15, lambda s=stream, k=known: s.events > k or s.lost):  # type: ignore[misc]
            times.append((stream.last - began) / 1e6)
        while connection.receive() is None:
            pass
        streams.pump(side.pause)
    connection.close()
    return times


def idle(run: Run, side: Side, streams: Streams, url: str) -> tuple[float, float]:
    """Hold still for some time; return the share of a core, and the queries a minute if it has a database."""
    if url:
        return queries(run, side, url, seconds=run.pick(40, 20), streams=streams)  # two heartbeats, or one
    share = CpuShare(side.pids())
    streams.pump(run.pick(10, 4))
    return share.percent(), math.nan


def queries(run: Run, side: Side, url: str, *, seconds: float, streams: Streams | None = None) -> tuple[float, float]:
    """Hold still and count what the database is asked meanwhile."""
    seconds = seconds or run.pick(20, 8)
    begun, (before, unit) = time.monotonic(), database.asked(url)
    share = CpuShare(side.pids())
    (streams.pump if streams else time.sleep)(seconds)
    cpu = share.percent()
    after, _ = database.asked(url)
    rate = 60 * (after - before) / (time.monotonic() - begun)
    held = streams.held if streams else 0
    run.say(f"{side.name}: idle with {held} streams: {cpu:.2f} % of a core, {rate:.0f} {unit} a minute")
    table = next((t for t in run.findings.tables if t.title == "Idle"), None)
    if table is None:
        table = Table("Idle", ["streams", "CPU % of a core", "database: asked a minute", "counted as"])
        run.findings.tables.append(table)
    table.add(held, cpu, rate, unit)
    return cpu, rate
