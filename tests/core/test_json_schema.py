"""JSON Schemas: what is one, what may be in one, and what a document breaks."""

from __future__ import annotations

import http.server
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import json_schema
from core.json_schema import BadSchema, check, violations, with_defaults


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
        {"$id": "https://example.org/spell", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": True}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "string", "format": "email"},
        {"properties": {"self": {"$ref": "#"}}},
        {"prefixItems": [{"type": "integer"}], "items": False},
    ],
)
def test_a_schema_that_stays_in_its_document_is_one(schema):
    check(schema)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        "object",
        [],
        {"type": "strnig"},
        {"type": 5},
        {"properties": []},
        {"required": "name"},
        {"minLength": -1},
        {"pattern": "("},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_what_is_no_schema_is_refused_with_a_reason(schema):
    with pytest.raises(BadSchema) as refused:
        check(schema)
    assert len(str(refused.value)) > 20
    assert "\n" not in str(refused.value)


MISTAKES: list[tuple[str, dict[str, Any], str]] = [  # where, what stands there, what is told
    ("/properties/type", {"type": "strin"}, '/properties/type/type: "strin" is no type: it is string, '),
    (
        "/properties/far",
        {"$ref": "https://example.org/s"},
        "/properties/far/$ref: a schema may only refer to itself, not",
    ),
    (
        "/properties/file",
        {"$ref": "s.json#/a"},
        "/properties/file/$ref: a schema may only refer to itself, not to s.json",
    ),
    (
        "/properties/gone",
        {"$ref": "#/$defs/gone"},
        "/properties/gone/$ref: #/$defs/gone refers to nothing in this schema.",
    ),
    ("/properties/name", {"$ref": "#gone"}, "/properties/name/$ref: #gone refers to nothing in this schema."),
    (
        "/properties/not",
        {"not": {"$ref": "#gone"}},
        "/properties/not/not/$ref: #gone refers to nothing in this schema.",
    ),
    (
        "/properties/dyn",
        {"$dynamicRef": "#gone"},
        "/properties/dyn/$dynamicRef: #gone refers to nothing in this schema.",
    ),
    (
        "/properties/word",
        {"propertys": {}, "type": "object"},
        "/properties/word: 'propertys' is no word of JSON Schema; ",
    ),
    ("/properties/default", {"type": "string", "default": 5}, "/properties/default/default: 5 is not of type"),
    ("/properties/least", {"minLength": 5, "maxLength": 4}, "/properties/least: nothing fits: minLength is more than"),
    ("/properties/list", {"required": "a", "additionalProperties": False}, '/properties/list/required: "a" is not of'),
    ("/properties/named", {"properties": [1]}, '/properties/named/properties: [1] is not of type "object".'),
]


@pytest.mark.parametrize("leave_out", [None, *range(len(MISTAKES))])
def test_every_mistake_is_told_with_its_place_whatever_the_others_are(leave_out):
    made = [mistake for index, mistake in enumerate(MISTAKES) if index != leave_out]
    properties = {where.rpartition("/")[2]: part for where, part, _ in made}
    fine = {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#b"}, "c": {"$dynamicRef": "#c"}, "d": {"$ref": "#"}}
    definitions = {"a": {"type": "string"}, "b": {"$anchor": "b"}, "c": {"$dynamicAnchor": "c"}}
    with pytest.raises(BadSchema) as refused:
        check({"properties": properties | fine, "$defs": definitions})
    told = refused.value.problems
    assert len(told) == len(made), told
    for _, _, why in made:
        assert sum(f"t {why}" in one for one in told) == 1, (why, told)
    assert not any(word in str(refused.value) for word in ("Error", "?.", "..", "Traceback"))


def test_references_below_another_id_are_told_too():
    with pytest.raises(BadSchema, match=r"a schema may only refer to itself, not to https://b\.example/t\.$"):
        check({"$defs": {"a": {"$id": "https://b.example/s", "$ref": "t"}}})
    check({"$defs": {"a": {"$id": "https://b.example/s", "$ref": "#x", "$defs": {"x": {"$anchor": "x"}}}}})


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/s.json", "file://{file}", "{file}", "https://example.org/x#/a"]
)
def test_a_schema_reads_neither_our_network_nor_our_disk(tmp_path, keyword, target):
    asked = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *args):
            pass

    file = tmp_path / "schema.json"
    file.write_text('{"const": "the secret of the disk"}')
    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        reference = {keyword: target.format(port=server.server_port, file=file)}
        for schema in (reference, {"properties": {"a": reference}}, {"$defs": {"a": reference}, "$ref": "#/$defs/a"}):
            with pytest.raises(BadSchema) as refused:
                check(schema)
            assert "secret" not in str(refused.value)
        server.shutdown()
    assert asked == []


def test_formats_are_checked():
    schema = {"properties": {"at": {"format": "date-time"}, "to": {"format": "email"}, "see": {"format": "uri"}}}
    good = {"at": "2026-11-23T10:00:00Z", "to": "ada@example.org", "see": "https://example.org/"}
    assert violations(schema, good, at="/input") == []
    broken = violations(schema, {"at": "noon", "to": "ada", "see": "not a link"}, at="/input")
    assert {v["pointer"] for v in broken} == {"/input/at", "/input/to", "/input/see"}


@pytest.mark.parametrize(
    ("choices", "given", "told"),
    [
        (["low", "mid", "high", "max"], "7", '"7" is not one of "low", "mid", "high" or "max"'),
        (["é", None, 1.5, {"a": 1}], [2], '[2] is not one of "é", null, 1.5 or {"a": 1}'),
        (["a", "b", "c"], "z", '"z" is not one of "a", "b" or "c"'),
        ([*"abcd", "x" * 300], "z", '"z" is not one of "a", "b", "c", "d" or "xxx…'),
        ([str(n) for n in range(9000)], "z" * 500, '"zzz… is not one of "0", "1", … or … others'),
        (["x" * 300, *"abc"], "z", '"z" is not one of "xxx…'),
    ],
)
def test_all_choices_are_told_as_far_as_there_is_room(choices: list[Any], given: str, told: str) -> None:
    [violation] = violations({"enum": choices}, given, at="")
    begin, *parts = told.split("…")
    assert violation["detail"].startswith(begin)
    assert all(part in violation["detail"] for part in parts)
    assert len(violation["detail"]) <= 300


def test_pointers_escape_what_pointers_must():
    assert json_schema.pointer([]) == ""
    assert json_schema.pointer(["a/b", "c~d", 0, ""]) == "/a~1b/c~0d/0/"


def test_a_compiled_schema_is_not_another_ones():
    for limit in range(5):
        assert bool(violations({"maximum": limit}, 3, at="")) == (limit < 3)


# --- defaults --------------------------------------------------------------------------------------------------------

NESTED: dict[str, Any] = {
    "properties": {
        "a": {"default": 1},
        "b": {"type": "object", "properties": {"c": {"default": [1]}}},
        "d": {"default": {"e": 1}, "properties": {"f": {"default": 2}}},
        "list": {"items": {"properties": {"g": {"default": 3}}}},
        "anything": True,
        "null": {"default": None},
    }
}


def test_defaults_fill_what_is_missing_and_never_what_is_there():
    assert with_defaults(NESTED, {}) == {"a": 1, "d": {"e": 1, "f": 2}, "null": None}
    given: dict[str, Any] = {
        "a": None,
        "b": {},
        "d": {},
        "list": [{}, {"g": 9}, 5],
        "anything": {},
        "null": 0,
        "more": {},
    }
    filled = given | {"b": {"c": [1]}, "d": {"f": 2}, "list": [{"g": 3}, {"g": 9}, 5]}
    assert with_defaults(NESTED, given) == filled


def test_a_filled_document_shares_nothing_with_the_schema_or_the_given_one():
    given: dict[str, Any] = {"b": {}}
    filled = with_defaults(NESTED, given)
    filled["b"]["c"].append(2)
    filled["d"]["e"] = 5
    assert NESTED["properties"]["b"]["properties"]["c"]["default"] == [1]
    assert NESTED["properties"]["d"]["default"] == {"e": 1}
    assert given == {"b": {}}


@pytest.mark.parametrize("document", [5, "text", None, True, [1, "a"]])
def test_what_is_no_object_stays_as_it_is(document):
    assert with_defaults(NESTED, document) == document


PYDANTIC = {  # what Pydantic 2 writes for models within models, shortened
    "$defs": {
        "Options": {
            "properties": {
                "loud": {"default": False, "type": "boolean"},
                "inner": {"$ref": "#/$defs/Inner", "default": {}},
            },
            "type": "object",
        },
        "Inner": {"properties": {"n": {"default": 7, "type": "integer"}}, "type": "object", "default": {"m": 1}},
        "Tree": {
            "properties": {"leaf": {"default": 1}, "children": {"items": {"$ref": "#/$defs/Tree"}, "default": []}},
        },
        "a/b c": {"$anchor": "named", "properties": {"x": {"default": "y"}}},
    },
    "properties": {
        "options": {"$ref": "#/$defs/Options", "default": {}},
        "older": {"allOf": [{"$ref": "#/$defs/Options"}], "default": {"loud": True}},
        "behind": {"$ref": "#/$defs/Inner"},
        "tree": {"$ref": "#/$defs/Tree"},
        "many": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Inner"}},
        "pair": {"prefixItems": [{"$ref": "#/$defs/Inner"}], "items": {"$ref": "#named"}},
        "quoted": {"$ref": "#/$defs/a~1b%20c"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}], "default": None},
        "no": {"$ref": "#/$defs/nowhere"},
    },
}


def test_defaults_behind_references_and_all_of_are_filled_in():
    inner, options = {"m": 1, "n": 7}, {"loud": False, "inner": {"n": 7}}
    always = {"options": options, "older": options | {"loud": True}, "behind": inner, "maybe": None}
    assert with_defaults(PYDANTIC, {}) == always
    given = {
        "options": {"inner": {"n": 1}},
        "tree": {"children": [{}, {"children": [{"leaf": 2}]}]},
        "many": {"a": {}, "b": 5},
        "pair": [{}, {}, {"x": 1}],
        "quoted": {},
        "maybe": {},
    }
    leaf = {"leaf": 1, "children": []}
    assert with_defaults(PYDANTIC, given) == always | {
        "options": {"inner": {"n": 1}, "loud": False},
        "tree": {"leaf": 1, "children": [leaf, {"leaf": 1, "children": [{"leaf": 2, "children": []}]}]},
        "many": {"a": {"n": 7}, "b": 5},
        "pair": [{"n": 7}, {"x": "y"}, {"x": 1}],
        "quoted": {"x": "y"},
        "maybe": {},  # which branch of anyOf is meant, would be a guess
    }


def test_a_reference_to_the_schemas_own_address_is_a_local_one():
    schema = {"$id": "https://example.org/s", "properties": {"a": {"$ref": "https://example.org/s#/$defs/a"}}}
    schema["$defs"] = {"a": {"default": 5}}
    check(schema)
    assert with_defaults(schema, {}) == {"a": 5}


ENDLESS = {"$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N", "default": {}}}}}, "$ref": "#/$defs/N"}


def test_a_default_that_holds_itself_is_refused_and_harms_nobody():
    with pytest.raises(BadSchema, match=r"At /\$defs/N/properties/n/default: .* without end"):
        check(ENDLESS)
    assert with_defaults(ENDLESS, {"a": 1}) == {"a": 1}
    assert with_defaults({"$ref": "#", "allOf": [{"$ref": "#"}]}, {}) == {}


@pytest.mark.parametrize(
    ("schema", "places"),
    [
        ({"properties": {"n": {"type": "integer", "default": "5"}}}, ["/properties/n/default"]),
        ({"properties": {"n": {"type": "string", "default": None}}}, ["/properties/n/default"]),
        ({"properties": {"n": {"enum": ["a"], "default": "b"}}}, ["/properties/n/default"]),
        ({"properties": {"n": {"format": "date", "default": "soon"}}}, ["/properties/n/default"]),
        ({"items": {"oneOf": [{"type": "string", "default": 1}]}}, ["/items/oneOf/0/default"]),
        (
            {"$defs": {"o": {"required": ["n"]}}, "properties": {"a": {"$ref": "#/$defs/o", "default": {}}}},
            ["/properties/a/default"],
        ),
        (
            {"properties": {"a~b/c": {"type": "null", "default": 1}, "d": {"type": "null", "default": 1}}},
            ["/properties/a~0b~1c/default", "/properties/d/default"],
        ),
        (
            {"$id": "https://example.org/s", "properties": {"n": {"type": "null", "default": 1}}},
            ["/properties/n/default"],
        ),
        # Useless: not what was meant, and no validator says so.
        ({"name": {"type": "string"}}, ["its top"]),
        ({"name": "string", "age": "integer"}, ["its top"]),
        ({"properties": {"a": {"typ": "string"}}}, ["/properties/a"]),
        ({"type": "object", "propertys": {"a": {}}}, ["its top"]),
        ({"properties": {"a": {"type": "string", "minlength": 1}}}, ["/properties/a"]),
        ({"properties": {"a": {"type": "string", "nullable": True}}}, ["/properties/a"]),
        ({"type": "object", "dependencies": {"a": ["b"]}}, ["its top"]),
        ({"required": ["nme"], "properties": {"name": {}}, "additionalProperties": False}, ["its top"]),
        ({"items": {"minimum": 5, "maximum": 1}}, ["/items"]),
        ({"properties": {"a": {"enum": []}}}, ["/properties/a"]),
    ],
)
def test_wrong_defaults_and_useless_schemas_are_told_with_their_place_once(schema, places):
    with pytest.raises(BadSchema) as refused:
        check(schema)
    assert [problem.split(":")[0] for problem in refused.value.problems] == [f"At {place}" for place in places]


@pytest.mark.parametrize(
    "schema",
    [
        *(PYDANTIC | {"properties": PYDANTIC["properties"] | {"no": {}}}, NESTED),
        {
            "title": "T",
            "description": "d",
            "properties": {"a": {"title": "A", "example": 5, "x-order": 1, "x-enum": ["a"]}},
        },
        {"properties": {"o": {"required": ["n"], "properties": {"n": {"default": 1}}, "default": {}}}},
        {"required": ["a_1"], "patternProperties": {"^a_": {}}, "additionalProperties": False},
        {"not": {"required": ["a"], "additionalProperties": False}},
        {"$defs": {"inner": {"$id": "https://example.org/i", "$defs": {"x": {"type": "null", "default": None}}}}},
        {"type": "object", "unitOfMeasure": "metre", "markdownDescription": "**x**"},
    ],
)
def test_what_is_meant_so_is_left_alone(schema):
    check(schema)


def test_a_misspelt_word_is_told_with_the_right_one():
    with pytest.raises(BadSchema, match="'propertys' is no word of JSON Schema; do you mean 'properties'"):
        check({"type": "object", "propertys": {}})
    with pytest.raises(BadSchema, match="do you mean 'properties'"):
        check({"propertys": {}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdefg"), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_filling_twice_is_filling_once_and_any_document_is_judged(document):
    once = with_defaults(NESTED, document)
    assert with_defaults(NESTED, once) == once
    violations(NESTED, document, at="/input")
