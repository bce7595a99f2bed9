"""`manage.py doctor`: what it asks, how it shows what it found, and how it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from casts.models import Spell
from github_integration import api
from github_integration.doctor import findings, hook
from github_integration.doctor.findings import About
from localgithub.world import World
from tests.github_integration.doubles import REPO, answer, free_port, loopback
from tests.spells import retarget, stored_spell

from .conftest import SECRET, TOKEN, delivered

pytestmark = pytest.mark.django_db
Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    """Run the command against the local GitHub; return its exit code and what it printed."""
    settings.GITHUB_API_URL, settings.GITHUB_APP_INSTALLATION_ID = world.config.base_url, 77
    settings.GITHUB_REPOSITORY, settings.GITHUB_WORKFLOW_FILE = REPO, "good.yml"
    settings.GITHUB_WEBHOOK_SECRETS, settings.PUBLIC_URL = [SECRET], "https://spells.example.com"
    world.hooks.url = "https://spells.example.com/api/webhooks/github"
    delivered(world)
    monkeypatch.setattr(hook, "LOOK_EVERY", 0.02)

    def run(*arguments: str) -> tuple[int, str]:
        api.github.cache_clear()
        out = io.StringIO()
        try:
            call_command("doctor", *arguments, stdout=out)
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
        return 0, out.getvalue()

    yield run
    api.github.cache_clear()


def told(printed: str) -> dict[tuple[str, str], str]:
    """Return the level of each (subject, check) of a report in JSON."""
    return {(f["subject"], f["check"]): f["level"] for f in json.loads(printed)["findings"]}


@pytest.fixture
def good() -> Spell:
    return stored_spell(key="good", name="Good", event_type="")


@pytest.fixture
def bad() -> Spell:
    return stored_spell(key="bad", name="Bad", workflow_file="none.yml")


@pytest.fixture
def heard() -> Spell:
    return stored_spell(key="heard", name="Heard", runtime="repository_dispatch", event_type="heard")


def test_sound_configuration_ends_with_0_and_shows_every_subject(doctor, good, heard):
    code, printed = doctor()
    assert code == 0
    heads = [line for line in printed.splitlines() if line and not line.startswith(" ")]
    assert heads == ["GitHub App", "Installation 77", "Webhook", "Spell good", "Spell heard", heads[-1]]
    assert heads[-1].endswith("warning: 0, problem: 0")
    assert "fix:" not in printed


def test_problem_ends_with_1_and_says_how_to_fix_it(doctor, good, bad):
    code, printed = doctor()
    assert code == 1
    assert "none.yml" in printed
    assert "fix: Push .github/workflows/none.yml to main" in printed
    assert printed.rstrip().endswith("problem: 1")


def test_what_keeps_web_and_workers_from_starting_is_among_the_problems(doctor, good, settings):
    settings.GITHUB_WEBHOOK_SECRETS = []  # told by the webhook's own check, and once
    settings.PUBLIC_URL = "https://spells.example.com/spells"
    code, printed = doctor("--json")
    assert code == 1
    [told_once] = [f for f in json.loads(printed)["findings"] if f["subject"] == "Settings"]
    assert told_once["level"] == "problem"
    assert told_once["message"].startswith("PUBLIC_URL must be scheme, host and port alone")


def test_warnings_alone_end_with_0(doctor, world, good):
    world.hooks._log = []
    code, printed = doctor("--json")
    assert code == 0
    assert told(printed)["Webhook", "deliveries"] == "warning"


def test_json_is_for_programs(doctor, bad):
    code, printed = doctor("--json")
    report = json.loads(printed)
    assert code == 1
    assert report["counts"]["problem"] == 1
    assert sum(report["counts"].values()) == len(report["findings"])
    [problem] = [f for f in report["findings"] if f["level"] == "problem"]
    assert set(problem) == {"level", "subject", "check", "message", "hint"}
    assert (problem["subject"], problem["check"]) == ("Spell bad", "workflow")


def test_one_spell_is_checked_alone_also_while_inactive(doctor, good, bad):
    assert doctor("--spell", "good")[0] == 0
    assert "Spell bad" not in doctor("--spell", "good")[1]
    Spell.objects.filter(pk=bad.pk).update(active=False)
    code, printed = doctor("--spell", "bad", "--json")
    assert code == 1
    assert told(printed)["Spell bad", "active"] == "warning"


def test_inactive_spells_are_left_out(doctor, good, bad):
    Spell.objects.filter(pk=bad.pk).update(active=False)
    assert doctor()[0] == 0


def test_unknown_spell_is_an_error(doctor):
    with pytest.raises(CommandError, match="no spell with the key 'nix'"):
        doctor("--spell", "nix")


def test_no_spells_at_all_are_a_warning(doctor):
    code, printed = doctor()
    assert code == 0
    assert "There are no active spells." in printed
    assert "loadspells" in printed


def test_installations_of_spells_are_checked_too(doctor, good):
    retarget(good, installation_id=78)
    code, printed = doctor("--json")
    assert code == 1
    assert told(printed)["Installation 78", "exists"] == "problem"
    assert told(printed)["Installation 77", "exists"] == "ok"


def test_ping_sends_and_judges(doctor, world, settings, good):
    with loopback(answer(401)) as receiver:
        settings.PUBLIC_URL = receiver.url
        world.hooks.url = receiver.url + "/api/webhooks/github"
        code, printed = doctor("--ping", "--json")
    assert code == 1
    assert told(printed)["Webhook", "ping"] == "ok"
    assert told(printed)["Webhook", "deliveries"] == "problem"
    assert len(receiver.asked) == 1


def test_personal_token_skips_what_only_an_app_has(doctor, settings, good, heard):
    settings.GITHUB_APP_ID, settings.GITHUB_TOKEN = "", TOKEN
    code, printed = doctor("--json")
    assert code == 0
    levels = told(printed)
    assert levels["Personal token", "GITHUB_TOKEN"] == "ok"
    assert levels["Webhook", "all"] == "warning"
    assert levels["Spell good", "inputs"] == levels["Spell heard", "run-name"] == "ok"
    assert TOKEN not in printed


def test_without_credentials_the_rest_is_said_to_be_unchecked(doctor, settings, good):
    settings.GITHUB_APP_ID = "4711"
    code, printed = doctor()
    assert code == 1
    assert "the webhook and the spells were not checked" in printed
    assert "Spell good" not in printed


@pytest.mark.usefixtures("naps")
def test_without_network_it_says_so(doctor, settings, good):
    settings.GITHUB_API_URL = f"http://127.0.0.1:{free_port()}"
    code, printed = doctor()
    assert code == 1
    assert "GitHub can't be reached" in printed
    assert "HTTPS_PROXY" in printed
    assert "Nothing further was checked" in printed


@pytest.mark.usefixtures("naps")
def test_what_is_not_github_is_no_traceback(doctor, settings, good):
    with loopback(answer(200, b"<html>Please log in</html>")) as portal:
        settings.GITHUB_API_URL = portal.url
        code, printed = doctor()
    assert code == 1
    assert "not a JSON object" in printed


def test_rate_limit_says_until_when(doctor, world, good):
    world.faults.api |= {"primary_exhausted": True, "paths": "/hook/"}
    code, printed = doctor()
    assert code == 1
    assert "rate limit exceeded" in printed
    assert "Try again after 20" in printed
    assert "Installation 77" in printed


def test_database_that_cant_be_read_is_a_finding(doctor, monkeypatch):
    def refuse(**_: Any) -> None:
        raise OperationalError("no such table: casts_spell\nand more")

    monkeypatch.setattr(Spell.objects, "filter", refuse)
    code, printed = doctor()
    assert code == 1
    assert "no such table: casts_spell" in printed
    assert "manage.py migrate" in printed
    assert "Installation 77" in printed


def test_nothing_secret_is_printed(doctor, settings, good):
    settings.GITHUB_WEBHOOK_SECRETS = [SECRET]
    for arguments in ([], ["--json"]):
        printed = doctor(*arguments)[1]
        assert SECRET not in printed
        assert "PRIVATE KEY" not in printed
        assert "ghs_" not in printed


# --- how it is shown -------------------------------------------------------------------------------------


def test_text_is_in_columns_and_long_lines_are_broken():
    one, other = About("One"), About("Other")
    shown = findings.as_text(
        [
            one.ok("short", "well"),
            other.problem("much longer check", "word " * 40, hint="Open https://github.com/settings/apps/" + "x" * 90),
            one.warning("third", "so so", hint="Do this."),
        ]
    )
    lines = shown.splitlines()
    assert lines[0] == "One"
    assert lines[1] == "  ok       short              well"
    assert lines[2] == "  warning  third              so so"
    assert lines[3] == "                              fix: Do this."
    assert lines[5] == "Other"
    assert [len(line) - len(line.lstrip()) for line in lines[7:11]] == [30, 30, 30, 35]
    assert all(len(line) <= 110 for line in lines if "https" not in line)
    assert "https://github.com/settings/apps/" + "x" * 90 in shown
    assert lines[-1] == "ok: 1, warning: 1, problem: 1"
