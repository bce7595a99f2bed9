"""Two thousand streams over two web processes that are restarted one after the other: nobody misses an event."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.e2e.conftest import SPELLS
from tests.e2e.platform import ROOT, Platform, drop_database, free_port, prepared, server, until

STREAMS, CASTS, ROUNDS, EVERY = 2000, 40, 24, 0.5
pytestmark = pytest.mark.skipif(not server(), reason="on SQLite there is one web process")


@pytest.fixture
def many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * STREAMS:
        pytest.skip(f"{2 * STREAMS} open files are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class TwoWebs(Platform):
    """A platform with two web processes, each on a port of its own; GitHub and workers are not needed."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.ports = {"web-1": free_port(), "web-2": free_port()}

    def command(self, name: str) -> list[str]:
        return super().command("web")

    def launch(self, name: str) -> None:
        self.start(name, BIND=f"127.0.0.1:{self.ports[name]}")
        until(lambda: self.answers(f"http://127.0.0.1:{self.ports[name]}/api/v1/budget"))


@dataclass
class Watcher:
    """One client: reads, and reconnects to the other process with its last id, as the standard says."""

    cast_id: str
    ports: list[int]
    ids: list[int] = field(default_factory=list)
    goodbyes: int = 0
    broken: int = 0

    async def follow(self, key: str, last: int) -> None:
        while not self.ids or self.ids[-1] < last:
            try:
                await self.connect(key, last)
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
            self.ports.reverse()
            await asyncio.sleep(0.2)

    async def connect(self, key: str, last: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[0], limit=1 << 20)
        try:
            position = f"Last-Event-ID: {self.ids[-1]}\r\n" if self.ids else ""
            request = f"GET /api/v1/casts/{self.cast_id}/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            writer.write(f"{request}Authorization: Bearer {key}\r\n{position}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n", 1)[0], head
            while size := int(await reader.readuntil(b"\r\n"), 16):
                part = (await reader.readexactly(size + 2)).decode()
                self.goodbyes += "event: restarting" in part
                self.ids += [int(line[4:]) for line in part.splitlines() if line.startswith("id: ")]
                if self.ids and self.ids[-1] >= last:
                    return
        finally:
            writer.close()


def seeded(where: TwoWebs) -> list[str]:
    """Return casts whose runs are at work."""
    casts = [where.cast("echo", [number])["cast_id"] for number in range(CASTS)]
    script = (
        "import sys, django; django.setup()\n"
        "from django.utils import timezone\n"
        "from casts.models import Cast\n"
        "for run_id, cast_id in enumerate(sys.argv[1:], 1):\n"
        "    found = Cast.objects.filter(pk=cast_id)\n"
        "    found.update(run_key=str(run_id), due_at=None, dispatch_started_at=timezone.now())\n"
    )
    warm.run([sys.executable, "-c", script, *casts], cwd=ROOT, env=environment(where), check=True)
    return casts


def environment(where: TwoWebs) -> dict[str, str]:
    return where.environment | {"DJANGO_SETTINGS_MODULE": "spellplatform.settings"}


def test_nobody_misses_an_event_while_both_processes_are_restarted(tmp_path: Path, many_files: None) -> None:
    database, key = prepared(SPELLS)
    where = TwoWebs(tmp_path, database=database)
    where.key = key
    took: dict[str, float] = {}

    async def scene(casts: list[str]) -> list[Watcher]:
        ports = list(where.ports.values())
        last = 1 + ROUNDS
        watchers = [Watcher(casts[n % CASTS], ports[:: 1 if n % 2 else -1]) for n in range(STREAMS)]
        following = [asyncio.create_task(watcher.follow(key, last)) for watcher in watchers]
        while not all(watcher.ids for watcher in watchers):
            await asyncio.sleep(0.1)
        restarted = tmp_path / "restarted"  # or, on a busy machine, all would be over before the second one stops
        arguments = [sys.executable, "-m", "tests.e2e.ticker", str(ROUNDS), str(EVERY), str(restarted), *casts]
        ticker = await asyncio.to_thread(warm.Popen, arguments, cwd=ROOT, env=environment(where))
        for name in ("web-1", "web-2"):
            while not all(len(watcher.ids) > (2 if name == "web-1" else 8) for watcher in watchers):
                await asyncio.sleep(0.05)
            began = time.monotonic()
            await asyncio.to_thread(where.stop, name)
            took[name] = time.monotonic() - began
            await asyncio.to_thread(where.launch, name)
        restarted.touch()
        await asyncio.wait_for(asyncio.gather(*following), 120)
        assert await asyncio.to_thread(ticker.wait, 30) == 0
        return watchers

    try:
        for name in where.ports:
            where.launch(name)
        where.url = f"http://127.0.0.1:{where.ports['web-1']}"
        casts = seeded(where)
        watchers = asyncio.run(scene(casts))
        gaps = [w.ids for w in watchers if w.ids != list(range(1, ROUNDS + 2))]
        assert gaps == []
        # Every stream was told; only who came to a closed port got a broken connection.
        assert sum(w.goodbyes for w in watchers) >= STREAMS
        assert max(took.values()) < 10, took
        print(json.dumps({"stopped in": took, "refused": sum(w.broken for w in watchers)}))
    finally:
        where.stop(*where.running)
        drop_database(where.database_url)
