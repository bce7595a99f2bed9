"""Spells of a repository's workflows: what is found, made, changed and refused, at a local GitHub."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts import principals
from accounts.audit.models import AuditEntry
from accounts.models import Account
from casts.definition import fields_of
from casts.models import Spell
from casts.spells import toml
from github_integration import errors
from github_integration.api import Repository
from github_integration.importing import ImportFailed, Preview, State, apply, asking, preview
from github_integration.models import Installation, SpellRepository, WorkflowTarget
from localgithub.world import World
from tests.github_integration.doubles import REPO

pytestmark = pytest.mark.django_db
BY = principals.of_command("test")
WORKFLOWS = Path(__file__).parents[2] / "data" / "workflows"
DEPLOY = "name: Deploy\non: {workflow_dispatch: {inputs: {to: {type: environment, required: true}, version: {}}}}\n"


def states(seen: Preview) -> dict[str, State]:
    return {one.file: one.state for one in seen.found}


def one(seen: Preview, file: str = "deploy.yml") -> Any:
    [found] = [found for found in seen.found if found.file == file]
    return found


def imported(*files: str, **how: Any) -> Spell:
    apply(preview(REPO, files=files, **how), by=BY, **how)
    return Spell.objects.order_by("pk").last()  # type: ignore[return-value]


def test_a_spell_is_made_of_each_workflow_that_can_be_dispatched_and_the_rest_is_told(world, write):
    write("deploy.yml", DEPLOY)
    write("broken.yml", "on: workflow_dispatch\non: push\n")
    write("off.yml", "on: workflow_dispatch\n")
    write("odd name.yml", "on: workflow_dispatch\n")
    world.repositories[REPO].disabled.add(".github/workflows/off.yml")
    seen = preview(f"https://github.com/{REPO}.git")
    assert {one.file: one.why for one in seen.found if one.state == State.LEFT_OUT} == {
        "broken.yml": "broken.yml is no valid YAML in line 2: 'on' is there twice",
        "heard.yml": "it has no `on: workflow_dispatch`",
        "off.yml": "somebody disabled it (disabled_manually); enable it on its Actions page",
        "odd name.yml": "its file's name can't be written in a spell: only letters, digits, dots, dashes and _",
    }
    result = apply(seen, ["deploy.yml"], by=BY, account=Account.objects.create(name="shop"))
    assert (result.created, result.changed) == (("deploy",), ())
    spell = Spell.objects.get()
    target: Any = WorkflowTarget.of(spell)
    assert (spell.name, str(spell.account), spell.price_cents, spell.active) == ("Deploy", "shop", 0, True)
    assert (target.repository, target.workflow_file, target.ref, target.installation_id, target.input_mapping) == (
        *(REPO, "deploy.yml", "main", 77),
        "native",
    )
    assert spell.input_schema["properties"]["to"] == {"type": "string", "enum": ["staging", "production"]}
    assert target.declared_inputs["version"] == {"type": "string", "required": False}
    entry: Any = AuditEntry.objects.get(action="spells.import")
    assert (entry.actor, entry.after["created"]) == ("test", ["deploy"])


def test_a_token_imports_as_well_and_names_no_installation(by_hand, monkeypatch, write):
    monkeypatch.setattr(asking, "github", lambda: by_hand)
    write("deploy.yml", DEPLOY)
    assert WorkflowTarget.of(imported("deploy.yml")).installation_id is None


def test_importing_again_changes_nothing_then_what_the_file_changed_and_never_what_a_person_set(write):
    write("deploy.yml", DEPLOY)
    spell = imported("deploy.yml")
    assert apply(preview(REPO, files=["deploy.yml"]), by=BY).unchanged == ("deploy",)
    Spell.objects.update(price_cents=7, max_running=2, name="Ours", active=False)
    write("deploy.yml", DEPLOY.replace("Deploy", "Ship").replace("version: {}", "version: {default: 1.0}"))
    seen = preview(REPO, files=["deploy.yml"])
    assert one(seen).state == State.CHANGED
    assert [(change.part, change.kept) for change in one(seen).changes] == [
        ("name", True),
        ("input version: default", False),
    ]
    assert apply(seen, by=BY).changed == ("deploy",)
    spell.refresh_from_db()
    version: Any = spell.versions.first()
    assert (version.by, version.source) == ("test", f"import {REPO}/.github/workflows/deploy.yml@main")
    assert (spell.version, version.definition["price_cents"]) == (2, 7)
    assert (spell.price_cents, spell.max_running, spell.name, spell.active) == (7, 2, "Ours", False)
    assert spell.input_schema["properties"]["version"] == {"type": "string", "default": "1"}
    assert one(preview(REPO, files=["deploy.yml"])).changes == ()


def test_a_spell_by_hand_is_found_by_its_workflow_whatever_its_key(write):
    write("deploy.yml", DEPLOY)
    spell = Spell.objects.create(key="ship-it", name="Mine")
    WorkflowTarget.objects.create(spell=spell, repository=REPO.upper(), workflow_file="deploy.yml", ref="main")
    assert (one(preview(REPO)).key, one(preview(REPO)).state) == ("ship-it", State.CHANGED)
    assert one(preview(REPO, "v1", files=["old.yml"]), "old.yml").state == State.LEFT_OUT


def test_a_spell_that_its_repository_defines_is_left_alone(write):
    write("deploy.yml", DEPLOY)
    spell = imported("deploy.yml")
    installation = Installation.objects.get_or_create(pk=1)[0]
    row = SpellRepository.objects.create(number=5, installation=installation, name="octo-org/spells")
    WorkflowTarget.objects.filter(spell=spell).update(defined_in=row)
    write("deploy.yml", DEPLOY.replace("required: true", "required: false"))
    found = one(preview(REPO, files=["deploy.yml"]))
    assert (found.state, found.usable) == (State.LEFT_OUT, False)
    assert "is kept in the repository octo-org/spells" in found.why


def test_a_key_that_is_taken_asks_for_a_choice_and_nothing_is_made(write):
    write("deploy.yml", DEPLOY)
    write("other.yml", DEPLOY)
    spell = Spell.objects.create(key="deploy", name="Other")
    WorkflowTarget.objects.create(spell=spell, repository="demo/other", workflow_file="x.yml")
    seen = preview(REPO, files=["deploy.yml", "other.yml"])
    assert one(seen).why == "the key deploy is taken by a spell of x.yml in demo/other at main"
    with pytest.raises(ImportFailed, match=r"^deploy\.yml: the key deploy is taken"):
        apply(seen, by=BY)
    assert Spell.objects.count() == 1
    keys = {"deploy.yml": "ship"}
    assert apply(seen, by=BY, keys=keys).created == ("ship", "other")
    assert one(preview(REPO, keys={"deploy.yml": "other"})).state == State.UNCLEAR
    assert one(preview(REPO, files=["deploy.yml"])).key == "ship"


@pytest.mark.parametrize("key", ["With Space", "UPPER", "x" * 65, "é"])
def test_a_key_that_can_not_be_is_refused(write, key):
    write("deploy.yml", DEPLOY)
    with pytest.raises(ImportFailed, match=r"^deploy\.yml: key: "):
        apply(preview(REPO, files=["deploy.yml"]), by=BY, keys={"deploy.yml": key})
    assert not Spell.objects.exists()


def test_several_spells_of_one_workflow_ask_which_is_meant(write):
    write("deploy.yml", DEPLOY)
    for key in ("blue", "green"):
        spell = Spell.objects.create(key=key, name=key)
        WorkflowTarget.objects.create(spell=spell, repository=REPO, workflow_file="deploy.yml", ref="main")
    assert "several spells are of this workflow: blue, green" in one(preview(REPO)).why
    assert one(preview(REPO, keys={"deploy.yml": "green"})).spell.key == "green"
    assert one(preview(REPO, keys={"deploy.yml": "red"})).state == State.NEW


@pytest.mark.parametrize(
    ("repository", "how", "said"),
    [
        ("nonsense", {}, "write owner/name"),
        ("demo/nowhere", {}, f"The App is not installed on demo/nowhere.*on: demo. There it opens .*{REPO}.*Compare"),
        ("nobody/nowhere", {}, "It is installed on: demo. Compare"),
        (REPO, {"ref": "nowhere"}, "no branch or tag 'nowhere'"),
        (REPO, {"ref": "a" * 40}, "is a commit"),
        (REPO, {"files": ["none.yml"]}, "has no workflow none.yml that GitHub knows of. It has: good.yml, heard.yml"),
    ],
)
def test_what_can_not_be_found_is_said(repository, how, said):
    with pytest.raises(ImportFailed, match=said):
        preview(repository, **how)


def test_without_contents_it_says_how_to_allow_it(world):
    world.config.permissions = {"actions": "write", "metadata": "read"}
    with pytest.raises(ImportFailed, match="Contents: read-only"):
        preview(REPO)


def test_github_failing_in_the_middle_imports_nothing(monkeypatch, write):
    write("deploy.yml", DEPLOY)

    def text(self: Repository, file: str, *, ref: str = "") -> str:
        if file == "good.yml":
            raise errors.Unavailable("GitHub answered 502", status=502)
        return DEPLOY

    monkeypatch.setattr(Repository, "workflow_text", text)
    with pytest.raises(ImportFailed, match=r"502\. Try again"):
        preview(REPO)


def shows(world: World, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Have GitHub say something else of the repository."""
    as_it_is = world.render.repository
    monkeypatch.setattr(world.render, "repository", lambda *given: as_it_is(*given) | facts)


def test_an_archived_repository_is_refused(world, monkeypatch):
    shows(world, monkeypatch, archived=True)
    with pytest.raises(ImportFailed, match="is archived: nothing can be started there"):
        preview(REPO)


def test_a_suspended_installation_is_refused(world, monkeypatch):
    as_it_is = world.render.installation
    suspended = {"suspended_at": "2026-01-01T00:00:00Z"}
    monkeypatch.setattr(world.render, "installation", lambda *given, **how: as_it_is(*given, **how) | suspended)
    with pytest.raises(ImportFailed, match="is suspended since 2026-01-01T00:00:00Z: its owner presses"):
        preview(REPO)


def test_a_renamed_repository_is_told_and_its_new_name_is_used(world, by_hand, monkeypatch, write):
    monkeypatch.setattr(asking, "github", lambda: by_hand)  # an App is not even given a token for the old name
    shows(world, monkeypatch, full_name="demo/renamed")
    monkeypatch.setitem(world.repositories, "demo/renamed", world.repositories[REPO])
    spell = Spell.objects.create(key="good", name="Mine")
    WorkflowTarget.objects.create(spell=spell, repository=REPO, workflow_file="good.yml", ref="main")
    seen = preview(REPO)
    assert seen.source.repository == "demo/renamed"
    assert f"{REPO} is called demo/renamed now" in seen.source.notes[0]
    assert any("called demo/renamed now" in note for note in one(seen, "good.yml").notes)


def test_hundreds_of_workflows_are_read_up_to_a_limit(write):
    for number in range(120):
        write(f"w{number:03}.yml", "on: workflow_dispatch\n")
    seen = preview(REPO, most=5)
    assert len(seen.found) == 5
    assert "It has 123 workflows" in seen.source.notes[0]
    assert len(preview(REPO, files=[f"w{number:03}.yml" for number in range(110)]).found) == 110


HOSTILE = """
name: "<script>alert(1)</script>\\n\\e[31mred\\u202e"
on:
  workflow_dispatch:
    inputs:
      "a\\nb<i>": {description: "x\\ny", type: "<b>"}
      "": {}
      ".": {default: [1]}
      must: {required: true, type: choice, options: ["a'\\x9b31m\\u202e"]}
"""


def test_hostile_names_are_only_text(write, capsys):
    write("deploy.yml", HOSTILE)
    spell = imported("deploy.yml")
    assert spell.name == "<script>alert(1)</script> [31mred"
    assert "\n" not in spell.name
    call_command("importspells", REPO, "--dry-run")
    shown = capsys.readouterr().out
    Spell.objects.all().delete()
    call_command("importspells", REPO, "--workflow", "deploy.yml")  # says how to cast it
    shown += capsys.readouterr().out
    assert "curl" in shown
    for sign in ("\x1b", "\x9b", "\u202e"):
        assert sign not in shown


# --- the command ---------------------------------------------------------------------------------------------------


def test_command_imports_writes_and_says_what_next(write, capsys, tmp_path):
    write("deploy.yml", DEPLOY)
    Account.objects.create(name="shop")
    file = tmp_path / "spells.toml"
    call_command("importspells", REPO, "--workflow", "deploy.yml", "--account", "shop", "--write", str(file))
    shown = capsys.readouterr().out
    assert "deploy.yml  deploy  new  to*, version" in shown
    assert "created: deploy; changed: none" in shown
    assert """-d '{"spell_key": "deploy", "input": {"to": "staging"}}'""" in shown
    call_command("importspells", REPO, "--workflow", "deploy.yml", "--write", str(file))  # its own file
    assert "deploy.yml  deploy  unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--account", "nobody"], "no account 'nobody'"),
        (["--key", "deploy.yml"], "write FILE=KEY"),
        (["--workflow", "deploy.yml", "--key", "deploy.yml=taken"], "--key FILE=KEY, with --prefix"),
        (["--workflow", "deploy.yml", "--write", "/nowhere/x"], "No such file"),
        (["--workflow", "deploy.yml", "--write", __file__], "name another file"),
        (["--ref", "nowhere"], "Nothing was imported"),
    ],
)
def test_command_refuses_what_can_not_be(write, options, said):
    write("deploy.yml", DEPLOY)
    Spell.objects.create(key="taken", name="x")
    with pytest.raises(CommandError, match=said):
        call_command("importspells", REPO, *options)
    assert Spell.objects.count() == 1


def test_written_file_loads_as_the_same_spells(write, tmp_path):
    for path in WORKFLOWS.iterdir():
        write(path.name, path.read_text(encoding="utf-8"))
    write("quotes.yml", "on: {workflow_dispatch: {inputs: {x: {default: \"'''\\x7f\\\"\\\\\", description: 'é'}}}}\n")
    file = tmp_path / "spells.toml"
    call_command("importspells", REPO, "--write", str(file), "--dry-run")
    assert not Spell.objects.exists()
    toml.load(file)
    loaded = shown()
    Spell.objects.all().delete()
    call_command("importspells", REPO)
    assert len(loaded) == 13
    assert shown() == loaded


def shown() -> list[tuple[Any, ...]]:
    """Return all that can be written of the spells that there are."""
    spells = Spell.objects.order_by("key").select_related("workflowtarget")
    fields = fields_of(WorkflowTarget)
    own = WorkflowTarget.names()
    return [
        (spell.key, *(getattr(WorkflowTarget.of(spell) if name in own else spell, name) for name in fields))
        for spell in spells
    ]


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_make_each_spell_once(write):
    write("deploy.yml", DEPLOY)
    seen = preview(REPO, files=["deploy.yml"])
    together = threading.Barrier(2)
    ended: list[Any] = []

    def run() -> None:
        together.wait()
        try:
            ended.append(apply(seen, by=BY))
        except ImportFailed as exc:
            ended.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Spell.objects.count() == WorkflowTarget.objects.count() == 1
    assert len([one for one in ended if not isinstance(one, Exception) and one.created]) == 1, ended
