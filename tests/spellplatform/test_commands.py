"""The command line where little is set up yet: it works where it can, else it says in a sentence what to do."""

from __future__ import annotations

import io
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import django
import pytest
from django.core.management import call_command
from django.test import Client

from spellplatform import __version__
from tests import warm
from tests.e2e.platform import free_port
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

ROOT = Path(__file__).resolve().parents[2]
KEY = {"SECRET_KEY": SECRET_KEY, "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET}
pytestmark = pytest.mark.processes
EMPTY = "CommandError: The database is empty: "


def manage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py with nothing but these settings."""
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    return warm.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=kept | {"VAR_DIR": str(folder)} | environment,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("version",),
        ("localgithub", "--help"),
        ("localstripe", "--help"),
        ("runworker", "--help"),
        ("loadspells", "--help"),
    ],
    ids=" ".join,
)
def test_what_needs_no_secret_key_runs_without(tmp_path, arguments):
    done = manage(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path):
    """As `manage.py importspells … | head -3`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "manage.py", "--help"]
    env = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("argument", ["version", "--version"])
def test_the_version_is_ours_beside_djangos_and_needs_no_sound_setting(tmp_path, argument):
    done = manage(tmp_path, argument, DATABASE_URL="nonsense", LOG_LEVEL="LOUD")
    expected = f"Spell Platform {__version__}, Django {django.get_version()}, Python {platform.python_version()}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_the_version_is_a_command_like_any_other(tmp_path):
    assert re.search(r"^    version$", manage(tmp_path, "--help").stdout, re.MULTILINE)
    out = io.StringIO()
    call_command("version", stdout=out)
    assert out.getvalue().startswith(f"Spell Platform {__version__}, ")


def test_the_version_is_the_packages_and_that_of_the_description():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "spellplatform.__version__"}
    assert Client().get("/api/v1/schema").json()["info"]["version"] == __version__


def test_help_for_the_demo_prepares_no_demo(tmp_path):
    before = sorted((ROOT / "var").glob("*")) if (ROOT / "var").exists() else []
    assert "--once" in manage(tmp_path, "demo", "--help").stdout
    assert (sorted((ROOT / "var").glob("*")) if (ROOT / "var").exists() else []) == before


def test_the_local_github_needs_no_setting_of_ours(tmp_path):
    done = manage(tmp_path, "localgithub", "--repository", "no-such-thing")
    assert done.returncode == 1
    assert done.stderr == "--repository needs OWNER/NAME=PATH of a directory, not 'no-such-thing'\n"


def test_without_a_secret_key_web_and_worker_do_not_start(tmp_path):
    worker = manage(tmp_path, "runworker", GITHUB_WEBHOOK_SECRET=WEBHOOK_SECRET)
    assert worker.returncode == 1
    assert "SECRET_KEY is not set" in worker.stderr
    assert "token_urlsafe" in worker.stderr
    assert "Traceback" not in worker.stderr


def test_a_new_database_is_filled_with_migrate_and_spells_and_keys_need_no_secret_key(tmp_path):
    spells = tmp_path / "spells.toml"
    spells.write_text('[greet]\nrepository = "demo/spells"\n')
    assert manage(tmp_path, "migrate", "-v0", **KEY).returncode == 0
    loaded = manage(tmp_path, "loadspells", str(spells))
    assert (loaded.returncode, loaded.stdout) == (0, "created: greet; updated: none\n")
    assert manage(tmp_path, "createapikey", "acme").stdout.startswith("sk_live_spl_")
    assert "agree with the ledger" in manage(tmp_path, "verifyledger").stdout


@pytest.mark.parametrize(
    "arguments",
    [("loadspells", "spells.toml"), ("createapikey", "acme"), ("verifyledger",)],
    ids=" ".join,
)
def test_on_a_database_without_tables_it_says_what_to_run(tmp_path, arguments):
    done = manage(tmp_path, *arguments, **KEY)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(EMPTY)
    assert said.endswith(" migrations are missing. Run: manage.py migrate")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_database_of_an_earlier_release_is_told_from_an_empty_one(tmp_path):
    assert manage(tmp_path, "migrate", "casts", "0009", "-v0", **KEY).returncode == 0
    said = manage(tmp_path, "createapikey", "acme").stderr
    assert said.startswith("CommandError: The database is of an earlier release: ")
    assert said.endswith("Run: manage.py migrate\n")


def test_a_database_that_is_away_is_told_in_one_sentence(tmp_path):
    away = f"postgresql://spells:hush@127.0.0.1:{free_port()}/spells"
    said = manage(tmp_path, "verifyledger", DATABASE_URL=away).stderr
    assert said.startswith("CommandError: The database can't be used: ")
    assert "Is DATABASE_URL right?" in said
    assert len(said.splitlines()) == 1
    assert "hush" not in said


def test_the_doctor_goes_on_without_a_database(tmp_path):
    done = manage(tmp_path, "doctor")
    assert done.returncode == 1
    assert "It can't be read: no such table: casts_spell" in done.stdout
    assert "manage.py migrate" in done.stdout
    assert "GITHUB_APP_ID is not set" in done.stdout
    assert done.stderr == ""
