"""`python -m tests [pytest arguments]`: the whole suite on SQLite and on a real Postgres, in lanes side by side."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO

from tests.postgres import a_postgres

# Tests with processes of their own mostly wait; beside the others they cost little time.
PROCESSES = ["tests/e2e", "tests/browser", "tests/github_integration/local"]
# The page and the local GitHub don't know which database there is: once is enough.
PROCESSES_ON_POSTGRES = ["tests/e2e"]
THE_REST = ["tests", *(f"--ignore={path}" for path in PROCESSES)]


@dataclass
class Lane:
    """One pytest process."""

    title: str
    arguments: list[str]
    url: str | None
    output: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with its output kept for later."""
        environment = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
        if self.url:
            environment["TEST_DATABASE_URL"] = self.url
        command = [sys.executable, "-m", "pytest", *self.arguments]
        self.process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=subprocess.STDOUT)

    def end(self) -> int:
        """Wait for its end and show what it printed; return its exit code."""
        assert self.process is not None
        code = self.process.wait()
        print(f"\n=== {self.title} ===", flush=True)
        self.output.seek(0)
        sys.stdout.buffer.write(self.output.read())
        sys.stdout.flush()
        return code


def main() -> int:
    """Run all lanes; return 0 only if every one passed."""
    began = time.monotonic()
    given = sys.argv[1:]
    with a_postgres() as url:
        lanes = [Lane("SQLite", given or THE_REST, None), Lane("Postgres", given or THE_REST, url)]
        if not given:
            lanes.append(Lane("SQLite, real processes", PROCESSES, None))
            lanes.append(Lane("Postgres, real processes", PROCESSES_ON_POSTGRES, url))
        print(f"Testing in {len(lanes)} lanes; each is shown when it has ended.", flush=True)
        try:
            for lane in lanes:
                lane.start()
            codes = [lane.end() for lane in lanes]
        finally:
            for lane in lanes:
                if lane.process is not None:
                    lane.process.terminate()
    print(f"\nIn {time.monotonic() - began:.0f} s:", end=" ")
    print(", ".join(f"{lane.title} {'FAILED' if code else 'passed'}" for lane, code in zip(lanes, codes, strict=True)))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
