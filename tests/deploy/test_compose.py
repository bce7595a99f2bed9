"""deploy/compose.yml from nothing to a cast: every service as a process, in the order and by the checks of the file."""

from __future__ import annotations

import stat

import pytest

from tests.deploy.compose import Project
from tests.deploy.test_proxies import Front

pytestmark = pytest.mark.processes


def test_a_newcomers_start_ends_in_a_cast(project: Project):
    front = Front.published(project)
    body = {"spell_key": "greet", "input": {"name": "Ada"}}
    ended = front.ask("POST", "/api/v1/cast", json=body, headers={"Prefer": "wait=60"})
    assert ended.status_code == 201, ended.text
    assert ended.json()["output"]["greeting"] == "Hello, Ada!", (ended.text, project.log("worker-1"))
    # Web gives out what a worker has stored: the two share no machine, but this volume.
    [artifact] = ended.json()["artifacts"]
    assert front.ask("GET", artifact["url"].partition(":8000")[2]).content.startswith(b"PK")


def test_nobody_but_the_service_may_read_its_secrets_and_its_root_is_read_only(project: Project):
    file = project.folder / "settings" / "env"
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) == (0o600, 10001)
    for name in ("SECRET_KEY", "GITHUB_WEBHOOK_SECRET", "METRICS_TOKEN"):
        assert len(project.secrets[name]) > 40
    tries = "import os; print(os.getuid(), os.access('/app', os.W_OK))\nopen('/app/x', 'w')"
    said = project.where.run(["python", "-c", tries], good=False, **project.options("web-1"))
    assert said.startswith("10001 False")
    assert "Read-only file system" in said
    before = file.read_text()
    project.start("setup")
    project.completed.discard("setup")
    project.wait("setup", "service_completed_successfully")
    assert file.read_text() == before
