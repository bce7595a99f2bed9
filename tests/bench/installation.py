"""The real product as it is deployed: gunicorn with our own configuration, authentication and everything on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load import request
from tests.bench.processes import Server, running
from tests.bench.streams import Address, Target
from tests.e2e.platform import EVERY_SCOPE, environment_for, free_port, manage

SPELLS = """
[greet]
price_cents = 5
input_schema = { type = "object", required = ["name"], additionalProperties = false, properties = { name = { type = "string", maxLength = 100 }, count = { type = "integer" }, tags = { type = "array", items = { type = "string" } } } }
"""  # noqa: E501 - an inline table is one line
INPUT = {"name": "Ada", "count": 3, "tags": ["first", "second"]}


@dataclass
class Installation:
    """One database of the product, and an API key to it."""

    folder: Path
    database_url: str
    settings: dict[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        spells = self.folder / "spells.toml"
        spells.write_text(SPELLS)
        self.manage("migrate", "-v0")
        self.manage("loadspells", str(spells))
        self.key = self.manage("createapikey", "bench", "--scopes", EVERY_SCOPE).strip()

    def environment(self, **more: str) -> dict[str, str]:
        pythonpath = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
        # As many casts as a bench places stay open: no worker ends them.
        settings = {"LOG_LEVEL": "WARNING", "ACCOUNT_MAX_OPEN": "100000000", **self.settings, **more}
        return environment_for(self.folder, self.database_url, **settings) | pythonpath

    def manage(self, *arguments: str) -> str:
        return manage(self.environment(), *arguments)

    @contextmanager
    def web(self, name: str = "web", *, processes: int = 1, **settings: str) -> Iterator[Server]:
        """Run gunicorn with so many web processes on one port."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = self.environment(
            BIND=f"127.0.0.1:{port}", PUBLIC_URL=url, WEB_PROCESSES=str(processes), PGAPPNAME=name, **settings
        )
        command = [sys.executable, "-m", "gunicorn", "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi"]
        address = ("127.0.0.1", port)
        with running(name, command, address=address, folder=self.folder, environment=environment) as server:
            self.warm(address, processes)
            yield server

    def warm(self, address: Address, processes: int) -> None:
        """Have each process load what it loads with its first request."""
        from tests.bench.load import closed_loop

        ask = request("GET", "/api/v1/budget", headers=self.authorized())
        closed_loop([address], lambda: ask, concurrency=8 * processes, seconds=1.0)

    @contextmanager
    def worker(self, **settings: str) -> Iterator[Server]:
        command = [sys.executable, "manage.py", "runworker"]
        environment = self.environment(PGAPPNAME="worker", **settings)
        with running(
            "worker", command, address=("", 0), folder=self.folder, environment=environment, ready=lambda: True
        ) as server:
            yield server

    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def stream(self, address: Address, cast_id: str) -> Target:
        """Return what opens a cast's event stream."""
        path = f"/api/v1/casts/{cast_id}/events"
        return address, request("GET", path, headers={**self.authorized(), "Accept": "text/event-stream"})
