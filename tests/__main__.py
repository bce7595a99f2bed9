"""`python -m tests [pytest arguments]`: the whole suite on SQLite and, beside it, on a real Postgres."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO

from tests.postgres import a_postgres

# The page and the local GitHub don't know which database there is: once is enough.
ON_POSTGRES = ["tests", "--ignore=tests/browser", "--ignore=tests/localgithub"]


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
    """Run both; return 0 only if both passed."""
    began = time.monotonic()
    given = sys.argv[1:]
    with a_postgres() as url:
        lanes = [Lane("SQLite", given or ["tests"], None), Lane("Postgres", given or ON_POSTGRES, url)]
        print("Testing on SQLite and on Postgres, side by side; each is shown when it has ended.", flush=True)
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
