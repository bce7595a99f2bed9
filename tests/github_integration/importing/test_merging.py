"""Importing again: the file's changes are taken, what a person wrote stays and is told."""

from __future__ import annotations

from typing import Any

import pytest

from github_integration.importing.merging import MISSING, merged, written_by
from github_integration.workflow_files.reading import read
from github_integration.workflow_files.schema import Draft, draft_of

FILE = "name: Deploy\non: {workflow_dispatch: {inputs: {to: {type: choice, options: [a, b], default: a}, version: {}}}}"


def draft(text: str = FILE) -> Draft:
    return draft_of(read("deploy.yml", text))


def again(person: dict[str, Any], text: str = FILE, *, before: str = FILE) -> tuple[dict[str, Any], list[Any]]:
    """Import `before`, let a person set parts, import `text`; return the spell then, and what was told."""
    first = written_by(draft(before))
    made = merged(first, first | person, draft(text), key="deploy")
    return made.values, [(change.part, change.now, change.file, change.kept) for change in made.changes]


def with_input(name: str, spec: Any, **more: Any) -> dict[str, Any]:
    """Return the schema of FILE with one property as a person would have it; MISSING: without it."""
    schema = draft().input_schema
    properties = schema["properties"] | {name: spec}
    return schema | {"properties": {n: s for n, s in properties.items() if s is not MISSING}} | more


def test_nothing_changes_when_nothing_changed() -> None:
    values, told = again({})
    assert (values, told) == (written_by(draft()), [])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: Deploy", "name: Ship", [("name", "Deploy", "Ship", False)]),
        ("default: a", "default: b", [("input to: default", "a", "b", False)]),
        ("version: {}", "version: {required: true}", [("input version: required", False, True, False)]),
        (", version: {}", "", [("input version", {"type": "string"}, MISSING, False)]),
        ("version: {}", "version: {}, tag: {}", [("input tag", MISSING, {"type": "string"}, False)]),
        ("version: {}", "version: {}, cast_id: {}", [("input mapping", "native", "native+cast_id", False)]),
    ],
)
def test_the_files_changes_are_taken(old: str, new: str, told: list[Any]) -> None:
    text = FILE.replace(old, new)
    assert text != FILE
    values, changes = again({}, text)
    assert (values, changes) == (written_by(draft(text)), told)


@pytest.mark.parametrize(
    "person",
    [
        {"name": "Mine"},
        {"description": "By hand."},
        {"input_schema": {}},
        {"input_schema": with_input("version", {"type": "string", "pattern": "^v"})},
        {"input_schema": with_input("version", MISSING)},
        {"input_schema": with_input("version", {"type": "string"}, required=["version"])},
        {"input_schema": with_input("mine", {"type": "string"}, maxProperties=3)},
        {"input_schema": with_input("to", {"type": "string", "enum": ["a"], "default": "a"})},
    ],
)
def test_what_a_person_wrote_stays_without_a_word_while_the_file_stays(person: dict[str, Any]) -> None:
    values, told = again(person)
    assert (values, told) == (written_by(draft()) | person, [])


def test_a_persons_keyword_stays_beside_the_files_new_ones() -> None:
    person = {"input_schema": with_input("version", {"type": "string", "pattern": "^v"})}
    values, told = again(person, FILE.replace("version: {}", "version: {description: Which}"))
    assert values["input_schema"]["properties"]["version"] == {
        "description": "Which",
        "type": "string",
        "pattern": "^v",
    }
    assert told == [("input version: description", MISSING, "Which", False)]


@pytest.mark.parametrize(
    ("person", "text", "told"),
    [
        ({"name": "Mine"}, FILE.replace("Deploy", "Ship"), ("name", "Mine", "Ship")),
        (
            {"input_schema": with_input("to", {"type": "string", "enum": ["a"], "default": "a"})},
            FILE.replace("[a, b]", "[a, b, c]"),
            ("input to: enum", ["a"], ["a", "b", "c"]),
        ),
        (
            {"input_schema": with_input("version", {"type": "string", "pattern": "^v"})},
            FILE.replace(", version: {}", ""),
            ("input version", {"type": "string", "pattern": "^v"}, MISSING),
        ),
        (
            {"input_schema": with_input("version", MISSING)},
            FILE.replace("version: {}", "version: {type: number}"),
            ("input version", MISSING, {"type": "number"}),
        ),
    ],
)
def test_a_conflict_is_told_once_and_the_persons_side_stays(person: dict[str, Any], text: str, told: Any) -> None:
    values, changes = again(person, text)
    assert changes == [(*told, True)]
    assert all(values[name] == part for name, part in person.items())
    assert again(values, text, before=text) == (values, [])


def test_a_spell_that_was_never_imported_is_all_by_hand_but_for_what_is_blank() -> None:
    now = {"name": "deploy", "description": "", "input_mapping": "envelope", "input_schema": {}}
    assert merged(None, now, draft(), key="deploy").values == written_by(draft())
    own = now | {"name": "Mine", "input_schema": {"type": "object", "properties": {"version": {}}}}
    made = merged(None, own, draft(), key="deploy")
    assert made.values == own | {"input_mapping": "native"}
    assert [(change.part, change.kept) for change in made.changes] == [
        ("name", True),
        ("input mapping", False),
        ("input schema", True),
    ]
