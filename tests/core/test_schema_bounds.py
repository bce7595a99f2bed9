"""Schemas and documents that would take the validator long, or make much of little: what is said instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core import limits
from core.json_schema import BadSchema, TooLarge, check, documents, violations, with_defaults, work


def doubling(levels: int) -> dict[str, Any]:
    """Return a schema of which a validator goes twice through each level."""
    parts: dict[str, Any] = {"0": {"type": "string"}}
    for n in range(1, levels):
        parts[str(n)] = {"anyOf": [{"$ref": f"#/$defs/{n - 1}"}, {"$ref": f"#/$defs/{n - 1}"}]}
    return {"$defs": parts, "$ref": f"#/$defs/{levels - 1}"}


OPERANDS = {"left": {"$ref": "#/$defs/e"}}
OPERATION = {"type": "object", "required": ["op", "left"]}
TREE = {  # as generators write unions: each kind has its own `op`, and all have a `left`
    "$defs": {
        "e": {
            "oneOf": [
                {"type": "integer"},
                *(OPERATION | {"properties": OPERANDS | {"op": {"const": op}}} for op in "+-*/"),
            ]
        }
    },
    "$ref": "#/$defs/e",
}


def tree(levels: int) -> Any:
    return 5 if levels == 0 else {"left": tree(levels - 1), "op": "+"}


MANY = [f"option {n}" for n in range(3000)]

# Each of these took seconds to minutes, or gigabytes, when all of its errors were made.
TOO_MUCH: list[tuple[str, dict[str, Any], Any, str]] = [
    ("doubled at each level", doubling(60), 5, documents.TOO_MUCH),
    ("errors doubled at each level", doubling(16), 5, "It does not fit, and what is wrong is too much to tell."),
    ("a chain", {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, 5, ""),
    ("a deep tree", TREE, tree(90), documents.TOO_MUCH),
    ("many parts for many items", {"items": {"allOf": [{"minimum": -n} for n in range(1000)]}}, [5] * 30_000, ""),
    ("a long enum for many items", {"items": {"enum": MANY}}, ["x"] * 10_000, documents.TOO_MANY),
    ("many patterns", {"patternProperties": {f"^{n}": {} for n in range(199)}}, dict.fromkeys(MANY, 1), ""),
    ("many required", {"required": MANY}, dict.fromkeys(map(str, range(9999)), 1), documents.TOO_MANY),
]


@pytest.mark.parametrize(("schema", "document", "told"), [case[1:] for case in TOO_MUCH], ids=[c[0] for c in TOO_MUCH])
def test_what_takes_too_much_work_is_known_before_it_is_done(schema, document, told):
    check(schema)
    found = violations(schema, document, at="/input")
    if told:
        assert len(found) == 1
        assert found[0]["detail"].startswith(told)
    assert len(json.dumps(found)) < limits.VIOLATIONS * 2 * limits.VIOLATION_CHARS


def test_trees_of_a_usual_depth_are_checked():
    assert violations(TREE, tree(8), at="") == []
    assert [v["pointer"] for v in violations(TREE, tree(2) | {"op": "?"}, at="/input")] == ["/input"]


def test_violations_are_few_and_short():
    long = "x" * 1000
    found = violations({"additionalProperties": {"type": "integer"}}, {f"{long}{n}": long for n in range(300)}, at="")
    assert len(found) == limits.VIOLATIONS
    assert {len(text) for v in found for text in v.values()} == {limits.VIOLATION_CHARS}
    assert all(text.endswith("…") for v in found for text in v.values())


def test_an_estimate_is_never_too_low_for_what_refers_to_itself():
    # Depth by depth, the tree above is gone through four times as often; the estimate knows without going.
    first, second = work.of(TREE, tree(3)), work.of(TREE, tree(4))
    assert second.valid > 3 * first.valid
    with pytest.raises(work.TooMuchWork):
        work.of({"items": {}}, [0] * (limits.SCHEMA_STEPS + 1))


# --- patterns ---


@pytest.mark.parametrize(
    ("where", "schema"),
    [
        ("/pattern", {"pattern": "(?=x)a"}),
        ("/properties/a/pattern", {"properties": {"a": {"pattern": r"(a)\1"}}}),
        ("/patternProperties", {"patternProperties": {"a(?!b)": {}}}),
        ("/not/pattern", {"not": {"pattern": "(?<=x)a"}}),
        ("/pattern", {"pattern": "^(a{1,1000}){1,100}$"}),
        ("A pattern of this schema", {"$ref": "#/x-own", "x-own": {"pattern": "(?=x)a"}}),
    ],
)
def test_a_pattern_that_needs_backtracking_is_refused_with_its_place(where, schema):
    with pytest.raises(BadSchema) as refused:
        check(schema)
    [told] = refused.value.problems
    assert where in told
    assert "looks ahead or behind" in told


def test_a_spell_that_was_stored_with_such_a_pattern_goes_on():
    stored = {"items": {"pattern": "^(?=a)(a|aa)+$"}}
    assert violations(stored, ["a" * 20], at="") == []
    assert violations(stored, ["b"], at="/input")[0]["pointer"] == "/input/0"
    assert len(violations(stored, ["a" * 500 + "!"] * 200, at="")) == limits.VIOLATIONS  # or it would never end


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        (r"^\d$", "7", "\u0663"),  # an Arabic digit
        (r"^\w$", "_", "é"),
        (r"^\s$", "\u00a0", "x"),
        ("^a$", "a", "a\n"),
        ("^.$", "🔑", "ab"),
        ("b", "abc", "ac"),  # not anchored
        (r"^\u0041\/\-$", "A/-", "a/-"),
        (r"^\p{L}+$", "Ünï", "1"),
        ("^(a+)+$", "a" * 50_000, "a" * 50_000 + "!"),
    ],
)
def test_patterns_mean_what_they_mean_in_ecmascript(pattern, fits, not_):
    check({"pattern": pattern})
    assert violations({"pattern": pattern}, fits, at="") == []
    assert len(violations({"pattern": pattern}, not_, at="")) == 1


# --- schemas that are too large ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"description": "x" * limits.SCHEMA_BYTES}, "bytes of compact JSON at most"),
        ({"allOf": [{"pattern": f"a{n}"} for n in range(limits.SCHEMA_PATTERNS + 1)]}, "different patterns at most"),
        ({"properties": {f"p{n}": {"type": "no"} for n in range(1000)}}, "is no type"),
        (json.loads('{"not":' * 101 + "{}" + "}" * 101), "nested more than 100 deep"),
    ],
)
def test_a_schema_that_is_too_large_is_refused(schema, told):
    with pytest.raises(BadSchema) as refused:
        check(schema)
    assert told in str(refused.value)
    assert len(refused.value.problems) <= limits.VIOLATIONS
    assert max(map(len, refused.value.problems)) <= limits.VIOLATION_CHARS


# --- defaults ---


def test_defaults_do_not_make_much_of_little():
    items = {"items": {"properties": {"a": {"default": "x" * 1000}}}}
    assert len(with_defaults(items, [{}] * 50, most_chars=60_000)) == 50
    with pytest.raises(TooLarge):
        with_defaults(items, [{}] * 60, most_chars=60_000)
    twice: dict[str, Any] = {"0": {}}
    for n in range(1, 40):
        inner = {"$ref": f"#/$defs/{n - 1}", "default": {}}
        twice[str(n)] = {"properties": {"a": inner, "b": inner}}
    with pytest.raises(TooLarge):
        with_defaults({"$defs": twice, "$ref": "#/$defs/39"}, {}, most_chars=60_000)


def test_what_holds_together_is_looked_at_once_however_many_ways_lead_there():
    parts: dict[str, Any] = {"0": {"properties": {"a": {"default": 1}}}}
    for n in range(1, 60):
        parts[str(n)] = {"allOf": [{"$ref": f"#/$defs/{n - 1}"}, {"$ref": f"#/$defs/{n - 1}"}]}
    assert with_defaults({"$defs": parts, "$ref": "#/$defs/59"}, {}) == {"a": 1}
