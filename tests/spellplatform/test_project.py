"""What the project as a whole keeps: migrations, the description, the layers, and refusing unsafe settings."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from unittest import mock

import pytest
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.core.checks import ERROR, WARNING, run_checks
from django.core.management import call_command
from django.test import Client

from casts import links
from spellplatform.checks import in_the_clear
from spellplatform.env import database_config
from tests import warm
from tests.strong import SECRET_KEY, WEBHOOK_SECRET

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


POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\d*,?\d*\})\+|\(\?>")


def test_no_expression_has_a_possessive_group():
    """Before Python 3.11.5 such a group with alternatives matches wrongly: python/cpython#106052."""
    assert POSSESSIVE_GROUP.search(r"(?:a|b)*+")
    assert POSSESSIVE_GROUP.search("(?>a)")
    assert not POSSESSIVE_GROUP.search(r"(\)++[^)]++)*")
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in files.stdout.split():
        for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1):
            assert name == "tests/spellplatform/test_project.py" or not POSSESSIVE_GROUP.search(line), (name, number)


# --- unsafe settings -----------------------------------------------------------------------------------------------


def found(level):
    return {
        message.id
        for message in run_checks()
        if message.level == level and (message.id or "").startswith("spell.") and not message.is_silenced()
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


GOOD = "3kP9xQ2mT7vB1nZ8cR5wY3pL6hJ0gDaE1x2y3z"
WEAK = [
    ("SECRET_KEY", "only-for-debug", "spell.E005", "documentation"),
    ("SECRET_KEY", "fifty-random-characters", "spell.E005", "documentation"),
    ("SECRET_KEY", f"django-insecure-{GOOD}", "spell.E005", "documentation"),
    ("SECRET_KEY", f"{GOOD}-change-me", "spell.E005", "documentation"),
    ("SECRET_KEY", GOOD[:31], "spell.E005", "31 characters"),
    ("SECRET_KEY", "x" * 60, "spell.E005", "repeats"),
    ("SECRET_KEY", "0123456789abcdef" * 4, "spell.E005", "repeats"),
    ("SECRET_KEY_FALLBACKS", [GOOD, "tests"], "spell.E005", "entry 2"),
    ("METRICS_TOKENS", [GOOD, "prometheus"], "spell.E022", "entry 2, has 10 characters"),
    ("GITHUB_WEBHOOK_SECRETS", ["It's a Secret to Everybody"], "spell.E006", "documentation"),
    ("GITHUB_WEBHOOK_SECRETS", [GOOD, "my-webhook-secret"], "spell.E006", "entry 2"),
    ("GITHUB_WEBHOOK_SECRETS", ["k3P9xQ2mT7vB1nZ"], "spell.E006", "15 characters"),
    ("PUBLIC_URL", "http://spells.example.com", "spell.E007", "http://"),
    ("PUBLIC_URL", "http://10.0.0.5:8000", "spell.E007", "http://"),
    ("PUBLIC_URL", "http://127.0.0.1.example.com", "spell.E007", "http://"),
    ("GITHUB_API_URL", "ftp://github.example.com", "spell.E008", "https://"),
    ("GITHUB_API_URL", "http://github.example.com/api/v3", "spell.E009", "http://"),
]


@pytest.mark.parametrize(("name", "value", "wrong", "told"), WEAK)
def test_what_is_weak_is_refused_outside_debug_and_the_message_says_how_to_fix_it(settings, name, value, wrong, told):
    settings.SILENCED_SYSTEM_CHECKS, settings.PUBLIC_URL = [], "https://spells.example.com"
    settings.CSRF_TRUSTED_ORIGINS = []
    setattr(settings, name, value)
    [message] = [message for message in run_checks() if message.level == ERROR]
    assert (message.id, told in str(message)) == (wrong, True), message
    assert message.hint
    if "SECRET" in name:
        assert "token_urlsafe" in message.hint
        assert (value if isinstance(value, str) else value[-1]) not in str(message)
    settings.DEBUG = True
    assert found(ERROR) <= {"spell.E008"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("PUBLIC_URL", f"http://{host}:8000")
            for host in ("127.0.0.1", "localhost", "[::1]", "127.1.2.3", "a.localhost")
        ),
        ("PUBLIC_URL", "https://spells.example.com"),
        ("GITHUB_WEBHOOK_SECRETS", ["0123456789abcdeF"]),
        ("METRICS_TOKENS", [GOOD, "0123456789abcdeF"]),
        ("SECRET_KEY_FALLBACKS", [GOOD]),
    ],
)
def test_what_is_strong_enough_is_not(settings, name, value):
    settings.SILENCED_SYSTEM_CHECKS, settings.PUBLIC_URL = [], "https://spells.example.com"
    settings.CSRF_TRUSTED_ORIGINS = []
    setattr(settings, name, value)
    assert found(ERROR) == found(WARNING) == set()


def test_debug_origins_hosts_and_open_files_are_warned_of(settings, tmp_path):
    settings.PUBLIC_URL, settings.CSRF_TRUSTED_ORIGINS = "https://spells.example.com", ["http://old.example.com"]
    settings.ALLOWED_HOSTS, settings.ARTIFACT_ROOT = ["*"], tmp_path
    tmp_path.chmod(0o755)
    assert (found(ERROR), found(WARNING)) == (set(), {"spell.W004", "spell.W005", "spell.W006"})
    settings.DEBUG = True
    assert found(WARNING) == {"spell.W003"}


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("postgresql://u:p@db.example.com/n", True),
        ("postgresql://u:p@10.0.0.7:5432/n?sslmode=prefer", True),
        ("postgresql://u:p@db.example.com/n?sslmode=verify-full", False),
        ("postgresql://u:p@db.example.com/n?sslmode=require", False),
        ("postgresql://u:p@127.0.0.1/n", False),
        ("postgresql://u:p@[::1]/n", False),
        ("postgresql://u:p@localhost/n", False),
        ("postgresql://u:p@db/n", False),  # another container
        ("postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/n", False),
        ("sqlite:////tmp/db.example.com", False),
    ],
)
def test_a_database_on_another_machine_is_warned_of_unless_its_address_insists_on_tls(url, warned):
    assert [one.id for one in in_the_clear(database_config(url), "")] == (["spell.W007"] if warned else [])


def test_redis_on_another_machine_is_warned_of_unless_its_address_says_tls(settings):
    for url in (
        "redis://127.0.0.1:6379/0",
        "redis://redis:6379/0",
        "rediss://:secret@redis.example.com/0",
        "unix:///r",
    ):
        assert in_the_clear(settings.DATABASES["default"], url) == [], url
    settings.RATION_URL = "redis://:secret@redis.example.com:6379/0"
    assert found(WARNING) == {"spell.W008"}
    settings.DEBUG = True
    assert "spell.W008" not in found(WARNING)


def test_an_old_secret_key_still_opens_links_and_sessions(settings, db):
    cast_id = uuid.uuid4()
    link = links.token_for(cast_id)
    user = User.objects.create_user("ada")
    client = Client()
    client.force_login(user)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], GOOD
    links._token.cache_clear()
    assert links.read_token(cast_id, link)
    assert links.token_for(cast_id) != link
    assert get_user(mock.Mock(session=client.session)) == user
    settings.SECRET_KEY_FALLBACKS = []
    assert not links.read_token(cast_id, link)
    assert not get_user(mock.Mock(session=client.session)).is_authenticated
    links._token.cache_clear()


def python(code, **environment):
    kept = {n: os.environ[n] for n in ("PATH", "HOME") if n in os.environ}
    command = [sys.executable, "-c", code]
    return warm.run(command, cwd=ROOT, env=kept | environment, capture_output=True, timeout=60)


@pytest.mark.processes
def test_the_server_itself_refuses_to_serve_without_a_webhook_secret(tmp_path):
    """gunicorn imports this module; no management command runs its checks."""
    environment = {"SECRET_KEY": SECRET_KEY, "VAR_DIR": str(tmp_path), "GITHUB_WEBHOOK_SECRET": " , "}
    refused = python("import spellplatform.asgi", **environment)
    assert refused.returncode != 0
    assert "GITHUB_WEBHOOK_SECRET is not set" in refused.stderr


@pytest.mark.processes
def test_without_a_secret_key_the_server_does_not_start_and_says_how_to_make_one(tmp_path):
    environment = {"VAR_DIR": str(tmp_path), "GITHUB_WEBHOOK_SECRET": WEBHOOK_SECRET}
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
