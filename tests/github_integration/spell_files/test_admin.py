"""The operator's view of spells that repositories define."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.models import Account
from casts.models import Spell
from github_integration.doctor import spell_files
from github_integration.models import Installation, RepositoryList, SpellRepository, WorkflowTarget
from tests.console import HOSTILE, page, queries, refuses_changes, shown
from tests.spells import stored_spell

from .conftest import Hub, work

pytestmark = pytest.mark.django_db
LIST = "/admin/github_integration/spellrepository/"


def a_row(number: int = 5, **fields: object) -> SpellRepository:
    installation, _ = Installation.objects.get_or_create(pk=77, defaults={"account_login": "acme"})
    values = {"name": f"acme/spells-{number}", "installation": installation, "commit": "c" * 40, "state": "refused"}
    problem = {"file": ".github/spells.toml", "line": 3, "message": HOSTILE}
    return SpellRepository.objects.create(number=number, **{**values, "problems": [problem], **fields})


def test_a_refused_file_is_shown_with_its_mistakes_and_needs_attention(admin_client: Client) -> None:
    row = a_row(report={"title": HOSTILE})
    a_row(6, state="waiting", problems=[])
    a_row(7, state="nothing", problems=[], trouble="no access")  # defines nothing: nobody misses it
    for path in (LIST, f"{LIST}{row.pk}/change/", "/admin/attention/"):
        assert ".github/spells.toml" in page(admin_client, path)
    text = shown(page(admin_client, "/admin/attention/"))
    assert "The spell files of acme/spells-5 are not applied: 1 mistake" in text
    assert "define spells that nobody owns" in text
    assert "spells-7" not in text
    assert "/acme/spells-5/commit/" in page(admin_client, f"{LIST}{row.pk}/change/")
    refuses_changes(admin_client, "github_integration.spellrepository", row.pk)
    few = queries(admin_client, LIST)
    for number in range(10, 30):
        a_row(number)
    assert queries(admin_client, LIST) == few
    RepositoryList.objects.create(installation=row.installation, error=HOSTILE)
    page(admin_client, "/admin/github_integration/repositorylist/")


def test_a_button_has_it_looked_at_now(admin_client: Client) -> None:
    row = a_row(basis="x", failed_steps=6)
    admin_client.post(LIST, {"action": "look_now", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert (row.basis, row.failed_steps, row.due_at is None) == ("", 0, False)


def test_what_files_say_of_a_spell_is_not_changed_in_the_admin(admin_client: Client, account: Account) -> None:
    row = a_row(state="applied", problems=[])
    spell = stored_spell(key="deploy", name="Deploy", repository=row.name, workflow_file="deploy.yml", account=account)
    target = spell.workflowtarget
    target.defined_in = row
    target.save()
    path = f"/admin/casts/spell/{spell.pk}/change/"
    text = page(admin_client, path)
    assert "defined in" in shown(text).lower()
    assert "the repository acme/spells-5" in shown(text)
    for name in ("name", "input_schema", "max_running", "account", "key"):
        assert f' name="{name}"' not in text
    assert 'name="price_cents"' in text
    form = {
        **{"name": "Other", "price_cents": 9, "max_running": 3, "active": "", "workflowtarget-0-repository": "a/b"},
        **{"workflowtarget-TOTAL_FORMS": 1, "workflowtarget-INITIAL_FORMS": 1, "workflowtarget-0-id": target.pk},
        **{"account_prices-TOTAL_FORMS": 0, "account_prices-INITIAL_FORMS": 0, "price_kind": "flat"},
        **{"retention_rules-TOTAL_FORMS": 0, "retention_rules-INITIAL_FORMS": 0},
        "workflowtarget-0-spell": spell.pk,
    }
    answer = admin_client.post(path, form)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    spell = Spell.objects.get(key="deploy")
    assert (spell.name, spell.price_cents, spell.max_running, spell.active) == ("Deploy", 9, None, False)
    assert spell.workflowtarget.repository == row.name
    Installation.objects.update(limits_from_repository=False)
    assert 'name="max_running"' in page(admin_client, path)


def test_what_is_wrong_with_a_field_that_only_files_change_is_said_above_the_form(
    admin_client: Client, account: Account
) -> None:
    row = a_row(state="applied", problems=[])
    schema = {"type": "object", "required": ["charge_cents"]}
    spell = stored_spell(key="deploy", name="Deploy", repository=row.name, workflow_file="a.yml", output_schema=schema)
    target = spell.workflowtarget
    target.defined_in = row
    target.save()
    form = {
        **{"price_cents": 9, "price_kind": "reported", "active": "on"},
        **{"workflowtarget-TOTAL_FORMS": 1, "workflowtarget-INITIAL_FORMS": 1, "workflowtarget-0-id": target.pk},
        **{"account_prices-TOTAL_FORMS": 0, "account_prices-INITIAL_FORMS": 0, "workflowtarget-0-spell": spell.pk},
        **{"retention_rules-TOTAL_FORMS": 0, "retention_rules-INITIAL_FORMS": 0},
    }
    answer = admin_client.post(f"/admin/casts/spell/{spell.pk}/change/", form)
    assert answer.status_code == 200
    assert "leave it out of the schema" in answer.content.decode()
    assert Spell.objects.get(key="deploy").price_kind == "flat"


def test_the_doctor_tells_of_each_repository(account: Account) -> None:
    a_row(5)
    a_row(6, state="waiting", problems=[])
    a_row(7, state="nothing", problems=[])
    a_row(8, state="applied", problems=[], applied_commit="a" * 40, reported="check_run")
    a_row(9, state="applied", problems=[], trouble="no access")
    a_row(10, state="applied", problems=[], applied_commit="a" * 40, reported="nowhere")
    Installation.objects.update(account=account)
    RepositoryList.objects.create(installation_id=77, error="it needs Contents: read")
    told = [(one.subject.rpartition("-")[2], one.level.value) for one in spell_files.check()]
    assert told == [
        *(("10", "warning"), ("5", "problem"), ("6", "warning"), ("8", "ok"), ("9", "problem")),
        ("Installation 77", "warning"),
    ]


def test_a_spell_is_handed_over_to_the_files_that_name_it(hub: Hub, other: Hub, admin_client: Client) -> None:
    mine = stored_spell(key="deploy", name="Mine", repository=hub.name, workflow_file="deploy.yml", price_cents=7)
    theirs = stored_spell(key="theirs", name="Theirs", repository=other.name, workflow_file="deploy.yml")
    owned = stored_spell(key="owned", repository=hub.name, account=Account.objects.create(name="Another"))
    act = {"action": "hand_over_to_files", "_selected_action": [mine.pk, theirs.pk, owned.pk]}
    admin_client.post("/admin/casts/spell/", act)  # nobody waits for them
    assert not WorkflowTarget.objects.exclude(defined_in=None).exists()
    hub.push(spells_toml="".join(f'[{key}]\nworkflow_file = "deploy.yml"\n' for key in ("deploy", "theirs", "owned")))
    work()
    told = shown(admin_client.post("/admin/casts/spell/", act, follow=True).content.decode())
    assert "Spells handed over: 1 of 3." in told
    work()
    assert hub.row().state == "refused"
    assert [problem["message"].split(":")[0] for problem in hub.row().problems] == ["theirs", "owned"]
    hub.push(spells_toml='[deploy]\nworkflow_file = "deploy.yml"\n')
    work()
    mine.refresh_from_db()
    assert (hub.row().state, mine.name, mine.price_cents, mine.active) == ("applied", "Deploy", 7, True)
    assert mine.account == hub.row().installation.account
    theirs.refresh_from_db()
    assert (theirs.name, theirs.active) == ("Theirs", True)
