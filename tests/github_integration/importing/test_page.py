"""The admin's page that imports: what it shows, makes and refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts.audit.models import AuditEntry
from casts.models import Spell
from github_integration.models import WorkflowTarget
from tests.github_integration.doubles import REPO

pytestmark = pytest.mark.django_db
PAGE = "/admin/import/"
DEPLOY = "name: Deploy <b>it</b>\non: {workflow_dispatch: {inputs: {to: {type: environment, required: true}}}}\n"


def operator(*permissions: str) -> Client:
    user = User.objects.create(username="opal", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def look(client: Client, **more: Any) -> Any:
    return client.post(PAGE, {"repository": REPO, "look": "1"} | more)


def seen(answer: Any) -> dict[str, str]:
    """Return the hidden fields that say what was looked at."""
    return dict(re.findall(r'name="(seen:[^"]+)" value="([^"]+)"', answer.content.decode()))


def test_workflows_are_shown_and_spells_made_of_the_chosen_ones(write):
    write("deploy.yml", DEPLOY)
    write("broken.yml", "on: [")
    client = operator("add_spell", "view_spell")
    assert b'href="/admin/import/"' in client.get("/admin/casts/spell/").content
    answer = look(client)
    text = answer.content.decode()
    assert "Deploy &lt;b&gt;it&lt;/b&gt;" in text
    assert "broken.yml: broken.yml is no valid YAML in line" in text
    chosen = {"file": "deploy.yml", "make": "1", "key:deploy.yml": "ship", "key:good.yml": "good"}
    answer = client.post(PAGE, {"repository": REPO} | chosen | seen(answer), follow=True)
    assert "Created: ship." in answer.content.decode()
    assert [spell.key for spell in Spell.objects.all()] == ["ship"]
    entry: Any = AuditEntry.objects.get(action="spells.import")
    assert (entry.actor, entry.after["created"]) == ("opal", ["ship"])


def test_difference_is_shown_and_changed_only_with_the_permission(write):
    write("deploy.yml", DEPLOY)
    spell = Spell.objects.create(key="deploy", name="deploy")
    WorkflowTarget.objects.create(spell=spell, repository=REPO, workflow_file="deploy.yml", ref="main")
    adds = operator("add_spell")
    answer = look(adds)
    assert "changed: name: deploy → Deploy &lt;b&gt;it" in answer.content.decode()
    assert b'value="deploy.yml" disabled' in answer.content
    chosen = {"repository": REPO, "file": "deploy.yml", "make": "1"} | seen(answer)
    assert adds.post(PAGE, chosen).status_code == 403
    user = User.objects.get()
    user.user_permissions.add(Permission.objects.get(codename="change_spell"))
    assert adds.post(PAGE, chosen).status_code == 302
    spell.refresh_from_db()
    assert spell.name == "Deploy <b>it</b>"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "Nothing is chosen."),
        ({"file": "heard.yml"}, "can&#x27;t be imported any more"),
        ({"file": "deploy.yml", "seen:deploy.yml": "old"}, "has changed on GitHub since you looked"),
        ({"file": "deploy.yml", "key:deploy.yml": "taken"}, "the key taken is taken by a spell of"),
        ({"file": "deploy.yml", "key:deploy.yml": "No Key"}, "Use lower-case letters"),
        ({"file": "deploy.yml", "repository": "demo/nowhere"}, "is not installed on demo/nowhere"),
        ({"file": "deploy.yml", "repository": "<script>"}, "write owner/name"),
    ],
)
def test_what_can_not_be_made_is_said_on_the_page(write, more: dict[str, str], said: str):
    write("deploy.yml", DEPLOY)
    Spell.objects.create(key="taken", name="x")
    client = operator("add_spell", "change_spell")
    answer = client.post(PAGE, {"repository": REPO, "make": "1"} | seen(look(client)) | more)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert b"<script>" not in answer.content
    assert Spell.objects.count() == 1


def test_page_takes_no_form_from_elsewhere():
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    assert look(client).status_code == 403
