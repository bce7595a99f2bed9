"""A repository that defines its own spells, on real processes: pushed, lost, killed on the way, and cast."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.conftest import SPELLS
from tests.e2e.platform import AGENT, REPOSITORY, Platform, platform, until

pytestmark = pytest.mark.once  # what is read from GitHub; how it is applied is tested on both in-process

WHO = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
ORDINARY = """\
name: Say
on:
  workflow_dispatch:
    inputs:
      word: {type: choice, options: [hello, bye], required: true}
jobs:
  say:
    runs-on: ubuntu-latest
    steps: [{run: 'test "${{ inputs.word }}" = hello'}]
"""


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Platform]:
    """A platform whose repository is one of git's, and belongs to the account of the tests' key."""
    settings = {"WORKER_LEASE_SECONDS": "2", "SPELL_FILES_SECONDS": "1"}
    with platform(tmp_path, spells=SPELLS, **settings) as running:
        git(running, "init", "-q", "-b", "main")
        commit(running, {"workflows/say.yml": ORDINARY})
        owner = "from github_integration.models import *; from accounts.models import Account; "
        owner += "Installation.objects.update_or_create(pk=1, defaults={'account': Account.objects.get()})"
        running.manage("shell", "-c", owner)
        yield running


def git(where: Platform, *arguments: str) -> str:
    tree = where.folder / "repository"
    done = subprocess.run(["git", "-C", str(tree), *WHO, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(where: Platform, files: dict[str, str]) -> str:
    for name, text in files.items():
        file = where.folder / "repository" / ".github" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(where, "add", "-A")
    git(where, "commit", "-qm", "change")
    return git(where, "rev-parse", "HEAD")


def push(where: Platform, text: str, *, deliver: Any = True) -> str:
    made = commit(where, {"spells.toml": text})
    where.control("POST", "push", json={"repository": REPOSITORY, "deliver": deliver})
    return made


def checks(where: Platform, commit: str) -> list[dict[str, Any]]:
    return [one for one in where.record()["check_runs"] if one["sha"] == commit]


def names(where: Platform) -> dict[str, str]:
    return {one["spell_key"]: one["name"] for one in where.call("GET", "/api/v1/spells").json()["results"]}


def test_a_push_becomes_a_spell_whatever_happens_on_the_way(pushed: Platform) -> None:
    # By webhook, and cast.
    first = push(pushed, '[say]\nworkflow_file = "say.yml"\n')
    until(lambda: checks(pushed, first))
    assert checks(pushed, first)[0]["conclusion"] == "success"
    assert names(pushed)["say"] == "Say"
    cast = pushed.cast("say", {"word": "hello"})["cast_id"]
    assert pushed.call("POST", "/api/v1/cast", json={"spell_key": "say", "input": {"word": "x"}}).status_code == 422
    assert pushed.ended(cast)["status"] == "succeeded"
    # What breaks a file changes nothing.
    bad = push(pushed, '[say]\nworkflow_file = "say.yml"\nname = "New"\n\n[more]\nworkflow_file = "no.yml"\n')
    until(lambda: checks(pushed, bad))
    [check] = checks(pushed, bad)
    assert (check["conclusion"], [one["start_line"] for one in check["annotations"]]) == ("failure", [6])
    assert names(pushed)["say"] == "Say"
    # Without its webhook, anywhere.
    lost = push(pushed, '[say]\nworkflow_file = "say.yml"\nname = "Lost"\n', deliver="lose")
    until(lambda: names(pushed).get("say") == "Lost")
    until(lambda: checks(pushed, lost))
    # The worker dies while GitHub makes the check run; a second one, and a third, go on.
    pushed.faults(api={"latency_ms": [1500, 1500], "paths": "check-runs$", "methods": ["POST"]})
    last = push(pushed, '[say]\nworkflow_file = "say.yml"\nname = "Last"\n')
    until(lambda: names(pushed).get("say") == "Last")
    until(lambda: pushed.rows("SELECT id FROM github_integration_spellrepository WHERE reported = 'begun'"))
    pushed.stop("worker", how=signal.SIGKILL)
    pushed.start("worker")
    pushed.start("worker-2")
    until(lambda: pushed.rows("SELECT id FROM github_integration_spellrepository WHERE reported = 'check_run'"))
    pushed.faults(reset=True)
    time.sleep(2)  # what the dead one had sent would be there by now
    assert len(checks(pushed, last)) == 1
    assert all(len(checks(pushed, one)) == 1 for one in (first, bad, lost))
    # Taken out, it can't be cast.
    push(pushed, "")
    until(lambda: "say" not in names(pushed))
    answer = requests.post(f"{pushed.url}/api/v1/cast", json={}, headers=AGENT, timeout=10)
    assert answer.status_code == 401
