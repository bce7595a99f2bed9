"""Spell files at the head of a repository become its spells: all of them, or none."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from accounts.models import Account
from casts.models import Spell
from casts.spells import toml
from core import limits
from github_integration.models import Installation, SpellRepository, WorkflowTarget
from github_integration.spell_files import applying

from .conftest import INSTALLATION, Hub, deliver, skip_waits, the_spell, work

pytestmark = pytest.mark.django_db
State = SpellRepository.State
PLAIN = '[deploy]\nworkflow_file = "deploy.yml"\n'


def test_a_push_makes_spells_of_what_the_files_and_their_workflows_say(hub: Hub, account: Account) -> None:
    commit = hub.push(spells_toml=PLAIN)
    work()
    row = hub.row()
    assert (row.state, row.commit, row.applied_commit, row.problems) == (State.APPLIED, commit, commit, [])
    spell = the_spell()
    target = WorkflowTarget.of(spell)
    assert (spell.name, spell.price_cents, spell.account, spell.active) == ("Deploy", 3, account, True)
    assert spell.input_schema["properties"]["where"]["enum"] == ["staging", "production"]
    assert (target.repository, target.installation_id, target.ref) == ("octo-org/spells", INSTALLATION, "main")
    assert (target.input_mapping, target.defined_in) == ("native", row)
    assert target.declared_inputs is not None
    [check] = hub.checks()
    assert (check["sha"], check["conclusion"], check["name"]) == (commit, "success", "Spell Platform")
    assert check["title"] == "1 spell applied: 1 new"
    assert row.reported == "check_run"
    assert row.check_run == check["id"]


def test_a_push_that_breaks_a_file_changes_nothing_and_says_why_with_lines(hub: Hub) -> None:
    good = hub.push(spells_toml=PLAIN, spells__more_toml='[second]\nworkflow_file = "deploy.yml"\nname = "Second"\n')
    work()
    bad = hub.push(
        spells_toml='[deploy]\nworkflow_file = "deploy.yml"\nname = "Other"\n\n[third]\nworkflow_file = "none.yml"\n'
        'timeout_seconds = 0\nprice_cents = 5\nactiv = true\nrepository = "a/b"\n',
        spells__more_toml="[second]\nname = \n",
    )
    work()
    row = hub.row()
    assert (row.state, row.commit, row.applied_commit) == (State.REFUSED, bad, good)
    assert the_spell().name == "Deploy"
    assert list(Spell.objects.values_list("key", "active")) == [("deploy", True), ("second", True)]
    [check] = [one for one in hub.checks() if one["sha"] == bad]
    assert check["conclusion"] == "failure"
    told = {(one["path"], one["start_line"]): one["message"] for one in check["annotations"]}
    first, more = ".github/spells.toml", ".github/spells/more.toml"
    assert set(told) == {(first, 6), (first, 8), (first, 9), (first, 10), (more, 2)}
    assert "no 'none.yml' at this commit" in told[first, 6]
    assert "the operator of this service sets prices" in told[first, 8]
    assert "Is active meant" not in told[first, 9]
    assert "runs in the repository whose files define it" in told[first, 10]
    assert "This is no TOML" in told[more, 2]
    assert [(one["file"], one["line"]) for one in row.problems] == sorted(told)


MISTAKES = {
    # What a spell's own rules say, at the line of its field.
    '[a]\nworkflow_file = "deploy.yml"\n\ntimeout_seconds = 0': (4, "timeout_seconds", "1"),
    '[a]\nworkflow_file = "deploy.yml"\n[a.input_schema]\ntype = "strnig"': (3, "input_schema", "2020-12"),
    '[a]\nworkflow_file = "deploy.yml"\ninput_schema = "no.json"': (3, "no.json", "there is no such file"),
    '[a]\nworkflow_file = "deploy.yml"\ninput_schema = "../../x"': (3, "leads out of the repository"),
    '[a]\nworkflow_file = "deploy.yml"\ninput_schema = "../.."': (3, "leads out of the repository"),
    '[a]\nworkflow_file = "deploy.yml"\ninput_schema = "/etc/passwd"': (3, "leads out of the repository"),
    '[a]\nworkflow_file = "deploy.yml"\nname = 5': (3, "Write text in quotes"),
    '[A]\nworkflow_file = "deploy.yml"': (1, "lower-case"),
    '[a]\nworkflow_file = "deploy.yml"\nruntime = "wasm"': (3, "one of workflow_dispatch"),
    # What files in a repository may not say.
    '[a]\naccount = "x"\nworkflow_file = "deploy.yml"': (2, "the operator says whose"),
    '[a]\nactive = false\nworkflow_file = "deploy.yml"': (2, "one that is taken out is not"),
    '[a]\ninstallation_id = 1\nworkflow_file = "deploy.yml"': (2, "leave it out"),
    '[a]\nworkflow_file = "deploy.yml"\nworkflow_fil = "x"': (3, "Is workflow_file meant?"),
    # The workflow.
    "[a]\nname = 'x'": (1, "name the spell's workflow"),
    '[a]\nworkflow_file = 5': (2, "Write text in quotes"),
    '[a]\nworkflow_file = 0x' + "F" * 5000: (2, "Write text in quotes"),
    '[a]\nworkflow_file = "../x.yml"': (2, "at this commit"),
    '[a]\nworkflow_file = "deplo.yml"': (2, "there is deploy.yml"),
    # The file.
    "a = 1": (1, "is not a table"),
    "[a]\n\n[a]": (3, "no TOML"),
    "\ufeff[a]\nx = \"\"\"\n": (2, "no TOML"),
    "a" + ".a" * 100 + " = 1": (1, "more than 32 parts, in line 1"),
    "a = " + "[" * 5000 + "]" * 5000: (1, "nested too deeply"),
}  # fmt: skip


def test_each_mistake_has_its_line(hub: Hub) -> None:
    for text, (line, *words) in MISTAKES.items():
        hub.push(spells_toml=text)
        work()
        row = hub.row()
        assert row.state == State.REFUSED, text
        told = [one["message"] for one in row.problems if one["line"] == line]
        assert any(all(word in one for word in words) for one in told), (text, row.problems)
    assert not Spell.objects.exists()


def test_files_are_read_up_to_a_size_together(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SPELL_FILES_BYTES", 30)
    hub.push(spells_toml=PLAIN)
    work()
    told = "This workflow, which a spell names, can't be read: together the files have more than 30 bytes."
    assert [problem["message"] for problem in hub.row().problems] == [told]


def test_what_a_file_says_is_told_in_bounds_and_without_what_disturbs(hub: Hub) -> None:
    wrong = "".join(f'"{number}\\u001b{"x" * 2000}" = 1\n' for number in range(100))
    hub.push(spells_toml=wrong)
    work()
    assert hub.row().reported == "check_run"
    [check] = hub.checks()
    assert len(check["summary"]) < 65_535  # GitHub's limit
    told = [one["message"] for one in check["annotations"]]
    assert len(told) == 100
    assert all(len(one) <= 500 and one.isprintable() for one in told)


WORKFLOWS = {
    "on: push\njobs: {}\n": (1, "no `on: workflow_dispatch`"),
    "name: x\n\non: [push]\n": (3, "no `on: workflow_dispatch`"),
    "name: x\n\non: [push\n": (3, "no valid YAML"),
    "- 1\n": (1, "no workflow"),
}


def test_mistakes_of_a_workflow_name_its_file(hub: Hub) -> None:
    for text, (line, words) in WORKFLOWS.items():
        hub.push(spells_toml=PLAIN, workflows__deploy_yml=text)
        work()
        [problem] = hub.row().problems
        assert problem["file"] == ".github/workflows/deploy.yml", text
        assert words in problem["message"], text
        assert abs(problem["line"] - line) <= 1, (text, problem)


def test_the_files_are_all_there_is_to_a_spell(hub: Hub) -> None:
    hub.push(
        spells_toml=PLAIN + 'description = "Long"\nmax_running = 2\nref = "other"\nshow_run = false\n'
        'input_schema = "schemas/in.json"\ninput_mapping = "native"\n',
        schemas__in_json='{"type": "object", "properties": {"where": {"type": "string"}}}',
    )
    work()
    spell = the_spell()
    assert (spell.description, spell.max_running, WorkflowTarget.of(spell).ref) == ("Long", 2, "other")
    assert spell.input_schema == {"type": "object", "properties": {"where": {"type": "string"}}}
    Spell.objects.update(price_cents=50, charge_failed_runs=False)  # the operator's
    hub.push(spells_toml=PLAIN)
    work()
    spell = the_spell()
    assert (spell.description, spell.max_running, WorkflowTarget.of(spell).ref) == ("", None, "main")
    assert "required" in spell.input_schema
    assert (spell.price_cents, spell.charge_failed_runs, spell.show_run) == (50, False, True)
    assert (
        "**Changed**: `deploy` (description, ref, input_schema, show_run, max_running)" in hub.checks()[-1]["summary"]
    )


def test_operators_choose_whether_prices_and_limits_come_from_files(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN + "price_cents = 9\nmax_running = 2\n")
    work()
    assert hub.row().state == State.REFUSED
    choices = Installation.objects.get(pk=INSTALLATION)
    choices.prices_from_repository, choices.limits_from_repository = True, False
    choices.save()
    hub.push()
    work()
    [problem] = hub.row().problems
    assert (problem["line"], "sets limits" in problem["message"]) == (4, True)
    hub.push(spells_toml=PLAIN + "price_cents = 9\n")
    work()
    assert the_spell().price_cents == 9
    hub.push(spells_toml=PLAIN + "price = { per_minute_cents = 5, max_cents = 100 }\n")
    work()
    assert (the_spell().price_kind, the_spell().per_minute_cents, the_spell().price_cents) == ("per_minute", 5, 100)
    kept = WorkflowTarget.of(the_spell()).kept_fields()
    assert {"price_kind", "per_minute_cents", "price_cents"} <= set(kept)
    hub.push(spells_toml=PLAIN)  # without a price it costs what new ones do
    work()
    assert (the_spell().price_kind, the_spell().per_minute_cents, the_spell().price_cents) == ("flat", None, 3)
    hub.push(spells_toml=PLAIN + "price = { per_minute_cents = 5, max_cents = 1 }\n")
    work()
    [problem] = hub.row().problems
    assert (problem["line"], "more than the maximum" in problem["message"]) == (3, True)
    choices.prices_from_repository = False
    choices.save()
    hub.push(spells_toml=PLAIN + "price = { per_minute_cents = 5, max_cents = 100 }\n")
    work()
    [problem] = [one for one in hub.row().problems if "price" in one["message"]]
    assert (problem["line"], "sets prices" in problem["message"]) == (3, True)


def test_taken_out_it_is_deactivated_and_put_back_it_is_active_again(hub: Hub) -> None:
    both = PLAIN + '[second]\nworkflow_file = "deploy.yml"\n'
    hub.push(spells_toml=both)
    work()
    Spell.objects.filter(key="second").update(active=False)  # by an operator, who has a reason
    hub.push(spells_toml=both + "name = 'x'\n")
    work()
    assert not the_spell("second").active
    hub.push(spells_toml=None)
    work()
    assert (hub.row().state, the_spell().active) == (State.NOTHING, False)
    assert "**No longer active**: `deploy`." in hub.checks()[-1]["summary"]
    told = len(hub.checks())
    hub.push()  # about no files nothing is told
    work()
    assert len(hub.checks()) == told
    hub.push(spells_toml=both)
    work()
    assert (the_spell().active, the_spell("second").active) == (True, False)


def test_a_key_that_is_somebody_elses_is_never_taken_over(hub: Hub, other: Hub, make_spell: object) -> None:
    Spell.objects.create(key="by-hand", name="Secret name of others")
    hub.push(spells_toml=PLAIN)
    work()
    other.push(spells_toml=PLAIN + '[by-hand]\nworkflow_file = "deploy.yml"\n[new]\nworkflow_file = "deploy.yml"\n')
    work()
    row = other.row()
    assert (row.state, [one["line"] for one in row.problems]) == (State.REFUSED, [1, 3])
    assert WorkflowTarget.of(the_spell()).defined_in == hub.row()
    assert not Spell.objects.filter(key="new").exists()
    told = str([one for one in hub.checks() if one["repository"] == other.name])
    assert "this key is taken" in told
    assert "Secret name" not in told
    assert "octo-org/spells" not in told


def test_without_an_owner_nothing_is_applied_until_there_is_one(hub: Hub, account: Account) -> None:
    Installation.objects.update(account=None)
    commit = hub.push(spells_toml=PLAIN)
    work()
    assert (hub.row().state, Spell.objects.count()) == (State.WAITING, 0)
    assert hub.checks()[-1]["conclusion"] == "neutral"
    assert "operator of the Spell Platform must first choose" in hub.checks()[-1]["title"]
    Installation.objects.update(account=account)
    deliver("push", hub.told())
    work()
    assert (hub.row().state, hub.row().applied_commit) == (State.APPLIED, commit)
    assert [one["conclusion"] for one in hub.checks()] == ["neutral", "success"]
    new = Account.objects.create(name="Others")
    Installation.objects.update(account=new)
    deliver("push", hub.told())
    work()
    assert the_spell().account == new


def test_the_head_is_what_counts_in_whatever_order_pushes_come(hub: Hub) -> None:
    hub.commit(spells_toml=PLAIN + 'name = "One"\n')
    one = hub.told()
    hub.commit(spells_toml=PLAIN + 'name = "Two"\n')
    two = hub.told()
    for body in (two, one):
        deliver("push", body)
        work()
        assert the_spell().name == "Two"
    hub.git("reset", "-q", "--hard", "HEAD~1")  # and forced
    deliver("push", hub.told())
    work()
    assert the_spell().name == "One"
    assert hub.row().named_commit == ""


def test_a_head_that_is_behind_its_push_is_looked_at_again_some_times(hub: Hub) -> None:
    hub.push(spells_toml=PLAIN)
    work()
    body = hub.told() | {"after": "f" * 40}  # no server shows it yet
    body["repository"]["pushed_at"] += 5
    deliver("push", body)
    work()
    looks = 0
    while hub.row().due_at is not None:
        skip_waits()
        looks += work()
        assert looks < 20
    assert looks == 5
    assert (hub.row().named_commit, hub.row().state) == ("", State.APPLIED)


def test_pushes_to_other_branches_are_not_kept(hub: Hub) -> None:
    from webhooks.models import Delivery

    hub.push(spells_toml=PLAIN)
    hub.git("branch", "other")
    deliver("push", hub.told(branch="other"))
    assert Delivery.objects.filter(event="push").count() == 1


def test_two_hundred_spells_cost_as_many_requests_as_files_have_changed(hub: Hub) -> None:
    files: dict[str, str | None] = {
        f".github/spells/{number}.toml": f'[spell-{number}a]\nworkflow_file = "deploy.yml"\nname = "x"\n'
        f'[spell-{number}b]\nworkflow_file = "deploy.yml"\n'
        f'[spell-{number}c]\nworkflow_file = "deploy.yml"\n[spell-{number}d]\nworkflow_file = "deploy.yml"\n'
        for number in range(50)
    }
    hub.commit_files(files)
    deliver("push", hub.told())
    work()
    assert Spell.objects.filter(active=True).count() == 200
    hub.commit_files({".github/spells/7.toml": '[spell-7a]\nworkflow_file = "deploy.yml"\nname = "y"\n'})
    deliver("push", hub.told())
    work()
    assert Spell.objects.filter(active=True).count() == 197
    assert "1 changed, 3 no longer active" in hub.checks()[-1]["title"]
    hub.commit_files({".github/spells/50.toml": "", ".github/spells/huge.toml": "# " + "x" * 300_000})
    deliver("push", hub.told())
    work()
    assert "52 files define spells here; 50" in hub.row().problems[0]["message"]
    hub.commit_files({f".github/spells/{number}.toml": None for number in range(1, 51)})
    deliver("push", hub.told())
    work()
    assert "262,144 are read at most" in hub.row().problems[0]["message"]


def test_spells_are_checked_before_the_transaction_that_all_writers_wait_for(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    checked = toml.mistakes

    def noted(*given: Any) -> Any:
        depths.append(len(connection.savepoint_ids))
        return checked(*given)

    monkeypatch.setattr(toml, "mistakes", noted)
    outside = len(connection.savepoint_ids)
    hub.push(spells_toml=PLAIN, spells__more_toml='[second]\nworkflow_file = "deploy.yml"\n')
    work()
    assert hub.row().state == State.APPLIED
    assert depths == [outside, outside]


def test_a_worker_that_was_given_up_applies_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = applying.check

    def taken_over(row: SpellRepository, *given: Any) -> None:
        SpellRepository.objects.filter(pk=row.pk).update(claim_number=F("claim_number") + 1)
        checked(row, *given)

    monkeypatch.setattr(applying, "check", taken_over)
    hub.push(spells_toml=PLAIN)
    work()
    assert not Spell.objects.exists()
    assert hub.row().applied_commit == ""
