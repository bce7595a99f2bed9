"""From an empty checkout to a cast on one's own repository, in a real browser: three clicks, and no secret copied."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.e2e.platform import AGENT, ROOT, free_port, until

OpenPage = Callable[..., Page]
PASSWORD = "correct horse battery"
APPS = ("accounts", "casts", "core", "github_integration", "payments", "webhooks")
FOLDERS = (*APPS, "localgithub", "spellplatform", "templates")
WORKFLOW = """
name: Say hello
on:
  workflow_dispatch:
    inputs:
      who: {description: Whom to greet, required: true, type: string}
      loud: {type: boolean, default: false}
jobs:
  hello:
    runs-on: ubuntu-latest
    steps:
      - run: echo "::notice::Hello, $WHO ($LOUD)"
        env: {WHO: "${{ inputs.who }}", LOUD: "${{ inputs.loud }}"}
"""
pytestmark = [pytest.mark.processes, pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="once is enough")]


class Checkout:
    """A copy of the sources and nothing else, and a person's repository with ordinary workflows at a local GitHub."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder / "checkout", folder / "repository"
        ignored = shutil.ignore_patterns("__pycache__")
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.folder / name, ignore=ignored)
        shutil.copy(ROOT / "manage.py", self.folder)
        workflows = self.repository / ".github" / "workflows"
        workflows.mkdir(parents=True)
        (workflows / "hello.yml").write_text(WORKFLOW)
        who = ("-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
        for command in (("init", "-q", "-b", "main"), ("add", "."), (*who, "commit", "-qm", "first")):
            subprocess.run(["git", "-C", str(self.repository), *command], check=True)
        self.port, self.github_port = free_port(), free_port()
        # Another name is another site, as GitHub is: what comes from there brings cookies along by Lax's rules alone.
        self.url, self.github = f"http://127.0.0.1:{self.port}", f"http://localhost:{self.github_port}"
        # None of ours: what is needed comes from .env.
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    @contextmanager
    def running(self, name: str, *command: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.folder,
                env=self.environment | {"PYTHONUNBUFFERED": "1"} | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def manage(self, *arguments: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def found(self, name: str, pattern: str) -> str:
        """Return what a process has written, once it has."""
        return until(lambda: (match := re.search(pattern, self.log(name))) and match[1], seconds=120)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    made = Checkout(tmp_path_factory.mktemp("connect"))
    options = ("--port", str(made.github_port), "--repository", f"acme/tools={made.repository}", "--person", "acme")
    with made.running("github", "-m", "localgithub", *options, "--state-dir", str(made.folder / "state")):
        until(lambda: answers(made.github + "/versions"), seconds=120)
        yield made


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5, headers=AGENT).ok
    except requests.RequestException:
        return False


def create(page: Page) -> None:
    page.get_by_role("button", name="Continue on GitHub").click()
    page.get_by_role("button", name="Create GitHub App").click()


def test_an_own_repository_is_cast_after_three_clicks(checkout: Checkout, open_page: OpenPage):
    options = ("--github", checkout.github, "--public-url", checkout.url, "--no-browser", "--yes")
    with checkout.running("connect", "manage.py", "connectgithub", *options) as command:
        page = open_page(checkout.found("connect", r"(http://127\.0\.0\.1:\d+/\S{20,}/)"))
        create(page)
        page.get_by_role("button", name="Install").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Installed")
        assert command.wait(300) == 0, checkout.log("connect")
    told = checkout.log("connect")
    settings = dict(line.split("=", 1) for line in (checkout.folder / ".env").read_text().splitlines())
    pem = Path(settings["GITHUB_APP_PRIVATE_KEY"])
    assert [file.stat().st_mode & 0o777 for file in (checkout.folder / ".env", pem)] == [0o600, 0o600]
    for secret in (settings["SECRET_KEY"], settings["GITHUB_WEBHOOK_SECRET"], pem.read_text().splitlines()[3]):
        assert secret not in told
    with ExitStack() as running:
        bind = {"BIND": f"127.0.0.1:{checkout.port}", "GITHUB_CONNECT_PATH": str(checkout.folder / "second.env")}
        gunicorn = ("-m", "gunicorn", "-c", "spellplatform/gunicorn.conf.py", "spellplatform.asgi")
        running.enter_context(checkout.running("web", *gunicorn, **bind))
        running.enter_context(checkout.running("worker", "manage.py", "runworker"))
        until(lambda: answers(checkout.url + "/api/v1/schema"), seconds=120)
        key = checkout.manage("createapikey", "me", "--cap-cents", "500").strip()
        # The line that it prints, with the key.
        line = next(line for line in told.splitlines() if line.startswith("curl ")).replace(
            "Bearer KEY", f"Bearer {key}"
        )
        answer = subprocess.run(shlex.split(line), capture_output=True, text=True)
        assert '"status":"succeeded"' in answer.stdout, answer.stdout + answer.stderr
        operators_pages(checkout, open_page, settings["GITHUB_APP_INSTALLATION_ID"])


def operators_pages(checkout: Checkout, open_page: OpenPage, number: str) -> None:
    """Make spells where GitHub leads to after an installation, and then a second App; on a phone, without scripts."""
    user = ("--noinput", "--username", "ann", "--email", "a@example.com")
    checkout.manage("createsuperuser", *user, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    small: dict[str, Any] = {"java_script_enabled": False, "viewport": {"width": 390, "height": 800}}
    page = open_page(f"{checkout.url}/github/installed/?installation_id={number}&setup_action=install", **small)
    expect(page.get_by_role("heading", level=1)).to_have_text("Installed")
    page.get_by_role("link", name="I am the operator").click()
    page.get_by_label("User name or mail address").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Installed on acme")
    boxes = [one.bounding_box() for one in page.locator("main *").all()]
    assert max(box["x"] + box["width"] for box in boxes if box) <= 390, "something is wider than the page"
    page.get_by_label("hello").check()
    page.get_by_role("button", name="Make spells of these").click()
    expect(page.get_by_role("link", name="hello")).to_be_visible()
    page.goto(f"{checkout.url}/github/connect/")
    page.get_by_label("Put a new App in its place").check()
    page.get_by_label("Name of the App").fill("Second App")
    page.get_by_role("button", name="Go on").click()
    create(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("GitHub has made the App")
    assert "GITHUB_APP_ID=" in (checkout.folder / "second.env").read_text()
