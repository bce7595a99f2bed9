"""JSON Schemas: what is one, what may be in one, and what a document breaks."""

from __future__ import annotations

import http.server
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casts import schemas
from casts.schemas import BadSchema, check, violations, with_defaults


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


def test_pointers_escape_what_pointers_must():
    assert schemas.pointer([]) == ""
    assert schemas.pointer(["a/b", "c~d", 0, ""]) == "/a~1b/c~0d/0/"


def test_a_compiled_schema_is_not_another_ones():
    for limit in range(5):
        assert bool(violations({"maximum": limit}, 3, at="")) == (limit < 3)


# --- defaults --------------------------------------------------------------------------------------------------------

NESTED = {
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
    given = {"a": None, "b": {}, "d": {}, "list": [{}, {"g": 9}, 5], "anything": {}, "null": 0, "more": {}}
    filled = given | {"b": {"c": [1]}, "d": {"f": 2}, "list": [{"g": 3}, {"g": 9}, 5]}
    assert with_defaults(NESTED, given) == filled


def test_a_filled_document_shares_nothing_with_the_schema_or_the_given_one():
    given = {"b": {}}
    filled = with_defaults(NESTED, given)
    filled["b"]["c"].append(2)
    filled["d"]["e"] = 5
    assert NESTED["properties"]["b"]["properties"]["c"]["default"] == [1]
    assert NESTED["properties"]["d"]["default"] == {"e": 1}
    assert given == {"b": {}}


@pytest.mark.parametrize("document", [5, "text", None, True, [1, "a"]])
def test_what_is_no_object_stays_as_it_is(document):
    assert with_defaults(NESTED, document) == document


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
