"""`manage.py doctor` against the running processes: all well, and broken in several places."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests

from tests import warm
from tests.e2e.platform import AGENT, DATA, ROOT, SECRET, Platform, free_port

pytestmark = pytest.mark.once  # it asks GitHub, and reads two tables


def doctor(where: Platform, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would."""
    command = [sys.executable, "manage.py", "doctor", *arguments]
    environment = where.environment | settings
    return warm.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)


def levels(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], str]:
    """Return the level of each (subject, check)."""
    return {(f["subject"], f["check"]): f["level"] for f in json.loads(done.stdout)["findings"]}


@pytest.fixture
def other_secret(here: Platform) -> Iterator[None]:
    """Have GitHub sign with a secret that is not ours."""
    now = int(time.time())
    proof = jwt.encode({"iat": now - 60, "exp": now + 300, "iss": "1"}, (DATA / "app.pem").read_text(), "RS256")

    def change(secret: str) -> None:
        head = AGENT | {"Authorization": f"Bearer {proof}"}
        answer = requests.patch(f"{here.github}/app/hook/config", json={"secret": secret}, headers=head, timeout=10)
        assert answer.status_code == 200, answer.text

    change("somebody else's")
    yield
    change(SECRET)


@pytest.mark.parametrize("spell", ["greet", "count-words", "echo-event"])
def test_healthy_platform_has_nothing_to_fix(here: Platform, spell: str):
    done = doctor(here, "--spell", spell, "--ping", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    bad = [f for f in report["findings"] if f["level"] != "ok" and f["check"] not in ("permission contents",)]
    assert bad == []
    found = levels(done)
    assert {"GitHub App", "Installation 1", "Webhook", f"Spell {spell}"} == {subject for subject, _ in found}
    assert found["Webhook", "ping"] == found["Webhook", "deliveries"] == found[f"Spell {spell}", "run-name"] == "ok"


def test_broken_spells_are_told_and_the_others_are_well(here: Platform):
    done = doctor(here, "--json")
    assert done.returncode == 1
    found = levels(done)
    assert found["Spell no-such-file", "workflow"] == "problem"
    assert found["Spell no-such-ref", "file"] == "problem"
    assert found["Spell untitled", "run-name"] == "warning"
    assert {level for (subject, _), level in found.items() if subject == "Spell gate"} == {"ok"}
    text = doctor(here)
    assert text.returncode == 1
    assert "fix: Push .github/workflows/nothing.yml to " in text.stdout
    for secret in (SECRET, here.key, "ghs_", "PRIVATE KEY"):
        assert secret not in done.stdout + done.stderr + text.stdout + text.stderr


@pytest.mark.usefixtures("other_secret")
def test_wrong_webhook_secret_is_found_by_a_ping(here: Platform):
    done = doctor(here, "--spell", "greet", "--ping")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "signed with another secret" in done.stdout
    assert "GITHUB_WEBHOOK_SECRET" in done.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"GITHUB_APP_ID": "4711"}, "Integration not found"),
        ({"GITHUB_APP_PRIVATE_KEY": "/no/such/key.pem"}, "GITHUB_APP_PRIVATE_KEY is neither"),
        ({"GITHUB_APP_INSTALLATION_ID": "4711"}, "The App has no such installation. It has: 1 (demo)"),
        ({"GITHUB_WEBHOOK_SECRET": ""}, "GITHUB_WEBHOOK_SECRET is not set"),
        ({"PUBLIC_URL": "https://spells.example.com"}, "https://spells.example.com/api/webhooks/github"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_wrong_setting_is_named_with_its_fix(here: Platform, settings: dict[str, str], said: str):
    done = doctor(here, "--spell", "greet", **settings)
    assert done.returncode == 1, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    assert said in text
    assert "fix:" in text
    assert "Traceback" not in done.stdout + done.stderr


def test_without_network_it_says_so_and_ends(here: Platform):
    done = doctor(here, GITHUB_API_URL=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "GitHub can't be reached" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
