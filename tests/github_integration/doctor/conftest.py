"""A local GitHub that every test may bend as it likes: its state is put back afterwards."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from casts.models import Spell
from github_integration import auth
from github_integration.api import GitHub
from github_integration.doctor.findings import Finding, Level
from localgithub.config import Config
from localgithub.hooks import Delivery
from localgithub.server import LocalGitHub
from localgithub.world import World
from tests.github_integration.doubles import DATA, REPO
from tests.spells import unstored_spell

SECRET = "doctor's webhook secret"
TOKEN = "github_pat_doctor"
GOOD = """
name: Good
run-name: "good [cast:${{ inputs.cast_id }}]"
on:
  workflow_dispatch:
    inputs:
      cast_id: {type: string, required: true}
      spell_key: {type: string, required: true}
      input_data: {type: string, required: true}
concurrency:
  group: cast-${{ inputs.cast_id }}
jobs: {one: {runs-on: ubuntu-latest, steps: [{run: "true"}]}}
"""
HEARD = """
name: Heard
run-name: "heard [cast:${{ github.event.client_payload.cast_id }}]"
on:
  repository_dispatch:
    types: [heard]
jobs: {one: {runs-on: ubuntu-latest, steps: [{run: "true"}]}}
"""


def one(findings: Iterable[Finding], check: str) -> Finding:
    """Return the only finding of one check."""
    listed = list(findings)
    found = [finding for finding in listed if finding.check == check]
    assert len(found) == 1, f"{check}: {listed}"
    return found[0]


def is_bad(finding: Finding, level: Level, *said: str, hint: str) -> None:
    """Check a finding's level, what it says, and that its hint names what to do."""
    assert finding.level == level, finding
    for words in said:
        assert words in finding.message, finding
    assert hint in finding.hint, finding


def all_ok(findings: Iterable[Finding]) -> list[str]:
    """Check that nothing is wrong; return what was checked."""
    listed = list(findings)
    assert [finding for finding in listed if finding.level != Level.OK] == []
    assert [finding for finding in listed if finding.hint] == []
    return [finding.check for finding in listed]


read_key = functools.cache(auth.private_key)
sign = auth.app_jwt


@functools.cache
def proof(app_id: str, pem: str, minute: int) -> str:
    return sign(app_id, pem, now=minute * 60)


@pytest.fixture(autouse=True)
def _one_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sign once a minute, and read the key once: both take longer than everything else in these tests."""
    monkeypatch.setattr(auth, "private_key", read_key)
    monkeypatch.setattr(auth, "app_jwt", lambda app_id, pem, now: proof(app_id, pem, int(now) // 60))


@pytest.fixture(scope="session")
def _doctors_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGitHub]:
    tree = tmp_path_factory.mktemp("tree")
    folder = tree / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "old.yml").write_text(GOOD.replace("workflow_dispatch", "workflow_call"))
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run(["git", "-C", str(tree), *command], check=True)
    (folder / "good.yml").write_text(GOOD)
    (folder / "old.yml").write_text(GOOD)
    (folder / "heard.yml").write_text(HEARD)
    config = Config(
        repositories={REPO: tree},
        state_dir=tmp_path_factory.mktemp("state"),
        port=0,
        app_public_key=(DATA / "app.pub").read_text(),
        installation_id=77,
        webhook_secret=SECRET,
        personal_token=TOKEN,
    )
    server = LocalGitHub(config)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def world(_doctors_server: LocalGitHub) -> Iterator[World]:
    """What the local GitHub knows; whatever a test changes of its settings is put back."""
    world = _doctors_server.world
    objects = (world.config, world.hooks, world.auth, *world.repositories.values())
    before = [dict(vars(thing)) for thing in objects]
    world.hooks._log = []
    yield world
    for thing, kept in zip(objects, before, strict=True):
        vars(thing).update(kept)
    world.faults.reset()
    for repository in world.repositories.values():
        repository.disabled.clear()


@pytest.fixture
def hub(world: World) -> GitHub:
    """Be the App at the local GitHub."""
    return GitHub(
        api_url=world.config.base_url, version="2026-03-10", timeout=10, app_id="1", pem=str(DATA / "app.pem")
    )


@pytest.fixture
def by_hand(world: World) -> GitHub:
    """Be a personal token at the local GitHub."""
    return GitHub(api_url=world.config.base_url, version="2026-03-10", timeout=10, personal_token=TOKEN)


@pytest.fixture
def write(world: World) -> Iterator[Callable[[str, str], str]]:
    """Add a workflow file to the repository, for this test."""
    folder = world.repositories[REPO].tree / ".github" / "workflows"
    before = {file: file.read_bytes() for file in folder.iterdir()}

    def write(name: str, text: str) -> str:
        (folder / name).write_text(text)
        return name

    yield write
    for file in folder.iterdir():
        file.unlink()
    for file, data in before.items():
        Path(file).write_bytes(data)


def delivered(world: World, code: int = 202, status: str = "OK", *, to: str = "", event: str = "ping") -> Delivery:
    """Put a line into GitHub's log."""
    line = Delivery(event, b"{}", status=status, status_code=code, url=to or world.hooks.url)
    world.hooks._log = [*world.hooks._log, line]
    return line


def make(**fields: Any) -> Spell:
    """Make a spell that needs no database."""
    return unstored_spell(
        **{"key": "greet", "repository": REPO, "workflow_file": "good.yml", "ref": "main", "installation_id": 77}
        | fields
    )


def event(**fields: Any) -> Spell:
    """Make a spell that starts by an event."""
    return make(
        **{"key": "listen", "runtime": "repository_dispatch", "event_type": "heard", "workflow_file": ""} | fields
    )
