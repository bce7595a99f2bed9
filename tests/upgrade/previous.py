"""The release before this one: which commit it is, and up to where its migrations go.

`python -m tests.upgrade.previous COMMIT` writes both anew; a release does that when it is out (CONTRIBUTING.md).
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTED = Path(__file__).with_name("previous.toml")
MIGRATION = re.compile(r"(\w+)/migrations/(\d{4}_\w+)\.py")
HEAD = """\
# The release before: what this one must be able to run beside. Written by `python -m tests.upgrade.previous COMMIT`.
# The migrations stand here, too, so that the rule for new ones holds in a checkout without history.
"""


def commit() -> str:
    return str(tomllib.loads(NOTED.read_text())["commit"])


def migrations() -> set[tuple[str, str]]:
    """Return the last migration of each app that the release before had."""
    noted: dict[str, str] = tomllib.loads(NOTED.read_text())["migrations"]
    return set(noted.items())


def git(*arguments: str) -> bytes:
    # In a hook, or a CI that sets it, GIT_DIR would be another repository's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *arguments], cwd=ROOT, env=environment, check=True, capture_output=True).stdout


def why_missing() -> str:
    """Say why the code of the release before can't be had here; blank if it can."""
    try:
        git("cat-file", "-e", f"{commit()}^{{tree}}")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return f"the commit {commit()[:7]} of the release before is not in this checkout: git fetch --unshallow"
    return ""


def unpack(folder: Path) -> Path:
    """Put the code of the release before into a folder."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit()))) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # there is none before 3.11.4
        tar.extractall(folder)
    return folder


def main(name: str) -> None:
    full = git("rev-parse", f"{name}^{{commit}}").decode().strip()
    files = git("ls-tree", "-r", "--name-only", full).decode().splitlines()
    last: dict[str, str] = {}
    for found in filter(None, map(MIGRATION.fullmatch, sorted(files))):
        last[found[1]] = found[2]
    lines = [f'commit = "{full}"', "", "[migrations]", *(f'{app} = "{last[app]}"' for app in sorted(last))]
    NOTED.write_text(HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
