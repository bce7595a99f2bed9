"""One run of the bench: where it keeps things, how long it takes, and what it found."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.bench import database
from tests.bench.installation import Installation
from tests.bench.report import Findings

T = TypeVar("T")


@dataclass
class Run:
    folder: Path
    postgres: str  # URL of the server
    quick: bool = False
    findings: Findings = field(default_factory=Findings)
    began: float = field(default_factory=time.monotonic)

    def pick(self, full: T, quick: T) -> T:
        """Return one of two sizes."""
        return quick if self.quick else full

    def say(self, what: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {what}", flush=True)

    def skip(self, what: str, why: object) -> None:
        self.say(f"skipped: {what}: {why}")
        self.findings.skipped.append(f"{what}: {why}")

    def room(self, name: str) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    @contextmanager
    def installation(self, name: str, **settings: str) -> Iterator[Installation]:
        """Make an installation with a database of its own, which is dropped afterwards."""
        url = database.create(self.postgres, f"bench_{name}")
        try:
            yield Installation(self.room(name), url, settings)
        finally:
            database.drop(self.postgres, url)
