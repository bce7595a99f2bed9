"""The program as its users start it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from localgithub.workplace import workplace

from .conftest import REPOSITORY, Api

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.processes


def start(*arguments: str) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, "-m", "localgithub", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    ready = process.stdout.readline()
    assert ready.startswith("local GitHub at http://127.0.0.1:"), ready
    return process, ready.split()[3]


@pytest.fixture
def program(tmp_path, tree) -> Iterator[tuple["subprocess.Popen[str]", Api]]:
    process, base = start(
        "--repository", f"{REPOSITORY}={tree}", "--state-dir", str(tmp_path), "--personal-token", "github_pat_p"
    )
    with process:
        yield process, Api(base, "github_pat_p")
        process.terminate()


def running(marker: str) -> bool:
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return any(marker in line for line in listing.splitlines())


def test_it_serves_and_ends_cleanly_with_all_its_runs(program, tmp_path):
    process, api = program
    run_id = api.start("slow.yml")
    api.wait(run_id, lambda run: run["status"] == "in_progress")
    marker = str(workplace(tmp_path) / "runs")
    assert running(marker)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    end = time.monotonic() + 2
    while running(marker):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not workplace(tmp_path).exists()


def test_wrong_repository_is_told(tmp_path):
    command = [sys.executable, "-m", "localgithub", "--repository", "no-slash=/nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "OWNER/NAME=PATH" in done.stderr


def test_it_imports_nothing_of_the_platform():
    code = "import sys, localgithub.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {"core", "accounts", "casts", "payments", "webhooks", "spellplatform", "django", "rest_framework"}
    assert not ours & {name.split(".")[0] for name in done.stdout.split()}


def test_without_webhook_url_nothing_is_sent(program, tmp_path):
    _, api = program
    api.wait(api.start("quick.yml", {"cast_id": "quiet"}))
    known = {"Authorization": f"Bearer {(tmp_path / 'control-token').read_text()}"}
    record = requests.get(f"{api.base}/_local/record", headers=known, timeout=5).json()
    assert record["deliveries"] == []


def test_state_stays_in_its_directory(program, tmp_path, tree):
    _, api = program
    before = sorted(os.listdir(tree))
    api.wait(api.start("keep.yml"))
    assert sorted(os.listdir(tree)) == before
    assert not list(workplace(tmp_path).glob("runs/*/cache"))
