"""What the command refuses before there is an App, and how it goes on with one that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import responses
from django.core.management import CommandError, call_command

from accounts.audit.models import AuditEntry
from core.files import alone_in
from github_integration.connecting.places import APP_ID, INSTALLATION, KEY, EnvFile
from github_integration.management.commands import connectgithub
from localgithub.world import World
from tests.github_integration.doctor.conftest import _doctors_server, _one_proof, world  # noqa: F401
from tests.github_integration.doubles import API, DATA, REPO

from .test_exchange import ANSWER, HIDDEN


def refused(*arguments: str, **options: Any) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("connectgithub", "--no-browser", *arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--github", "http://github.example.com"], "must begin with https://"),
        (["--github", "https://github.com@evil.example/x"], "scheme and host alone"),
        (["--organization", "a/../b"], "The organization must be"),
        (["--name", "x" * 35], "1 to 34 characters"),
        (["--public-url", "spells.example.com"], "public address must be"),
        (["--code", "../../app"], "no code of GitHub's"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_asked(tmp_path: Path, arguments: list[str], said: str):
    assert said in refused("--env-file", str(tmp_path / ".env"), *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_waits_for_the_first(tmp_path: Path):
    with alone_in(tmp_path) as alone:
        assert alone
        assert "Another connectgithub is at work" in refused("--env-file", str(tmp_path / ".env"))


def test_a_folder_is_no_file_of_settings(tmp_path: Path):
    assert "is no file" in refused("--env-file", str(tmp_path))


def test_what_the_environment_would_win_over_is_not_written(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.BASE_DIR = tmp_path
    assert "IGNORE_ENV_FILE is set" in refused()
    monkeypatch.delenv("IGNORE_ENV_FILE")
    monkeypatch.setenv(APP_ID, "5")
    assert f"The environment sets {APP_ID}" in refused()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.django_db
def test_a_code_that_is_given_by_hand_makes_an_app_and_an_entry_in_the_audit_log(
    tmp_path: Path, http: responses.RequestsMock, settings: Any
):
    settings.GITHUB_API_URL, settings.PUBLIC_URL = API, "https://spells.example.com"
    http.post(f"{API}/app-manifests/good/conversions", json=ANSWER | HIDDEN, status=201)
    http.get(f"{API}/app/installations", json=[])
    http.get(f"{API}/app", json=ANSWER)
    address = "http://127.0.0.1:8000/github/connected/?code=good&state=lost"
    said = refused("--env-file", str(tmp_path / ".env"), "--code", address, "--wait", "0", "--organization", "acme")
    assert "not installed yet" in said
    assert EnvFile(tmp_path / ".env").read()[APP_ID] == "7"
    [entry] = AuditEntry.objects.all()
    assert (entry.action, entry.actor, entry.object_id) == ("github.connect", "connectgithub", "7")
    assert entry.after == {"app": 7, "name": "Ours", "owner": "acme", "place": str(tmp_path / ".env")}


@pytest.mark.django_db
def test_an_app_that_there_is_is_gone_on_with(
    tmp_path: Path,
    world: World,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    place = EnvFile(tmp_path / ".env")
    place.write({APP_ID: "1", KEY: (DATA / "app.pem").read_text(), "GITHUB_API_URL": world.config.base_url})
    place.write({INSTALLATION: "no number"})
    call_command("connectgithub", "--no-browser", "--env-file", str(place.path), "--wait", "0")
    told = capsys.readouterr().out
    assert place.read()[INSTALLATION] == "77"
    assert f"It opens {REPO}" in told
    assert f"manage.py importspells {REPO}" in told  # nobody is there to be asked
    assert "BEGIN" not in told
    assert "migrate" not in told
    monkeypatch.setattr(connectgithub, "why_unready", lambda: "The database is empty")
    call_command("connectgithub", "--no-browser", "--env-file", str(place.path), "--wait", "0")
    told = capsys.readouterr().out
    assert 0 < told.find("manage.py migrate") < told.find("manage.py importspells")
    world.remove(True)
    try:
        assert "not installed yet" in refused("--env-file", str(place.path), "--wait", "0")
    finally:
        world.remove(False)
