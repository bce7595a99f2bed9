"""The spell that a workflow file makes."""

from __future__ import annotations

from typing import Any

import pytest

from core import json_schema
from github_integration.details import EnvironmentDetails
from github_integration.workflow_files.reading import read
from github_integration.workflow_files.schema import Draft, draft_of, key_of, with_different_keys

ENVIRONMENTS = [EnvironmentDetails("staging", ""), EnvironmentDetails("production", "a reviewer's approval")]


def draft(inputs: str, *, more: str = "", environments: list[EnvironmentDetails] | None = None) -> Draft:
    """Return the draft of a file whose inputs are written in YAML's flow form."""
    text = f"{more}\non: {{workflow_dispatch: {{inputs: {{{inputs}}}}}}}\n"
    return draft_of(read("deploy.yml", text), environments=environments)


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        ("", {"type": "string"}),
        ("{type: string, default: 1.10}", {"type": "string", "default": "1.1"}),
        ("{default: 2026-01-31}", {"type": "string", "default": "2026-01-31"}),
        ("{default: ''}", {"type": "string", "default": ""}),
        ("{default: yes}", {"type": "string", "default": "yes"}),
        ("{default: true}", {"type": "string", "default": "true"}),
        ("{type: boolean, default: 'true'}", {"type": "boolean", "default": True}),
        ("{type: boolean, default: False}", {"type": "boolean", "default": False}),
        ("{type: boolean, default: yes}", {"type": "boolean"}),
        ("{type: number, default: '3'}", {"type": "number", "default": 3}),
        ("{type: number, default: 010}", {"type": "number", "default": 10}),
        ("{type: number, default: '0.10'}", {"type": "number", "default": 0.1}),
        ("{type: number, default: '1e3'}", {"type": "number", "default": 1000}),
        ("{type: number, default: many}", {"type": "number"}),
        ("{type: number, default: '1e999'}", {"type": "number"}),  # no number of JSON's
        ("{type: number, default: '" + "9" * 5000 + "'}", {"type": "number"}),
        ("{type: number, default: '\u0663'}", {"type": "number"}),
        ("{type: choice, options: [a, 1.10, a]}", {"type": "string", "enum": ["a", "1.1"]}),
        ("{type: choice, options: [a, b], default: b}", {"type": "string", "enum": ["a", "b"], "default": "b"}),
        ("{type: choice, options: [a, b], default: c}", {"type": "string", "enum": ["a", "b"]}),
        ("{type: environment}", {"type": "string", "enum": ["staging", "production"]}),
        ("{description: 'Which one '}", {"type": "string", "description": "Which one"}),
        (
            "{description: Which, deprecationMessage: use tag}",
            {"type": "string", "description": "Which (Deprecated: use tag)", "deprecated": True},
        ),
        ("{type: mystery}", {"type": "string"}),
    ],
)
def test_inputs_become_properties(declared: str, schema: dict[str, Any]) -> None:
    made = draft(f"x: {declared}", environments=ENVIRONMENTS)
    assert made.input_schema == {"type": "object", "properties": {"x": schema}, "additionalProperties": False}
    json_schema.check(made.input_schema)


def test_only_what_has_no_default_is_required() -> None:
    made = draft(
        "a: {required: true}, b: {required: true, default: ''}, c: {}, d: {type: number, required: true, default: x}"
    )
    assert made.input_schema["required"] == ["a", "d"]
    assert made.declared_inputs["b"] == {"type": "string", "required": True, "default": ""}


@pytest.mark.parametrize(
    ("inputs", "mapping", "properties"),
    [
        ("", "native", []),
        ("version: ", "native", ["version"]),
        ("version: , cast_id: {default: manual}", "native+cast_id", ["version"]),
        ("cast_id: {type: number}", "native", ["cast_id"]),
        ("cast_id: , spell_key: {type: choice, options: [a]}, input_data: ", "envelope", None),
        ("spell_key: , input_data: ", "native", ["spell_key", "input_data"]),
    ],
)
def test_the_mapping_is_what_the_inputs_tell(inputs: str, mapping: str, properties: list[str] | None) -> None:
    made = draft(inputs)
    assert made.input_mapping == mapping
    got = list(made.input_schema["properties"]) if made.input_schema else None
    assert got == properties


def test_environments_that_are_not_known_or_not_there_let_any_name_pass() -> None:
    unknown: tuple[tuple[list[EnvironmentDetails] | None, str], ...] = ((None, "could not be read"), ([], "has none"))
    for known, said in unknown:
        made = draft("x: {type: environment}", environments=known)
        assert made.input_schema["properties"]["x"] == {"type": "string"}
        assert any(said in note for note in made.notes)


TAGGED = 'run-name: "[cast:${{ inputs.cast_id }}]"'


@pytest.mark.parametrize(
    ("inputs", "more", "said"),
    [
        ("cast_id: ", TAGGED, []),
        ("", "", ["titles don't carry the cast's id"]),
        ("cast_id: ", f"{TAGGED}\nconcurrency: deploy", ['group "deploy" of the workflow: one waits']),
        ("cast_id: ", f"{TAGGED}\nconcurrency: c-${{{{ github.run_id }}}}", []),
        (", ".join(f"i{n}: " for n in range(25)) + ", cast_id: ", TAGGED, ["declares 26 inputs"]),
        ("cast_id: , x: {type: mystery}", TAGGED, ["type 'mystery'"]),
        ("cast_id: , 1x: ", TAGGED, ["No input can be called '1x'"]),
        ("cast_id: , x: {type: choice}", TAGGED, ["without options"]),
        ("cast_id: , x: {type: number, default: many}", TAGGED, ["default 'many', which is no number"]),
        ("cast_id: , x: {type: environment, default: moon}", TAGGED, ["'moon', which is none of its options"]),
        ("cast_id: ", f"{TAGGED}\njobs: {{a: {{environment: Production}}}}", ["waits for a reviewer's approval"]),
        ("cast_id: ", f"{TAGGED}\njobs: {{a: {{environment: staging}}}}", []),
        (
            "cast_id: , to: {type: environment}",
            f"{TAGGED}\njobs: {{a: {{environment: {{name: '${{{{ inputs.to }}}}'}}}}}}",
            ["environment production waits"],
        ),
        ("cast_id: , spell_key: , input_data: ", TAGGED, ["input_schema by hand"]),
    ],
)
def test_what_is_worth_knowing_is_told(inputs: str, more: str, said: list[str]) -> None:
    notes = draft(inputs, more=more, environments=ENVIRONMENTS).notes
    assert len(notes) == len(said), notes
    for note, part in zip(notes, said, strict=True):
        assert part in note


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("deploy.yml", "deploy"),
        ("Deploy Prod.YAML", "deploy-prod"),
        ("_build.yml", "build"),
        ("Überprüfung.yml", "uberprufung"),
        ("部署.yml", "workflow"),
        ("a/../b.yml", "a-..-b"),
        ("x" * 90 + ".yml", "x" * 64),
    ],
)
def test_key_is_made_of_the_files_name(name: str, key: str) -> None:
    assert key_of(name) == key


def test_keys_are_made_different() -> None:
    drafts = [draft_of(read(name, "on: workflow_dispatch")) for name in ("a.yml", "a.yaml", "A.yml")]
    assert [one.key for one in with_different_keys(drafts, taken={"a-2"})] == ["a", "a-3", "a-4"]


def test_name_and_description_are_the_files_in_plain_text() -> None:
    made = draft_of(read("x.yml", '# Ships it.\n# Twice.\nname: "Ship\\n <b>it</b>\\e[31m"\non: workflow_dispatch'))
    assert (made.name, made.description) == ("Ship <b>it</b> [31m", "Ships it.\nTwice.")
    assert draft_of(read("x.yml", "on: workflow_dispatch")).name == "x"
    for comment in ("# SPDX-License-Identifier: MIT", "# yaml-language-server: $schema=x", "# a\n" * 20):
        assert draft_of(read("x.yml", f"{comment}\non: workflow_dispatch")).description == ""
