"""A spell's workflow on GitHub, and what its file says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casts.models import Spell
from github_integration import errors
from github_integration.api import GitHub
from github_integration.doctor import workflow_file, workflows
from github_integration.doctor.findings import About, Finding, Level
from github_integration.doctor.once import asking_once
from github_integration.workflow_files import reading
from localgithub.clock import now
from localgithub.world import World
from tests.github_integration.doubles import REPO

from .conftest import GOOD, HEARD, all_ok, event, is_bad, make, one

WORKFLOWS = ".github/workflows"
SAMPLE = Path(__file__).parents[3] / WORKFLOWS / "spell-execution-example.yml"
Write = Callable[[str, str], str]


def check(hub: GitHub, spell: Spell | None = None, **fields: Any) -> list[Finding]:
    return list(workflows.check(hub, spell or make(**fields)))


def shows(world: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """Have GitHub show every workflow in this state."""
    as_it_is = world.render.workflow
    monkeypatch.setattr(world.render, "workflow", lambda *given: as_it_is(*given) | {"state": state})


def test_sound_spells_have_nothing_to_say(hub):
    assert all_ok(check(hub)) == ["repository", "workflow", "trigger", "inputs", "run-name", "concurrency"]
    assert all_ok(check(hub, event())) == ["repository", "trigger", "run-name", "concurrency"]
    by_name = event(workflow_file="heard.yml")
    assert all_ok(check(hub, by_name)) == ["repository", "workflow", "trigger", "run-name", "concurrency"]


def test_sample_is_sound_both_ways(hub, write: Write):
    name = write("sample.yml", SAMPLE.read_text())
    assert "run-name" in all_ok(check(hub, workflow_file=name))
    assert "run-name" in all_ok(check(hub, event(event_type="cast-spell")))


def test_personal_token_reads_workflows_too(by_hand):
    assert "inputs" in all_ok(check(by_hand))


def test_inactive_spell_is_said_and_checked_all_the_same(hub):
    found = check(hub, active=False)
    is_bad(one(found, "active"), Level.WARNING, hint="`active`")
    assert one(found, "run-name").level == Level.OK


# --- the workflow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [make(workflow_file="none.yml"), event(workflow_file="none.yml")])
def test_workflow_that_github_does_not_know_is_a_problem(hub, spell):
    found = check(hub, spell)
    is_bad(one(found, "workflow"), Level.PROBLEM, "no workflow none.yml", hint="none.yml to main, its default branch")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("disabled_inactivity", "60 days"),
        ("disabled_manually", "Somebody disabled it"),
        ("disabled_fork", "a fork"),
        ("deleted", "deleted"),
        ("disabled_for_a_new_reason", "disabled_for_a_new_reason"),
    ],
)
def test_workflow_that_is_not_active_is_a_problem(hub, world, monkeypatch, state, said):
    shows(world, monkeypatch, state)
    for spell in (make(), event(), event(workflow_file="heard.yml")):
        finding = next(f for f in check(hub, spell) if f.check == "workflow")
        is_bad(finding, Level.PROBLEM, said, f"({state})", hint=f"{REPO}/actions → ")
        assert "Enable workflow" in finding.hint


def test_workflow_that_was_switched_off_is_noticed(hub, by_hand, world):
    world.repositories[REPO].disabled.add(f"{WORKFLOWS}/good.yml")
    is_bad(one(check(hub), "workflow"), Level.PROBLEM, "disabled_manually", hint="Enable workflow")


def test_suspended_installation_is_githubs_answer_for_the_spell(hub, world: World, monkeypatch):
    monkeypatch.setattr(world.auth, "suspended_at", now())
    monkeypatch.setattr(world.render, "installation", lambda **_: {"id": 77})
    is_bad(one(check(hub), "GitHub's answer"), Level.PROBLEM, "suspended", hint="the problems above")


def test_outage_ends_the_examination(hub, world):
    world.faults.api |= {"primary_exhausted": True}
    with pytest.raises(errors.RateLimited):
        check(hub)


# --- the file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spell", [make(), event(), event(workflow_file="heard.yml")])
def test_without_contents_the_file_is_left_out_and_it_says_how_to_allow_it(hub, by_hand, world, spell):
    world.config.permissions = {"actions": "write", "metadata": "read"}
    finding = one(check(hub, spell), "file")
    is_bad(finding, Level.WARNING, "inputs, run-name", hint="Contents: read-only; then accept it")
    assert not {"trigger", "inputs", "run-name", "concurrency"} & {f.check for f in check(hub, spell)}


def test_token_without_contents_leaves_the_file_out_too(by_hand, world):
    world.auth._tokens[by_hand.personal_token].permissions = {"actions": "write", "metadata": "read"}
    try:
        is_bad(one(check(by_hand), "file"), Level.WARNING, hint="The token's settings")
    finally:
        world.auth._tokens[by_hand.personal_token].permissions = world.config.permissions


@pytest.mark.parametrize(("ref", "said"), [("nowhere", "No commit found for the ref nowhere"), ("v1", "Not Found")])
def test_file_that_is_not_at_the_ref_is_a_problem(hub, ref, said):
    finding = one(check(hub, ref=ref), "file")
    is_bad(finding, Level.PROBLEM, f"at {ref}", said, hint="GITHUB_WORKFLOW_REF. The default branch is main")


def test_file_is_read_at_the_spells_ref(hub):
    assert all_ok(check(hub, workflow_file="old.yml", ref="main"))
    is_bad(one(check(hub, workflow_file="old.yml", ref="v1"), "trigger"), Level.PROBLEM, "at v1", hint="inputs cast_id")


def test_event_spells_file_is_read_on_the_default_branch_whatever_its_ref(hub):
    assert all_ok(check(hub, event(ref="nowhere")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on: [workflow_dispatch\njobs:\n", "no valid YAML in line 2"),
        ("just text", "no workflow"),
        ("", "no workflow"),
        ("on: {push: 1, push: 2}", "'push' is there twice"),
        ("on: \x01", "no valid YAML"),
    ],
)
def test_file_that_is_no_yaml_is_a_problem(hub, write: Write, text, said):
    is_bad(one(check(hub, workflow_file=write("bad.yml", text)), "file"), Level.PROBLEM, said, hint="bad.yml on main")


# --- workflow_dispatch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["on: push", "on: [push, pull_request]", "on: {push: {}}", "name: none"])
def test_file_without_trigger_is_a_problem(hub, write: Write, on):
    found = check(hub, workflow_file=write("pushed.yml", f"{on}\njobs: {{}}\n"))
    is_bad(one(found, "trigger"), Level.PROBLEM, "no `on: workflow_dispatch`", hint="cast_id, spell_key, input_data")
    assert found[-1].check == "trigger"


@pytest.mark.parametrize("on", ["on: workflow_dispatch", "on: [push, workflow_dispatch]", "on: {workflow_dispatch: }"])
def test_trigger_without_inputs_is_a_problem(hub, write: Write, on):
    found = check(hub, workflow_file=write("bare.yml", f"{on}\njobs: {{}}\n"))
    assert one(found, "trigger").level == Level.OK
    is_bad(one(found, "inputs"), Level.PROBLEM, "cast_id, spell_key, input_data", hint="`type: string`")


@pytest.mark.parametrize("name", ["cast_id", "spell_key", "input_data"])
def test_each_undeclared_input_is_named(hub, write: Write, name):
    text = GOOD.replace(f"      {name}: {{type: string, required: true}}\n", "")
    finding = one(check(hub, workflow_file=write("less.yml", text)), "inputs")
    is_bad(finding, Level.PROBLEM, f"does not declare {name}, and", hint=f"declare {name}, each")


def with_input(line: str) -> str:
    return GOOD.replace("    inputs:\n", f"    inputs:\n      {line}\n")


def test_other_required_input_without_default_is_a_problem(hub, write: Write):
    found = check(hub, workflow_file=write("more.yml", with_input("colour: {required: true}")))
    is_bad(one(found, "input colour"), Level.PROBLEM, "no default", hint="more.yml: on.workflow_dispatch.inputs.colour")


@pytest.mark.parametrize(
    "line", ["colour: {required: true, default: red}", "colour: {required: false}", "colour: ", "colour: {default: ''}"]
)
def test_other_inputs_that_can_be_left_out_are_well(hub, write: Write, line):
    assert all_ok(check(hub, workflow_file=write("more.yml", with_input(line))))


@pytest.mark.parametrize("name", ["cast_id", "spell_key", "input_data"])
@pytest.mark.parametrize("kind", ["boolean", "number", "choice, options: [a, b]"])
def test_input_of_ours_that_would_refuse_our_text_is_a_problem(hub, write: Write, name, kind):
    text = GOOD.replace(f"{name}: {{type: string", f"{name}: {{type: {kind}")
    found = check(hub, workflow_file=write("typed.yml", text))
    is_bad(one(found, f"input {name}"), Level.PROBLEM, kind.split(",")[0], hint="`type: string`")


def test_choice_of_spell_keys_that_holds_ours_is_well(hub, write: Write):
    text = GOOD.replace("spell_key: {type: string", "spell_key: {type: choice, options: [greet, other]")
    assert all_ok(check(hub, workflow_file=write("chosen.yml", text)))


# --- repository_dispatch ---------------------------------------------------------------------------------


def test_event_for_which_nobody_listens_is_a_problem(hub):
    finding = one(check(hub, event(event_type="unheard")), "trigger")
    is_bad(finding, Level.PROBLEM, "No workflow on main listens for unheard", hint="types: [unheard]")


def test_named_file_that_does_not_listen_is_a_problem(hub):
    for spell in (event(event_type="unheard", workflow_file="heard.yml"), event(workflow_file="good.yml")):
        found = check(hub, spell)
        is_bad(one(found, "trigger"), Level.PROBLEM, "does not listen", hint="`on: repository_dispatch")
        assert found[-1].check == "trigger"


@pytest.mark.parametrize("on", ["repository_dispatch", "[repository_dispatch]", "{repository_dispatch: {types: any}}"])
def test_file_that_takes_every_type_or_just_one_listens(hub, write: Write, on):
    text = HEARD.replace("on:\n  repository_dispatch:\n    types: [heard]", f"on: {on}")
    assert all_ok(check(hub, event(event_type="any", workflow_file=write("any.yml", text))))


def test_several_listeners_are_a_warning_and_each_is_checked(hub, write: Write):
    write("second.yml", HEARD.replace("run-name", "x-run-name"))
    found = check(hub, event())
    is_bad(one(found, "trigger"), Level.WARNING, "heard.yml, second.yml all listen", hint="`workflow_file`")
    assert one(found, "run-name of heard.yml").level == Level.OK
    assert one(found, "run-name of second.yml").level == Level.PROBLEM


def test_broken_files_beside_the_listener_do_not_matter(hub, write: Write):
    write("broken.yml", "on: [repository_dispatch\n")
    assert all_ok(check(hub, event()))


# --- run-name --------------------------------------------------------------------------------------------


def named(title: str, text: str = GOOD) -> str:
    lines = [f"run-name: {title}" if line.startswith("run-name") else line for line in text.splitlines()]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "title",
    [
        '"[cast:${{ inputs.cast_id }}]"',
        '"[cast:${{inputs.cast_id}}] and more"',
        "\"[cast:${{ github.event.inputs['cast_id'] }}]\"",
        "x [cast:${{ Inputs.Cast_Id || 'none' }}]",
        '"${{ inputs.spell_key }} [cast:${{ github.event.client_payload.cast_id || inputs.cast_id }}]"',
    ],
)
def test_titles_that_carry_the_token_are_well(hub, write: Write, title):
    assert all_ok(check(hub, workflow_file=write("titled.yml", named(title))))


@pytest.mark.parametrize(
    "title",
    [
        "fixed",
        '"[cast:${{ inputs.castid }}]"',
        '"[cast:${{ inputs.cast_id_2 }}]"',
        '"[cast:${{ github.event.client_payload.cast_id }}]"',
        '"${{ inputs.spell_key }}"',
        "[a, list]",
    ],
)
def test_titles_without_token_are_a_warning_that_says_what_is_lost(hub, write: Write, title):
    finding = one(check(hub, workflow_file=write("titled.yml", named(title))), "run-name")
    is_bad(finding, Level.WARNING, "dispatch_lost", "started again safely", hint="[cast:${{ inputs.cast_id }}]")
    assert 'titled.yml: `run-name: "greet ' in finding.hint


def test_file_without_run_name_is_warned_of(hub, write: Write):
    text = GOOD.replace("run-name", "x-run-name")
    finding = one(check(hub, workflow_file=write("untitled.yml", text)), "run-name")
    is_bad(finding, Level.WARNING, "dispatch_lost", hint="run-name")


@pytest.mark.parametrize(
    "title", ["\"${{ format('[cast:{0}]', inputs.cast_id) }}\"", '"[cast: ${{ inputs.cast_id }}]"']
)
def test_titles_that_may_carry_the_token_are_a_warning_of_their_own(hub, write: Write, title):
    finding = one(check(hub, workflow_file=write("titled.yml", named(title))), "run-name")
    is_bad(finding, Level.WARNING, "can't be told", hint="[cast:${{ inputs.cast_id }}]")


@pytest.mark.parametrize("title", ["fixed", '"[cast:${{ inputs.cast_id }}]"'])
def test_event_without_token_is_a_problem_because_no_run_could_be_found(hub, write: Write, title):
    finding = one(check(hub, event(workflow_file=write("titled.yml", named(title, HEARD)))), "run-name")
    is_bad(finding, Level.PROBLEM, "dispatch_lost", hint="github.event.client_payload.cast_id")


# --- concurrency -----------------------------------------------------------------------------------------


def grouped(concurrency: str, text: str = GOOD) -> str:
    return text.replace("concurrency:\n  group: cast-${{ inputs.cast_id }}\n", f"concurrency: {concurrency}\n")


@pytest.mark.parametrize(
    ("concurrency", "said"),
    [
        ("one-at-a-time", "one waits"),
        ("{group: '${{ github.ref }}'}", "one waits"),
        ("{group: x, cancel-in-progress: false}", "one waits"),
        ("{group: x, cancel-in-progress: true}", "cancels the one that runs"),
        ("{group: x, cancel-in-progress: '${{ true }}'}", "cancels the one that runs"),
        ("{group: 'cast_id'}", "one waits"),
    ],
)
def test_group_that_casts_share_is_a_warning(hub, write: Write, concurrency, said):
    finding = one(check(hub, workflow_file=write("grouped.yml", grouped(concurrency))), "concurrency")
    is_bad(finding, Level.WARNING, said, hint="`group: cast-${{ inputs.cast_id }}`")
    assert "max_running" in finding.hint


@pytest.mark.parametrize(
    "concurrency",
    [
        "x-${{ github.run_id }}",
        "{group: 'x-${{ inputs.cast_id }}', cancel-in-progress: true}",
        "{group: x, queue: max}",
    ],
)
def test_group_of_its_own_or_a_queue_is_well(hub, write: Write, concurrency):
    assert all_ok(check(hub, workflow_file=write("grouped.yml", grouped(concurrency))))


def test_group_of_a_job_counts_as_well(hub, write: Write):
    text = GOOD.replace("{one: {", "{one: {concurrency: shared, ")
    finding = one(check(hub, workflow_file=write("job.yml", text)), "concurrency")
    is_bad(finding, Level.WARNING, "'shared' of job one", hint="a group for each cast")


def test_group_by_an_input_that_events_dont_have_is_shared(hub, write: Write):
    text = HEARD + "concurrency: cast-${{ inputs.cast_id }}\n"
    finding = one(check(hub, event(workflow_file=write("heard-too.yml", text))), "concurrency")
    is_bad(finding, Level.WARNING, "share the group", hint="client_payload.cast_id")


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("{a: {needs: biuld, runs-on: x, steps: [{run: y}]}}", "job a needs 'biuld', which is no job of it."),
        ("{a: {needs: [a], runs-on: x, steps: [{run: y}]}}", "jobs wait for each other by `needs`: a."),
        (
            "{a: {needs: b, uses: ./x}, b: {needs: [c], uses: ./x}, c: {needs: b, uses: ./x}}",
            "jobs wait for each other by `needs`: a, b, c.",
        ),
        ("{a: {steps: [{run: y}]}}", "job a has no `runs-on`."),
        ("{a: {runs-on: x}}", "job a has no `steps`."),
        ("{}", "it has no jobs."),
    ],
)
def test_jobs_that_can_not_be_are_a_problem(jobs: str, said: str):
    for text, spell in ((GOOD, make()), (HEARD, event())):
        file = reading.read("w.yml", text.split("jobs:")[0] + f"jobs: {jobs}\n")
        finding = one(list(workflow_file.of_every_kind(About("Spell s"), file, spell)), "jobs")
        is_bad(finding, Level.PROBLEM, f"GitHub starts nothing of w.yml: {said}", hint="`jobs` of w.yml")


def test_jobs_that_wait_for_others_are_well(hub, write: Write):
    jobs = "jobs: {a: {runs-on: x, steps: [{run: y}]}, b: {needs: A, uses: ./x}, c: {needs: [a, b], uses: ./x}}\n"
    assert all_ok(check(hub, workflow_file=write("waits.yml", GOOD.split("jobs:")[0] + jobs)))


def test_a_wrong_needs_in_a_file_on_github_is_told(hub, write: Write):
    name = write("needs.yml", GOOD.replace("{one: {", "{one: {needs: biuld, "))
    is_bad(one(check(hub, workflow_file=name), "jobs"), Level.PROBLEM, "needs 'biuld'", hint="needs.yml")


# --- what it costs ---------------------------------------------------------------------------------------


def test_spells_of_one_file_ask_github_once(hub, world):
    asked = asking_once(hub)
    all_ok(check(asked))
    before = world._used
    all_ok(check(asked, key="other"))
    assert world._used == before
    for _ in range(2):
        is_bad(one(check(asked, workflow_file="none.yml"), "workflow"), Level.PROBLEM, hint="none.yml")
    assert world._used == before + 1


def test_brackets_without_end_are_no_yaml():
    with pytest.raises(reading.Unreadable, match=r"deep\.yml is no valid YAML in line 1: it is nested"):
        reading.read("deep.yml", "[" * 1000)


def test_hostile_file_costs_no_memory():
    """A billion laughs: a few lines that stand for gigabytes."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join(lines) + "\nrun-name: *a11\non: {workflow_dispatch: {inputs: *a11}, x: *a11}\nconcurrency: *a11\n"
    with pytest.raises(reading.Unreadable, match="more than 50,000 values, with those that aliases stand for"):
        reading.read("laughs.yml", text)
