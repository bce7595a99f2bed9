"""Schemas of which a form can be made, and values that fit them, as chance has it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Names and texts that have hurt forms elsewhere, beside ordinary ones.
NAMES = st.one_of(
    st.sampled_from(
        ["", "a.b", "a/b", "a[0]", "__proto__", "constructor", "~1", "%2F", "0", "ü", "名", "x y", "<b>", "'\""]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
)
TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "O'Brien", "<script>alert(1)</script>", "a\nb", "\na", "a\r\nb", "null", "{}", "&amp;", "-0"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)
Pair = tuple[dict[str, Any], Any]


def maybe_null(pair: Pair, null: bool, way: int) -> Pair:
    schema, value = pair
    if way == 0 and isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}, None if null else value
    if way == 1:
        return {"anyOf": [schema, {"type": "null"}], "title": "May be null"}, None if null else value
    return pair


SIMPLE: st.SearchStrategy[Pair] = st.one_of(
    st.tuples(st.sampled_from([{"type": "string"}, {"type": "string", "maxLength": 9000}]), TEXTS),
    st.tuples(st.just({"type": "string", "format": "date"}), st.dates().map(str)),
    st.tuples(
        st.just({"type": "string", "format": "date-time"}),
        st.datetimes().map(lambda at: at.replace(microsecond=0).isoformat() + "Z"),
    ),
    st.tuples(st.just({"type": "string", "format": "time"}), st.sampled_from(["10:00:00Z", "10:00:00.5+02:00"])),
    st.tuples(st.just({"type": "integer"}), st.integers()),
    st.tuples(st.just({"type": "integer", "minimum": -5, "maximum": 5}), st.integers(-5, 5)),
    st.tuples(st.just({"type": "number"}), NUMBERS),
    st.tuples(st.just({"type": "boolean"}), st.booleans()),
    st.tuples(st.just({"type": ["string", "integer"]}), TEXTS | st.integers()),
    st.tuples(st.just({}), ANYTHING),
    st.lists(SCALARS, min_size=1, max_size=4).flatmap(
        lambda values: st.tuples(st.just({"enum": values}), st.sampled_from(values))
    ),
    SCALARS.map(lambda value: ({"const": value}, value)),
    st.lists(TEXTS, min_size=1, max_size=3).flatmap(
        lambda values: st.tuples(
            st.just({"oneOf": [{"const": value, "title": "T"} for value in values]}), st.sampled_from(values)
        )
    ),
)


@st.composite
def objects(draw: Any, inner: st.SearchStrategy[Pair]) -> Pair:
    pairs = draw(st.dictionaries(NAMES, st.tuples(inner, st.booleans(), st.booleans()), min_size=1, max_size=4))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: pair[0] for name, (pair, _, _) in pairs.items()},
        "required": [name for name, (_, required, _) in pairs.items() if required],
    }
    value = {name: pair[1] for name, (pair, required, given) in pairs.items() if required or given}
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    else:
        extra = draw(st.dictionaries(NAMES, ANYTHING, max_size=2))
        value |= {name: other for name, other in extra.items() if name not in pairs}
    return schema, value


@st.composite
def arrays(draw: Any, inner: st.SearchStrategy[Pair]) -> Pair:
    schema, value = draw(inner)
    return {"type": "array", "items": schema}, [value] * draw(st.integers(0, 3))


def nullable(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.builds(maybe_null, inner, st.booleans(), st.integers(0, 5))


PAIRS: st.SearchStrategy[Pair] = nullable(
    st.recursive(nullable(SIMPLE), lambda inner: nullable(objects(inner)) | nullable(arrays(inner)), max_leaves=8)
)
