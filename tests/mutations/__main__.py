"""Take each guard of casts and money away and see that a test notices. Run by hand: `python -m tests.mutations [WORD]`.

Each mutation of `guards` is made in a copy of the tree, after which the tests named with it must fail. It ends with
code 1 if one survives, or if what it takes away is no longer there (`tests/test_mutations.py` tells that in a second).
WORD picks the mutations whose names hold it. Those that only concurrent transactions can tell apart are tried on
Postgres: SQLite puts its writers in line by itself.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.changes import NotOnce, mutated
from tests.mutations.guards import MUTATIONS, Mutation
from tests.postgres import a_postgres

ROOT = Path(__file__).resolve().parents[2]


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what git knows of, and what is new."""
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    return tree


def tried(mutation: Mutation, tree: Path, url: str | None) -> tuple[str, str]:
    """Run a mutation's tests; return what became of it, and which test noticed."""
    try:
        file, before, after = mutated(tree, mutation.target, mutation.change)
    except NotOnce as exc:
        return "NOT FOUND", f"{mutation.target}: {exc}"
    text = file.read_text()
    file.write_text(after)
    environment = {name: value for name, value in os.environ.items() if name != "TEST_DATABASE_URL"}
    environment |= {"TEST_DATABASE_URL": url} if url else {}
    environment |= {"SPELL_RACE_ROUNDS": "60"} if url else {}
    environment["COLUMNS"] = "300"  # for the reason of a failure
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *mutation.tests]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    finally:
        file.write_text(text)
    # With the reason: that a mutant can't run at all proves little.
    noticed = re.search(r"^(?:FAILED|ERROR) \S*?::(.+)", done.stdout, re.M)
    if done.returncode == 0:
        changed = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
        return "SURVIVED", "\n".join(["", *changed])
    return ("killed", noticed[1]) if done.returncode == 1 and noticed else ("BROKEN", done.stdout[-300:] + done.stderr)


def main() -> int:
    """Try them all; print a line for each."""
    chosen = [m for m in MUTATIONS if all(word in m.name for word in sys.argv[1:])]
    bad = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spell-mutations-")))
        tree = copy_of_the_tree(folder)
        url = stack.enter_context(a_postgres()) if any(m.postgres for m in chosen) else None
        for mutation in chosen:
            began = time.monotonic()
            outcome, by = tried(mutation, tree, url if mutation.postgres else None)
            bad += outcome != "killed"
            where = "Postgres" if mutation.postgres else "SQLite"
            seconds = time.monotonic() - began
            print(f"{outcome:9} {mutation.name:46} {where:8} {seconds:4.0f} s  {by}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} noticed.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
