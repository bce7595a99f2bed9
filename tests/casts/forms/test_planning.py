"""What a form is made of, and where it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings

from casts.forms.fields import Kind
from casts.forms.filling import filled, fresh
from casts.forms.outputs import outline
from casts.forms.planning import FIELDS, plan
from casts.forms.reading import read
from casts.forms.wording import html_pattern
from tests.casts.forms.browsing import controls
from tests.casts.forms.test_round_trip import rendered

TEXT = {"type": "string"}
TREE = {"type": "object", "properties": {"name": TEXT, "children": {"type": "array", "items": {"$ref": "#"}}}}


def nested(levels: int) -> Any:
    schema: Any = TEXT
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema, "b": TEXT}}
    return schema


def nested_lists(levels: int) -> Any:
    schema: Any = TEXT
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


LONG = "x" * 1000
# Each definition refers to the next one ten times: written out, it would be 10**9 fields.
BOMB = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/d0"}},
    "$defs": {
        **{
            f"d{n}": {"type": "object", "properties": {f"p{m}": {"$ref": f"#/$defs/d{n + 1}"} for m in range(10)}}
            for n in range(9)
        },
        "d9": TEXT,
    },
}
LARGE = {
    "a thousand fields": {"type": "object", "properties": {f"p{n}": TEXT for n in range(1000)}},
    "twenty levels": nested(20),
    "lists in lists": nested_lists(30),
    "a bomb of references": BOMB,
    "a tree": TREE,
    "itself": {"$ref": "#"},
    "one long text in many places": {
        "type": "object",
        "properties": {f"p{n}": {"$ref": "#/$defs/d"} for n in range(240)},
        "$defs": {"d": {"type": "string", "description": LONG, "examples": [LONG]}},
    },
    "many choices in many places": {
        "type": "object",
        "properties": {f"p{n}": {"$ref": "#/$defs/d"} for n in range(200)},
        "$defs": {"d": {"enum": [f"choice {n}" for n in range(2000)]}},
    },
    "long names": {"type": "object", "properties": {LONG * 20: nested(6)}},
}


@pytest.mark.parametrize("name", LARGE)
def test_no_schema_makes_a_page_of_megabytes(name: str):
    schema = LARGE[name]
    form = plan(schema)
    page = rendered(schema, fresh(form))
    outline(schema)
    assert len(page.encode()) < 1_000_000
    assert form.size <= FIELDS + 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": TEXT}, ["x"] * 10_000),
        ({"type": "array", "items": nested(3)}, [{"a": {"b": "x"}}] * 200),
        (TREE, {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}),
        (nested(20), {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"b": "x"}}}}}}}}}}),
    ],
)
def test_what_is_too_much_for_a_form_is_typed_as_json(schema: Any, value: Any):
    form = plan(schema)
    typed = filled(form, value)
    assert read(form, typed).value == value
    assert len(rendered(schema, typed)) < len(json.dumps(value, indent=2)) * 2 + 100_000


@pytest.mark.parametrize(
    ("schema", "kind", "why"),
    [
        ({"type": "object", "patternProperties": {"^a": TEXT}, "properties": {"a": TEXT}}, Kind.JSON, "a pattern"),
        ({"type": "object", "properties": {"a": TEXT}, "if": {}, "then": {}}, Kind.JSON, "(if)"),
        ({"type": "object"}, Kind.JSON, "any fields"),
        ({"type": "array"}, Kind.JSON, "anything"),
        ({"type": ["string", "integer"]}, Kind.JSON, "several types"),
        ({"anyOf": [TEXT, {"type": "integer"}]}, Kind.JSON, "(anyOf)"),
        ({"allOf": [{"minLength": 1}, TEXT]}, Kind.JSON, "(allOf)"),
        ({}, Kind.JSON, "any value"),
        ({"type": "object", "additionalProperties": False}, Kind.OBJECT, ""),
        ({"allOf": [{"$ref": "#/$defs/t"}], "title": "T", "$defs": {"t": TEXT}}, Kind.TEXT, ""),
        ({"anyOf": [{"$ref": "#/$defs/t"}, {"type": "null"}], "default": None, "$defs": {"t": TEXT}}, Kind.TEXT, ""),
        ({"oneOf": [{"const": 1, "title": "one"}, {"const": "1"}]}, Kind.CHOICE, ""),
        ({"type": "string", "enum": ["a"]}, Kind.CHOICE, ""),
        ({"properties": {"a": TEXT}}, Kind.OBJECT, ""),
    ],
)
def test_each_schema_has_its_kind_of_control(schema: Any, kind: Kind, why: str):
    form = plan(schema)
    assert form.kind == kind
    assert why in form.why


@pytest.mark.parametrize(
    ("pattern", "attribute"),
    [
        ("^[0-9]{5}$", "[0-9]{5}"),
        ("^(a|b)c?$", "(a|b)c?"),
        ("[0-9]", ""),  # it may stand anywhere
        ("^a|b$", ""),  # ^ belongs to a alone
        ("^\\d+$", ""),  # other digits than a browser's
        ("^\\p{L}$", ""),
        ("^" + "(a|" * 20_000 + "$", ""),
    ],
)
def test_browsers_are_told_patterns_that_they_read_alike(pattern: str, attribute: str):
    assert html_pattern(pattern) == attribute


FILE = {"type": "string", "contentEncoding": "base64"}
WIDE = {
    "type": "object",
    "properties": {
        **{f"p{n}": FILE for n in range(200)},
        "rows": {"type": "array", "items": {"type": "object", "properties": {"a": TEXT}}},
    },
}


@pytest.mark.parametrize("rows", [0, 90, 200, 5000])
def test_a_form_is_never_larger_than_what_is_read_of_one(rows: int):
    value = {"p0": "x", "rows": [{"a": "b"}] * rows}
    form = plan(WIDE)
    found = controls(rendered(WIDE, filled(form, value)))
    assert len(found.sent) + 10 < settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    assert found.files <= settings.DATA_UPLOAD_MAX_NUMBER_FILES
    assert read(form, found.sent).value == value
