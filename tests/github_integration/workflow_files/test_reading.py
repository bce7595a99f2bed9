"""Workflow files as GitHub reads them: YAML's core schema, and what is no YAML refused with its line."""

from __future__ import annotations

from typing import Any

import pytest

from casts.models import Spell
from github_integration.workflow_files import core_yaml
from github_integration.workflow_files.core_yaml import BadYaml
from github_integration.workflow_files.reading import Unreadable, read

DISPATCH = Spell.Runtime.WORKFLOW_DISPATCH


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("True", True),
        ("010", 10),
        ("0o10", 8),
        ("0x1f", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.10", 1.1),
        (".5e1", 5.0),
        ("1e999", "1e999"),
        ("2026-01-31", "2026-01-31"),
        ("~", None),
        ("", None),
        ('"3"', "3"),
        ("!!str 3", "3"),
        ("9" * 5000, "9" * 5000),
        ("a\0b".replace("\0", "\\0"), "a\\0b"),
        (r'"a\0b"', "ab"),
    ],
)
def test_scalars_are_what_github_takes_them_for(written: str, value: Any) -> None:
    got = core_yaml.load(f"a: {written}")["a"]
    assert (got, type(got)) == (value, type(value))


def test_aliases_are_followed_and_merge_keys_are_not() -> None:
    assert core_yaml.load("a: &x {b: 1}\nc: *x\nd: {<<: *x}") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"<<": {"b": 1}}}


LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)


@pytest.mark.parametrize(
    ("text", "why", "line"),
    [
        ("on: push\na: 1\na: 2", "'a' is there twice", 3),
        ("a: &a [*a]", "stands for nothing", 1),
        ("a: 1\n? [b]\n: c", "a key is not a word", 2),
        ("a: !mine b", "!mine means nothing", 1),
        ("a:\n  b: \x01", "control characters", 2),
        ("[" * 200_000, "nested more than 100 deep", 1),
        ("{a: " * 200_000, "nested more than 100 deep", 1),
        (LAUGHS, "more than 50,000 values", 5),
        ("- a\n" * 60_000, "more than 50,000 values", 50_001),
        ("#" * (core_yaml.MOST_CHARS + 1), "longer than 1,048,576", 0),
    ],
)
def test_what_github_would_not_read_or_would_harm_is_refused_with_its_line(text: str, why: str, line: int) -> None:
    with pytest.raises(BadYaml, match=why) as refused:
        core_yaml.load(text)
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("on", "triggers"),
    [
        ("workflow_dispatch", ["workflow_dispatch"]),
        ("[push, workflow_dispatch]", ["push", "workflow_dispatch"]),
        ("{workflow_dispatch: , schedule: [{cron: '0 5 * * 1'}]}", ["workflow_dispatch", "schedule"]),
        ("", []),
        ("7", []),
        ("[{a: b}, push]", ["push"]),
    ],
)
@pytest.mark.parametrize("key", ["on", '"on"'])
def test_triggers_are_read_in_every_form(key: str, on: str, triggers: list[str]) -> None:
    file = read("a.yml", f"{key}: {on}\njobs: {{}}\n")
    assert list(file.triggers) == triggers
    assert file.dispatchable == ("workflow_dispatch" in triggers)
    assert file.inputs == ()


def test_file_says_its_title_its_comment_and_its_inputs() -> None:
    file = read(
        "deploy.yml",
        "# Puts a version on a site.\n#\n# Ask before.\n\nname: Deploy\nrun-name: Deploy ${{ inputs.version }}\n"
        "on:\n  workflow_dispatch:\n    inputs:\n"
        "      version: {description: Which one, required: true, deprecationMessage: use tag}\n"
        "      site: {type: choice, options: [blue, 2, true], default: 2}\n"
        "      bare:\n      12: {required: yes, default: [a]}\n",
    )
    assert (file.title, file.comment) == ("Deploy", "Puts a version on a site.\n\nAsk before.")
    version, site, bare, odd = file.inputs
    assert (version.type, version.required, version.description, version.deprecation) == (
        "string",
        True,
        "Which one",
        "use tag",
    )
    assert (site.type, site.options, site.default) == ("choice", ("blue", "2", "true"), 2)
    assert (bare.type, bare.required, bare.default) == ("string", False, None)
    assert (odd.name, odd.required, odd.default) == ("12", False, None)


@pytest.mark.parametrize(
    ("run_name", "tag"),
    [
        ("Deploy", False),
        ("'[cast:${{ inputs.cast_id }}]'", True),
        ("\"x [cast:${{ inputs['cast_id'] }}]\"", True),
        ("cast ${{ inputs.cast_id }}", None),
        ("${{ github.run_id }}", False),
    ],
)
def test_title_carries_the_tag_or_not(run_name: str, tag: bool | None) -> None:
    assert read("a.yml", f"run-name: {run_name}\non: workflow_dispatch").tag(DISPATCH) is tag


@pytest.mark.parametrize("text", ["", "just text", "- a", "a: 'b"])
def test_what_is_no_workflow_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable, match=r"^a\.yml is no "):
        read("a.yml", text)
