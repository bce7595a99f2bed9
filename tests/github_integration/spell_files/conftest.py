"""A repository on the local GitHub, to push to; and a worker's steps, one by one."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Account
from casts.models import Spell
from github_integration import api
from github_integration.models import Installation, RepositoryList, SpellRepository
from github_integration.spell_files.sweep import RepositoryListWork
from github_integration.spell_files.work import SpellRepositoryWork
from localgithub.config import Config
from localgithub.server import LocalGitHub
from webhooks.inbox import receive_delivery

DATA = Path(__file__).parents[2] / "data"
INSTALLATION = 77
LEASE = dt.timedelta(seconds=30)
WHO = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
DEPLOY = """\
name: Deploy
on:
  workflow_dispatch:
    inputs:
      where: {type: choice, options: [staging, production], required: true, description: Where to}
      times: {type: number, default: 1}
jobs:
  one: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}
"""


class Hub:
    """One repository, and the platform's view of it."""

    def __init__(self, server: LocalGitHub, tree: Path, name: str) -> None:
        self.server, self.tree, self.name = server, tree, name

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.tree), *WHO, *arguments], check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(self, **files: str | None) -> str:
        """Commit files below .github, by name with `__` for `/` and `_` for `.` (None: deleted); return the commit."""
        return self.commit_files({_path(name): text for name, text in files.items()})

    def commit_files(self, files: dict[str, str | None]) -> str:
        for path, text in files.items():
            file = self.tree / path
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "change", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def told(self, **which: Any) -> dict[str, Any]:
        """Have a push happen; return what its webhook says, which goes nowhere."""
        which = {"after": "", "branch": "main", **which}
        repository = self.server.world.repositories[self.name.lower()]
        self.server.world.pushes.push(repository, which["branch"], after=which["after"], deliver=False)
        hooks = next(iter(self.server.world.all_hooks()))
        newest = max((one for one in hooks.log() if one.event == "push"), key=lambda one: one.id)
        body: dict[str, Any] = json.loads(newest.body)
        return body

    def push(self, **files: str | None) -> str:
        """Commit, and have the webhook come; return the commit."""
        commit = self.commit(**files)
        deliver("push", self.told())
        return commit

    def row(self) -> SpellRepository:
        return SpellRepository.objects.get(name=self.name)

    def checks(self) -> list[dict[str, Any]]:
        return self.server.world.outcomes.recorded_checks()

    def statuses(self) -> list[dict[str, Any]]:
        return self.server.world.outcomes.recorded_statuses()

    def permit(self, **changes: str | None) -> None:
        """Change what the installation's owner has granted (None: nothing)."""
        granted = {**self.server.config.permissions, **changes}
        self.server.config.permissions = {name: level for name, level in granted.items() if level}
        api.github.cache_clear()


def _path(name: str) -> str:
    return ".github/" + name.replace("__", "/").replace("_toml", ".toml").replace("_yml", ".yml").replace(
        "_json", ".json"
    )


def deliver(event: str, body: dict[str, Any]) -> bool:
    return receive_delivery(guid=str(uuid.uuid4()), event=event, body=json.dumps(body).encode())


def work() -> int:
    """Step every repository that is due; return how many steps that took."""
    return _work(SpellRepositoryWork(), SpellRepository)


def sweep() -> None:
    """List the repositories of every installation, due or not."""
    RepositoryList.due_rows().wake()
    _work(RepositoryListWork(), RepositoryList)


def _work(kind: Any, model: Any) -> int:
    steps = 0
    while rows := kind.rows().claim(limit=10, lease=LEASE):
        for row in rows:
            row.give_back(kind.step(row))
            steps += 1
        assert steps < 100
    return steps


def skip_waits() -> None:
    SpellRepository.due_rows().filter(due_at__isnull=False).update(due_at=timezone.now())


@pytest.fixture
def server(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGitHub]:
    trees = {}
    for name in ("octo-org/spells", "octo-org/other"):
        tree = tmp_path / name
        (tree / ".github" / "workflows").mkdir(parents=True)
        (tree / ".github" / "workflows" / "deploy.yml").write_text(DEPLOY)
        for command in (["init", "-q", "-b", "main"], ["add", "."], [*WHO, "commit", "-qm", "first"]):
            subprocess.run(["git", "-C", str(tree), *command], check=True)
        trees[name] = tree
    config = Config(
        repositories=trees,
        state_dir=tmp_path / "state",
        port=0,
        app_public_key=(DATA / "app.pub").read_text(),
        installation_id=INSTALLATION,
        webhook_url="http://127.0.0.1:9/api/webhooks/github",
        webhook_secret="secret",
    )
    made = LocalGitHub(config)
    made.start()
    settings.GITHUB_API_URL, settings.GITHUB_APP_INSTALLATION_ID = config.base_url, INSTALLATION
    api.github.cache_clear()
    yield made
    made.stop()
    api.github.cache_clear()


@pytest.fixture
def hub(server: LocalGitHub, account: Account) -> Hub:
    """A repository whose installation has an owner."""
    Installation.objects.create(pk=INSTALLATION, account_login="octo-org", account=account, new_spell_price_cents=3)
    return Hub(server, server.config.repositories["octo-org/spells"], "octo-org/spells")


@pytest.fixture
def other(server: LocalGitHub) -> Hub:
    return Hub(server, server.config.repositories["octo-org/other"], "octo-org/other")


def the_spell(key: str = "deploy") -> Spell:
    return Spell.objects.get(key=key)
