"""`python -m tests [pytest arguments]`: the whole suite on SQLite and, beside it, on a real Postgres."""

import os
import subprocess
import sys
import tempfile
import time
from typing import IO

from tests.postgres import a_postgres

# The local GitHub keeps no database: once is enough.
WITHOUT_DATABASE = ["--ignore=tests/github_integration/local"]


def start(url: str | None, arguments: list[str], out: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start pytest on one database."""
    environment = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    if url:
        environment["TEST_DATABASE_URL"] = url
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT if out else None)


def main() -> int:
    """Run both; show Postgres's output when SQLite's has ended. Return 0 only if all passed."""
    began = time.monotonic()
    with a_postgres() as url, tempfile.TemporaryFile() as postgres_output:
        runs = [
            start(None, sys.argv[1:], None),
            start(url, [*sys.argv[1:], *([] if sys.argv[1:] else WITHOUT_DATABASE)], postgres_output),
        ]
        print("=== SQLite (Postgres runs beside it, and is shown afterwards) ===", flush=True)
        try:
            codes = [run.wait() for run in runs]
        finally:
            for run in runs:
                run.terminate()
        print("\n=== Postgres ===", flush=True)
        postgres_output.seek(0)
        sys.stdout.flush()
        for line in postgres_output:
            sys.stdout.buffer.write(line)
    print(
        f"\nSQLite {'passed' if codes[0] == 0 else 'FAILED'}, Postgres {'passed' if codes[1] == 0 else 'FAILED'}",
        end="",
    )
    print(f" in {time.monotonic() - began:.0f} s")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
