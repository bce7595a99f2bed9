"""The API's description against the running service: whatever it allows to be sent is answered as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import SPELLS
from tests.e2e.platform import ROOT, Platform, drop_database, prepared, until

pytestmark = pytest.mark.once  # what a database could dislike is sent to both by tests/casts/api/test_fuzz.py
# What is not sent: it ends the very key that asks.
APART = ["revoke_key"]
# A description can't say that one field goes with another, or that a cursor must be one of ours.
SAID_OTHERWISE = ["positive_data_acceptance"]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Platform]:
    """Only the web process: without a worker nothing calls the addresses that are made up here."""
    database, key = prepared(SPELLS)
    # Streams of casts that nobody ends are read to their end, too.
    here = Platform(tmp_path, database=database, STREAM_MAX_SECONDS="1", STREAM_ACCESS_SECONDS="0.5")
    here.key = key
    here.start("web")
    try:
        until(lambda: here.answers(here.url + "/api/v1/budget"))
        yield here
    finally:
        here.stop("web")
        drop_database(here.database_url)


def test_every_answer_is_as_described_whatever_is_sent(web: Platform, tmp_path: Path):
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{web.url}/api/v1/schema"),
        *("--header", f"Authorization: Bearer {web.key}"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "20"),
        *("--exclude-checks", ",".join(SAID_OTHERWISE)),
        *(part for name in APART for part in ("--exclude-operation-id", name)),
        *("--request-timeout", "60", "--generation-deterministic", "--no-color"),
    ]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.e2e.description_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "Traceback" not in web.log("web")
