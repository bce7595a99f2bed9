"""The button of a spell's page that has the doctor look at it."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.audit.models import AuditEntry
from casts.models import Spell
from github_integration.doctor import spells
from github_integration.models import WorkflowTarget
from localgithub.world import World
from tests.casts.test_admin import posted
from tests.console import shown
from tests.github_integration.doubles import REPO, free_port
from tests.spells import retarget, stored_spell

from .test_own_inputs import FILE, FITS

pytestmark = pytest.mark.django_db
LIST = "/admin/casts/spell/"


@pytest.fixture
def deploy(world: World, settings: Any, write: Any) -> Spell:
    settings.GITHUB_API_URL = world.config.base_url
    settings.GITHUB_REPOSITORY = REPO
    return stored_spell(
        **{"key": "deploy", "name": "Deploy", "workflow_file": write("deploy.yml", FILE), "installation_id": 77},
        **{"input_mapping": "native", "input_schema": FITS},
    )


def check(client: Client, *chosen: Spell) -> str:
    sent = {"action": "check_on_github", "index": "0", "_selected_action": [str(spell.pk) for spell in chosen]}
    answer = client.post(LIST, sent, follow=True)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_spells_page_has_the_button_and_it_shows_what_was_found(admin_client: Client, deploy: Spell):
    page = admin_client.get(reverse("admin:casts_spell_change", args=[deploy.pk])).content.decode()
    assert 'value="check_on_github"' in page
    said = check(admin_client, deploy)
    assert "Casts work, but less well than they could" in said
    assert "warning run-name Titles of runs of deploy.yml" in said
    assert "Fix: If that matters" in said
    assert "ok workflow deploy.yml, active" in said
    assert "ok permission actions write" in said
    assert "were not read before. Casts are checked against the file as it is now" in said
    deploy.workflowtarget.refresh_from_db()
    assert deploy.workflowtarget.declared_inputs.keys() == {"stage", "dry", "times", "note"}
    assert AuditEntry.objects.filter(action="admin.spell.check_on_github").count() == 1
    assert "casts are checked against the file as it is" in check(admin_client, deploy)


def test_what_is_wrong_comes_first_and_texts_are_escaped(admin_client: Client, deploy: Spell, write: Any):
    other = stored_spell(key="other", name="O", workflow_file=write("x.yml", "on: '<script>hurt</script>'\njobs: {}\n"))
    retarget(other, installation_id=77)
    said = check(admin_client, deploy, other)
    assert "Casts can&#x27;t work like this." in said
    assert said.index("Spell deploy") < said.index("Spell other") < said.index("GitHub App")
    assert "has no `on: workflow_dispatch`" in said
    assert "Check of 2 spells" in said


def test_github_away_is_said_and_changes_nothing(admin_client: Client, deploy: Spell, settings: Any):
    settings.GITHUB_API_URL = f"http://127.0.0.1:{free_port()}"
    said = check(admin_client, deploy)
    assert "GitHub can&#x27;t be reached" in said
    assert "Nothing further was checked" in said
    deploy.workflowtarget.refresh_from_db()
    assert deploy.workflowtarget.declared_inputs is None


def test_it_takes_so_long_and_no_longer(admin_client: Client, deploy: Spell, monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(0, 1000, 6))  # each question takes six seconds
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    found = spells.examine([deploy])
    assert found[-1].check == "asking it"
    assert "took too long" in found[-1].message
    assert len(found) > 2


def test_it_asks_github_outside_of_any_transaction(admin_client: Client, deploy: Spell, monkeypatch):
    inside = connection.in_atomic_block, len(connection.savepoint_ids)  # the test's own
    seen: list[Any] = []
    as_it_is = spells._on_github
    monkeypatch.setattr(
        spells,
        "_on_github",
        lambda *given, **more: (
            seen.append((connection.in_atomic_block, len(connection.savepoint_ids))),
            as_it_is(*given, **more),
        )[1],
    )
    check(admin_client, deploy)
    assert seen == [inside]


def test_a_spell_is_checked_as_it_is_typed_and_nothing_is_kept(admin_client: Client, deploy: Spell):
    form = html.unescape(admin_client.get(f"{LIST}{deploy.pk}/change/").content.decode())
    assert "Check against GitHub</button>" in form
    there = {"repository": REPO, "installation_id": "77", "input_mapping": "native"}
    typed = posted(key="deploy", workflow_file="nowhere.yml", **there)
    answer = admin_client.post(f"{LIST}{deploy.pk}/try/check/", typed)
    told = shown(answer.content.decode())
    assert "has no workflow nowhere.yml that GitHub knows of" in told
    assert "as you have typed it; nothing was saved" in told
    deploy.refresh_from_db()
    target = WorkflowTarget.objects.get()
    assert (target.workflow_file, target.declared_inputs) == ("deploy.yml", None)
    first = {"workflowtarget-INITIAL_FORMS": "0", "workflowtarget-0-id": "", "workflowtarget-0-spell": ""}
    new = admin_client.post(f"{LIST}try/check/", posted(key="new", **there) | first)
    assert "Spell new" in shown(new.content.decode())
    wrong = admin_client.post(f"{LIST}{deploy.pk}/try/check/", posted(input_schema="{", repository="nowhere"))
    assert wrong.status_code == 422
    assert "Input schema : Enter a valid JSON." in shown(wrong.content.decode())
    assert "Repository : Write the repository as owner/name." in shown(wrong.content.decode())
    assert Spell.objects.count() == 1


def test_more_than_twenty_are_too_many(admin_client: Client, deploy: Spell):
    many = [stored_spell(key=f"s{n}", name="S") for n in range(20)]
    assert "Choose 20 spells at most" in check(admin_client, deploy, *many)
