"""The page to which GitHub leads after an installation: operators make spells there, everybody else learns nothing."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from accounts.audit.models import AuditEntry
from accounts.models import Account
from casts.models import Spell
from github_integration.api import GitHub
from github_integration.connecting import installed
from github_integration.importing import asking
from github_integration.models import WorkflowTarget
from localgithub.world import World
from tests.github_integration.doctor.conftest import (  # noqa: F401
    _doctors_server,
    _one_proof,
    hub,
    world,
    write,
)
from tests.github_integration.doubles import REPO

PAGE = "/github/installed/"
OURS = {"installation_id": "77", "setup_action": "install"}
DEPLOY = "name: <script>hurt()</script>\non: {workflow_dispatch: {inputs: {to: {required: true}}}}\n"


@pytest.fixture(autouse=True)
def asked(hub: GitHub, monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[int]:  # noqa: F811
    """Be the App; count how often GitHub is asked."""
    settings.GITHUB_APP_ID, settings.GITHUB_APP_INSTALLATION_ID, times = "1", 77, []

    def github() -> GitHub:
        times.append(1)
        return hub

    monkeypatch.setattr(asking, "github", github)
    monkeypatch.setattr(installed, "github", github)
    return times


def staff(*permissions: str) -> Client:
    user = User.objects.create_user(f"staff{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    return staff("add_spell", "view_spell", "change_spell")


@pytest.mark.django_db
def test_nobody_else_learns_anything_and_github_is_not_asked(asked: list[int]):
    member = Client()
    member.force_login(User.objects.create_user("member"))
    pages = set()
    for client in (Client(), member, staff(), staff("view_spell")):
        for query in (OURS, OURS | {"installation_id": "1"}, {}, {"installation_id": "<b>", "repository": REPO}):
            answer = client.get(PAGE, query)
            assert answer.status_code == 200
            assert "The operator of this service goes on from here" in answer.content.decode()
            pages.add(re.sub(rb"next=[^\"]*", b"", answer.content))
        assert client.post(PAGE, OURS | {"repository": REPO, "workflow": "good.yml:"}).status_code in (302, 403)
    assert (len(pages), asked, Spell.objects.count()) == (1, [], 0)


def test_an_operator_makes_spells_of_what_is_shown_and_gets_a_first_cast(
    operator: Client,
    world: World,  # noqa: F811
    write: Any,  # noqa: F811
):
    write("deploy.yml", DEPLOY)
    write("ship.yml", DEPLOY)
    account = Account.objects.create(name="shop")
    shown = operator.get(PAGE, OURS).content.decode()
    assert "<script>hurt" not in shown
    values = dict(one.rsplit(":", 1) for one in re.findall(r'name="workflow" value="([^"]+)"', html.unescape(shown)))
    assert {"deploy.yml", "good.yml"} <= values.keys()
    assert "heard.yml" in shown
    [note] = re.findall(r"<p[^>]*>([^<]*titles don't carry[^<]*)", html.unescape(shown))
    assert note.startswith("deploy.yml, ship.yml: ")  # once, not at each
    form = {**OURS, "repository": REPO, "workflow": f"deploy.yml:{values['deploy.yml']}", "account": str(account.pk)}
    made = operator.post(PAGE, form)
    assert made.status_code == 200, made.content
    spell = Spell.objects.get()
    assert (spell.key, spell.account, WorkflowTarget.of(spell).repository) == ("deploy", account, REPO)
    text = html.unescape(made.content.decode())
    assert f"/admin/casts/spell/{spell.pk}/change/" in text
    assert '"spell_key": "deploy", "input": {"to": ' in text
    assert [entry.actor_kind for entry in AuditEntry.objects.filter(action="spells.import")] == ["user"]
    again = operator.post(PAGE, form)
    assert (again.status_code, Spell.objects.count()) == (200, 1)
    write("deploy.yml", DEPLOY.replace("to:", "other:"))
    changed = operator.post(PAGE, form)
    assert (changed.status_code, b"Changed meanwhile: deploy.yml" in changed.content) == (409, True)
    assert "to" in Spell.objects.get().input_schema["properties"]


def test_where_a_key_is_taken_it_leads_on_to_where_another_is_chosen(
    operator: Client,
    world: World,  # noqa: F811
    write: Any,  # noqa: F811
):
    link = f"/admin/import/?repository={REPO}"
    assert link not in operator.get(PAGE, OURS).content.decode()
    write("deploy.yml", DEPLOY)
    old = f"before/{REPO.split('/')[1]}"
    for key in ("good", "deploy"):
        spell = Spell.objects.create(key=key, name=key)
        WorkflowTarget.objects.create(spell=spell, repository=old, workflow_file=f"{key}.yml", ref="main")
    shown = html.unescape(operator.get(PAGE, OURS).content.decode())
    assert f"deploy.yml in {old} at main; if that was renamed to {REPO}, write this name" in shown
    assert link in shown
    assert "None of them has" not in shown


def test_who_may_only_make_spells_changes_none(db: None):
    spell = Spell.objects.create(key="good", name="Mine")
    WorkflowTarget.objects.create(spell=spell, repository=REPO, workflow_file="good.yml", ref="main")
    client = staff("add_spell")
    shown = client.get(PAGE, OURS).content.decode()
    [value] = re.findall(r'name="workflow" value="(good.yml:\w+)" disabled', shown)
    assert client.post(PAGE, {**OURS, "repository": REPO, "workflow": value}).status_code == 403
    assert [one.name for one in Spell.objects.all()] == ["Mine"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"installation_id": "78"}, 404, "has no installation 78"),
        ({"installation_id": "9" * 19}, 200, "Which installation?"),
        ({"installation_id": "77 OR 1"}, 200, "Which installation?"),
        ({"setup_action": "request"}, 200, "An owner of the organization has to agree"),
        (OURS | {"repository": "other/repository"}, 404, "does not open other/repository"),
        (OURS | {"repository": "../../app"}, 404, "does not open"),
    ],
)
def test_nothing_in_the_address_is_believed(operator: Client, query: dict[str, str], status: int, said: str):
    answer = operator.get(PAGE, query)
    assert (answer.status_code, said in html.unescape(answer.content.decode())) == (status, True)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "No workflow was ticked"),
        ({"workflow": "good.yml:0000"}, "Changed meanwhile: good.yml"),
        ({"workflow": "nowhere.yml:0000"}, "Changed meanwhile: nowhere.yml"),
        ({"workflow": "good.yml:{}", "account": "12345"}, "no such account"),
        ({"workflow": "good.yml:{}", "account": "1e5"}, "no such account"),
    ],
)
def test_a_form_that_is_not_as_it_was_shown_makes_nothing(operator: Client, form: dict[str, str], said: str):
    mark = re.findall(r'value="good.yml:(\w+)"', operator.get(PAGE, OURS).content.decode())[0]
    sent = {name: value.format(mark) for name, value in form.items()}
    answer = operator.post(PAGE, {**OURS, "repository": REPO, **sent})
    assert answer.status_code in (400, 409)
    assert said in answer.content.decode()
    assert not Spell.objects.exists()


def test_while_github_is_away_or_this_process_knows_no_app_the_page_says_so(
    operator: Client,
    world: World,  # noqa: F811
    settings: Any,
):
    world.faults.suspended = True
    world.suspend(True)
    assert b"is suspended" in operator.get(PAGE, OURS).content
    world.faults.suspended = False
    world.suspend(False)
    settings.GITHUB_APP_ID = ""
    assert b"restart web and workers" in operator.get(PAGE, OURS).content
