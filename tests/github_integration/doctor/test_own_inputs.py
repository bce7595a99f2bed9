"""Spells whose workflows are handed their own inputs: what the doctor makes of the file and the input_schema."""

from __future__ import annotations

from typing import Any

import pytest

from github_integration.doctor import own_inputs, workflow_file, workflows
from github_integration.doctor.findings import About, Finding, Level
from github_integration.workflow_files.reading import read
from github_integration.workflow_files.schema import draft_of
from tests.github_integration.doubles import REPO
from tests.spells import retarget, stored_spell

from .conftest import GOOD, HEARD, event, is_bad, make, one

FILE = """
name: Deploy
on:
  workflow_dispatch:
    inputs:
      stage: {type: choice, options: [staging, production], required: true}
      dry: {type: boolean}
      times: {type: number, default: 1}
      note: {description: free text}
jobs: {one: {runs-on: ubuntu-latest, steps: [{run: "true"}]}}
"""
TAGGED = FILE.replace("      note:", "      cast_id: {type: string}\n      note:").replace(
    "name: Deploy", 'name: Deploy\nrun-name: "deploy [cast:${{ inputs.cast_id }}]"'
)
FITS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "stage": {"type": "string", "enum": ["staging", "production"]},
        "dry": {"type": "boolean"},
        "times": {"type": ["integer", "null"]},
        "note": {"type": "string"},
    },
    "required": ["stage"],
    "additionalProperties": False,
}
NUMBERED = TAGGED.replace("cast_id: {type: string}", "cast_id: {type: number}")
MANY = FILE.replace("note:", "note:\n" + "\n".join(f"      n{n}:" for n in range(25)))
MUST = FITS | {"properties": {"cast_id": {}}, "required": ["cast_id"]}


def look(text: str = FILE, *, mapping: str = "native", schema: Any = FITS, **fields: Any) -> list[Finding]:
    spell = make(**{"input_mapping": mapping, "input_schema": schema, "name": "Deploy"} | fields)
    return list(workflow_file.by_file(About("Spell deploy"), read("deploy.yml", text), spell))


def bad(found: list[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in found if finding.level != Level.OK}


def with_property(name: str, schema: Any) -> dict[str, Any]:
    return FITS | {"properties": FITS["properties"] | {name: schema}}


def without(name: str) -> dict[str, Any]:
    return FITS | {"properties": {key: one for key, one in FITS["properties"].items() if key != name}}


def test_a_spell_that_fits_its_file_has_only_the_lost_answer_to_think_of():
    found = look(declared_inputs={})
    assert bad(found) == {"run-name": Level.WARNING, "inputs as known": Level.WARNING}
    assert one(found, "inputs").message == "stage, dry, times, note"
    title = one(found, "run-name")
    is_bad(title, Level.WARNING, "dispatch_lost", hint="input_mapping to native+cast_id")
    assert "matching to exclusive" in title.hint
    known = look(matching="exclusive", declared_inputs=one_known(FILE))
    assert bad(known) == {}
    assert bad(look(TAGGED, mapping="native+cast_id", declared_inputs=one_known(TAGGED))) == {}


def one_known(text: str) -> dict[str, Any]:
    return draft_of(read("deploy.yml", text)).declared_inputs


@pytest.mark.parametrize(
    ("schema", "check", "level", "said"),
    [
        (with_property("extra", {}), "input extra", Level.WARNING, "a cast that has it is refused"),
        (with_property("extra", {}) | {"required": ["extra", "stage"]}, "input extra", Level.PROBLEM, "nobody can"),
        (without("stage") | {"required": []}, "input stage", Level.PROBLEM, "does not allow it: nobody can cast"),
        (FITS | {"required": []}, "input stage", Level.WARNING, "casts without are refused"),
        ({}, "input stage", Level.WARNING, "casts without are refused"),
        (with_property("stage", {"enum": ["moon"]}), "input stage", Level.WARNING, "takes 'moon'"),
        (with_property("stage", {"const": "moon"}), "input stage", Level.WARNING, "takes 'moon'"),
        (with_property("stage", {"type": "string"}), "input stage", Level.WARNING, "takes only ['staging'"),
        (with_property("dry", {"type": "string"}), "input dry", Level.WARNING, "is a boolean"),
        (with_property("dry", {"enum": [True, "yes"]}), "input dry", Level.WARNING, "takes 'yes'"),
        (with_property("times", {"type": ["number", "string"]}), "input times", Level.WARNING, "is a number"),
        (with_property("times", {}), "input times", Level.WARNING, "names no type"),
        ({"type": "array"}, "input_schema", Level.PROBLEM, "only an object's properties"),
    ],
)
def test_what_the_schema_and_the_file_do_not_agree_on_is_said(schema: Any, check: str, level: Level, said: str):
    found = [finding for finding in look(schema=schema) if finding.check == check]
    is_bad(found[0], level, said, hint="input_schema")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "mapping", "schema", "check", "level", "hint"),
    [
        (FILE, "native+cast_id", FITS, "input cast_id", Level.PROBLEM, "input_mapping to native"),
        (NUMBERED, "native+cast_id", FITS, "input cast_id", Level.PROBLEM, "`type: string`"),
        (TAGGED, "native+cast_id", with_property("cast_id", {}), "input_schema", Level.WARNING, "Take cast_id out"),
        (TAGGED, "native+cast_id", MUST, "input_schema", Level.PROBLEM, "Take cast_id out"),
        (TAGGED, "native", FITS, "input cast_id", Level.WARNING, "native+cast_id"),
        (TAGGED, "native", FITS, "run-name", Level.WARNING, "native+cast_id"),
        (FILE.replace("note:", "the note:"), "native", FITS, "input the note", Level.WARNING, "Rename"),
        (FILE + "concurrency: deploy\n", "native", FITS, "concurrency", Level.WARNING, "cast-${{ github.run_id }}"),
        ("on: push\njobs: {}\n", "native", FITS, "trigger", Level.PROBLEM, "Add it."),
        (MANY, "native", {}, "inputs", Level.PROBLEM, "declare 25 at most"),
    ],
)
def test_what_can_not_work_or_gets_lost_is_said(text, mapping, schema, check, level, hint):
    found = look(text, mapping=mapping, schema=schema)
    is_bad(next(finding for finding in found if finding.check == check), level, hint=hint)


UPLOAD = "uses: actions/upload-artifact@v4, with: {name: NAME}"


@pytest.mark.parametrize(
    ("job", "fields", "level", "said"),
    [
        ("", {}, Level.OK, "no output, only artifacts"),
        ("", {"output_schema": {}}, Level.WARNING, "output_invalid"),
        (UPLOAD.replace("NAME", "spell-result"), {"output_schema": {}}, Level.OK, "a step uploads"),
        (
            UPLOAD.replace("NAME", "report"),
            {"output_schema": {}, "result_artifact": "report"},
            Level.OK,
            "a step uploads",
        ),
        (UPLOAD.replace("NAME", "report"), {"output_schema": {}}, Level.WARNING, "output_invalid"),
        (UPLOAD.replace("NAME", "'${{ github.job }}'"), {"output_schema": {}}, Level.OK, "can't be told"),
        ("uses: ./own", {"output_schema": {}}, Level.OK, "can't be told"),
        (
            "uses: ./.github/actions/spell-output, with: {name: x}",
            {"output_schema": {}},
            Level.WARNING,
            "output_invalid",
        ),
        ("uses: acme/spells/.github/actions/spell-output@v1", {"output_schema": {}}, Level.OK, "a step uploads"),
    ],
)
def test_whether_a_result_is_left_is_told_as_far_as_it_can_be(job, fields, level, said):
    text = FILE.replace('[{run: "true"}]', f'[{{run: "true"}}, {{{job}}}]') if job else FILE
    finding = one(look(text, **fields), "result")
    assert (finding.level, said in finding.message) == (level, True), finding
    assert not [f for f in look(text, result_artifact="") if f.check == "result"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("run: 'echo ${{ inputs.note }}'", "note in job one"),
        ("run: \"echo ${{ github.event.inputs['note'] }} ${{ inputs.NOTE }}\"", "note in job one, NOTE in job one"),
        ("run: 'echo ${{ toJSON(inputs) }}'", "all inputs in job one"),
        ("uses: actions/github-script@v7, with: {script: 'x(`${{ inputs.note }}`)'}", "note in job one"),
        ("run: 'echo ${{ inputs.stage }} ${{ inputs.dry }} ${{ inputs.times }}'", ""),
        ("run: 'echo $NOTE ${{ steps.inputs.outputs.note }}', env: {NOTE: '${{ inputs.note }}'}", ""),
    ],
)
def test_texts_of_callers_in_a_script_are_warned_of(step: str, said: str):
    text = FILE.replace('{run: "true"}', f"{{{step}}}")
    found = [finding for finding in look(text) if finding.check == "scripts"]
    assert [said in finding.message for finding in found] == [True] * bool(said), found
    fixed = look(text, schema=with_property("note", {"enum": ["a"]}))
    assert not [finding for finding in fixed if finding.check == "scripts"]


def test_the_envelopes_text_in_a_script_is_warned_of_and_an_events_too():
    text = GOOD.replace('{run: "true"}', "{run: 'echo ${{ inputs.input_data }}'}")
    assert bad(look(text, mapping="envelope"))["scripts"] == Level.WARNING
    heard = HEARD.replace('{run: "true"}', "{run: 'echo ${{ github.event.client_payload.a.b }}'}")
    found = workflow_file.of_every_kind(About("Spell heard"), read("heard.yml", heard), event(name="Heard"))
    assert bad(list(found)) == {"scripts": Level.WARNING}


def test_an_event_has_ten_names_and_is_found_by_its_tag_or_alone(hub):
    many = {"type": "object", "properties": {f"n{n}": {} for n in range(10)}}
    native = {"input_mapping": "native+cast_id", "name": "Heard"}
    assert bad(list(workflows.check(hub, event(**native)))) == {}
    assert bad(list(workflows.check(hub, event(**native, input_schema=many)))) == {"inputs": Level.WARNING}
    needed = many | {"required": list(many["properties"])}
    assert bad(list(workflows.check(hub, event(**native, input_schema=needed)))) == {"inputs": Level.PROBLEM}
    alone = event(input_mapping="native", matching="exclusive", name="Heard", workflow_file="heard.yml")
    assert bad(list(workflows.check(hub, alone))) == {}


@pytest.mark.django_db
def test_what_a_file_declares_is_kept_only_if_that_was_asked_for(hub, write):
    name = write("deploy.yml", FILE)
    spell = stored_spell(
        **{"key": "deploy", "name": "Deploy", "workflow_file": name, "repository": REPO},
        **{"installation_id": 77, "input_mapping": "native", "input_schema": FITS},
    )
    retarget(spell, declared_inputs={"gone": {}, "dry": {}})
    spell.refresh_from_db()

    def known() -> tuple[Finding, Any]:
        return one(list(workflows.check(hub, spell)), "inputs as known"), spell.workflowtarget.declared_inputs

    finding, kept = known()
    is_bad(finding, Level.WARNING, "new: note, stage, times; gone: gone; other: dry", hint="doctor --spell deploy")
    assert kept == {"gone": {}, "dry": {}}
    finding = one(list(workflows.check(hub, spell, keep=True)), "inputs as known")
    assert finding.level == Level.OK
    assert "Out of date" in finding.message
    spell.workflowtarget.refresh_from_db()
    assert known()[1]["stage"] == {"type": "choice", "required": True, "options": ["staging", "production"]}
    assert known()[0].level == Level.OK
    latest = spell.versions.latest("number")
    assert (latest.definition["declared_inputs"], latest.source) == (known()[1], f"{name}, as the doctor read it")
    # Not kept where the spell has moved on meanwhile.
    retarget(spell, declared_inputs=None)
    stale = spell.workflowtarget
    retarget(spell, workflow_file="other.yml")
    assert not own_inputs.kept(stale, {"a": {}})
