"""`python -m tests [pytest arguments]`: the whole suite on SQLite, then on a real Postgres."""

import os
import subprocess
import sys

from tests.postgres import a_postgres


def run(title: str, url: str | None) -> int:
    """Run pytest once; return its exit code."""
    print(f"\n=== {title} ===", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    if url:
        environment["TEST_DATABASE_URL"] = url
    return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment).returncode


if __name__ == "__main__":
    failed = run("SQLite", None)
    with a_postgres() as url:
        failed = run("Postgres", url) or failed
    sys.exit(failed)
