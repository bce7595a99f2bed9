"""What the project as a whole keeps: migrations, the description, the layers, and refusing unsafe settings."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import ERROR, WARNING, run_checks
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
CREDENTIALS = ("GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_TOKEN")


@pytest.mark.django_db
def test_every_change_of_a_model_has_its_migration():
    out = io.StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert "No changes detected" in out.getvalue()


def test_the_description_is_valid_and_complete_enough_to_warn_of_nothing(tmp_path):
    file = tmp_path / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(file))
    described = json.loads(file.read_text())
    operations = [op for path in described["paths"].values() for op in path.values() if isinstance(op, dict)]
    names = [op["operationId"] for op in operations]
    assert len(names) == len(set(names)) >= 12
    assert all(op.get("description") or op.get("summary") for op in operations)


@pytest.mark.processes
def test_imports_point_down_only():
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert linted.returncode == 0, linted.stdout


# --- unsafe settings -----------------------------------------------------------------------------------------------


def found(level):
    return {
        message.id for message in run_checks() if message.level == level and (message.id or "").startswith("spell.")
    }


def test_a_sound_configuration_has_nothing_to_say(settings):
    assert found(ERROR) == found(WARNING) == set()


def test_without_a_webhook_secret_it_runs_in_debug_alone(settings):
    settings.GITHUB_WEBHOOK_SECRETS = []
    assert found(ERROR) == {"spell.E001"}
    settings.DEBUG = True
    assert found(ERROR) == set()


@pytest.mark.parametrize(
    "key", ["", "no such file", "-----BEGIN RSA PRIVATE KEY-----\nnonsense\n-----END RSA PRIVATE KEY-----"]
)
def test_an_app_without_a_usable_private_key_is_an_error(settings, key):
    settings.GITHUB_APP_PRIVATE_KEY = key
    [message] = [m for m in run_checks() if m.id == "spell.E002"]
    assert "nonsense" not in str(message)


def test_no_credentials_at_all_is_a_warning_outside_debug(settings):
    for name in CREDENTIALS:
        setattr(settings, name, "")
    assert (found(ERROR), found(WARNING)) == (set(), {"spell.W001"})
    settings.GITHUB_TOKEN = "github_pat_x"
    assert found(WARNING) == set()


@pytest.mark.parametrize("url", ["", "spells.example.com", "ftp://spells.example.com", "//spells.example.com"])
def test_links_need_an_address_to_begin_with(settings, url):
    settings.PUBLIC_URL = url
    assert found(ERROR) == {"spell.E003"}


def python(code, **environment):
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.processes
def test_the_server_itself_refuses_to_serve_without_a_webhook_secret(tmp_path):
    """gunicorn imports this module; no management command runs its checks."""
    environment = {"SECRET_KEY": "x", "VAR_DIR": str(tmp_path), "GITHUB_WEBHOOK_SECRET": " , "}
    refused = python("import spellplatform.asgi", **environment)
    assert refused.returncode != 0
    assert "GITHUB_WEBHOOK_SECRET is not set" in refused.stderr


@pytest.mark.processes
def test_without_a_secret_key_the_server_does_not_start_and_says_how_to_make_one(tmp_path):
    environment = {"VAR_DIR": str(tmp_path), "GITHUB_WEBHOOK_SECRET": "x"}
    refused = python("import spellplatform.asgi", **environment)
    assert refused.returncode != 0
    assert "token_urlsafe" in refused.stderr
    assert python("import spellplatform.asgi", DEBUG="1", **environment).returncode == 0


SHOWN = """
import json, spellplatform.settings as s
print(json.dumps({n: getattr(s, n) for n in (
    "ALLOWED_HOSTS", "GITHUB_WEBHOOK_SECRETS", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "PUBLIC_URL"
)}))
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("url", "hosts", "secure"),
    [
        ("https://spells.example.com/", "spells.example.com", True),
        ("https://spells.example.com:8443", "spells.example.com", True),
        ("http://127.0.0.1:8000", "127.0.0.1", False),
    ],
)
def test_hosts_and_cookies_follow_from_the_public_address(tmp_path, url, hosts, secure):
    shown = python(SHOWN, SECRET_KEY="x", VAR_DIR=str(tmp_path), PUBLIC_URL=url, GITHUB_WEBHOOK_SECRET="new, ,old,")
    read = json.loads(shown.stdout)
    assert hosts in read["ALLOWED_HOSTS"]
    assert read["SESSION_COOKIE_SECURE"] is read["CSRF_COOKIE_SECURE"] is secure
    assert not read["PUBLIC_URL"].endswith("/")
    assert read["GITHUB_WEBHOOK_SECRETS"] == ["new", "old"]  # two during a rotation, and never an empty one
