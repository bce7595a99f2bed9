"""What of an output is shown how, and how much of it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.template.loader import render_to_string
from hypothesis import given, settings
from hypothesis import strategies as st

from casts.pages.results import files, page, values
from casts.pages.results.budget import Budget
from casts.pages.results.page import VALUES
from core.limits import RESULT_BYTES
from github_integration.words import WORDS

LINK = "https://x.example/api/v1/casts/c/events?token=t"


def shown(output, schema=None, most=VALUES):
    return values.shown(output, schema, Budget(most))


def rendered(output, schema=None, summary=None) -> str:
    cast = SimpleNamespace(
        spell=SimpleNamespace(output_schema=schema, version=1, runtime="workflow_dispatch"), spell_version=1
    )
    as_api = {"output": output, "summary": summary, "events_url": LINK}
    result = {
        "output": page.output_of(cast, as_api),  # type: ignore[arg-type]
        "summary": page.summary_of(as_api),
    }
    return render_to_string("casts/_result.html", {"result": result})


@pytest.mark.parametrize(
    ("value", "schema", "kind", "text"),
    [
        (12345678901234567890, {}, "number", "12345678901234567890"),
        (1e22, {}, "number", "1e+22"),
        (-0.5, {}, "number", "-0.5"),
        (True, {}, "word", "yes"),
        (None, {}, "word", "none"),
        ("plain", {}, "text", "plain"),
        ("two\nlines", {}, "long", "two\nlines"),
        ("https://x.example/a?b=c", {}, "link", "https://x.example/a?b=c"),
        ("https://x.example and more", {}, "text", "https://x.example and more"),
        ("javascript:alert(1)", {"format": "uri"}, "text", "javascript:alert(1)"),
        ("https://[", {"format": "uri"}, "text", "https://["),
        ("ada@x.example", {"format": "email"}, "link", "ada@x.example"),
        ("ada@x.example?bcc=b", {"format": "email"}, "text", "ada@x.example?bcc=b"),
        ("2026-11-23T15:38:06Z", {}, "moment", "23 Nov 2026, 15:38:06 UTC"),
        ("2026-02-31T15:38:06Z", {"format": "date-time"}, "text", "2026-02-31T15:38:06Z"),
        ("2026-11-23", {"format": "date"}, "text", "23 November 2026"),
        ("2026-11-23", {}, "text", "2026-11-23"),
        ("**a**", {"contentMediaType": "text/markdown"}, "markdown", ""),
        ("9" * 300, {}, "text", "9" * 300),
        ("9" * 301, {}, "long", "9" * 301),
        ([], {}, "tree", ""),
        ([1, "a"], {}, "list", ""),
        ([1, [2]], {}, "tree", ""),
        ([{"a": 1}, {"b": 2}], {}, "table", ""),
    ],
)
def test_a_value_is_shown_by_its_shape_and_by_what_the_schema_says(value, schema, kind, text):
    found = shown(value, schema)
    assert (found.kind, found.text) == (kind, text)


def test_the_schema_says_names_order_and_what_they_mean():
    schema = {
        "$ref": "#/$defs/report",
        "$defs": {
            "report": {
                "properties": {
                    "b": {"title": "Second letter", "description": "comes first"},
                    "rows": {"type": "array", "items": {"properties": {"z": {"title": "Zed"}, "a": {}}}},
                    "when": {"anyOf": [{"type": "null"}, {"format": "date"}]},
                }
            }
        },
    }
    found = shown({"a_b": {"c": 1}, "rows": [{"a": 1, "z": 2}], "b": 2, "when": "2026-01-02"}, schema)
    told = [(one.label, one.about, one.value.kind) for one in found.fields]
    assert told == [
        ("Second letter", "comes first", "number"),
        ("Rows", "", "table"),
        ("When", "", "text"),
        ("A b", "", "fields"),
    ]
    assert found.fields[1].value.columns == ["Zed", "A"]
    assert found.fields[2].value.text == "2 January 2026"


@pytest.mark.parametrize("schema", [True, {"properties": 3}, {"$ref": "#"}, {"anyOf": 1, "$ref": 5}, {"title": ["x"]}])
def test_whatever_the_schema_is_the_value_is_shown(schema):
    assert "Output as JSON" in rendered({"a": 1}, schema)


def test_a_large_table_is_shown_in_part_and_given_whole():
    found = rendered({"a/b": [{f"c{n}": number for n in range(20)} for number in range(1234)]})
    assert "The first 50 of 1,234 rows, without 8 more columns." in found
    assert 'href="/api/v1/casts/c/output.csv?token=t&amp;at=%2Fa~1b"' in found
    assert "All 1,234 rows as CSV" in found
    assert found.count("<tr>") == 51


LARGE = {
    "numbers": list(range(45_000)),
    "lists in lists": [[[1]]] * 30_000,
    "a long text": "<&>\"'" * 40_000,
    "lines": "\n" * 130_000,
    "many fields": {f"name {n}": n for n in range(13_000)},
    "objects": [{"a": {"b": [n]}} for n in range(11_000)],
    "texts": ["<" * 180] * 1_300,
    "wide rows": [{f"c{n}": "&" * 15 for n in range(1000)}] * 10,
    "deep": json.loads("[" * 95 + "1" + "]" * 95),
    "links": ["https://x.example/" + "a" * 1900] * 130,
    "deep and wide": [{"a": [{"b": ["'" * 100] * 20}] * 10}] * 8,
    "markdown": {"m": "**a** " * 8000},
    "a number": int("9" * 4000),
}


@pytest.mark.parametrize("name", LARGE)
def test_whatever_the_output_its_part_of_the_page_is_bounded(name):
    output = LARGE[name]
    assert len(json.dumps(output, separators=(",", ":")).encode()) <= RESULT_BYTES
    found = rendered(output, {"properties": {"m": {"contentMediaType": "text/markdown"}}}, summary="**a** " * 10_000)
    assert len(found.encode()) < 190_000
    assert "output.json?token=t" in found


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        ["<script>alert(1)</script>", "https://x.example/\"'><b>", "2026-01-01T00:00:00Z", "javascript:x"]
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=30,
)


class Harmless(HTMLParser):
    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "style", "img", "iframe", "object", "b")
        for name, value in attrs:
            assert not name.startswith("on")
            assert name != "style"
            assert name != "href" or value.startswith(("https://", "http://", "mailto:", "/api/v1/casts/c/"))


@settings(deadline=None, max_examples=60)
@given(ANY, ANY)
def test_nothing_in_an_output_becomes_markup(output, schema):
    if output is not None:
        Harmless().feed(rendered(output, schema))


def test_only_a_stored_artifact_is_linked():
    one = {"file_name": "a.zip", "url": "https://spells.example/a?token=t", "size_bytes": 5, "digest": None}
    one |= {"expires_at": "2026-11-23T15:38:06Z"}
    stored = files.line_of(one | {"state": "stored"}, WORDS)
    assert (stored.url, stored.until_text) == ("/a?token=t", "23 Nov 2026")
    for state, fact in (("pending", "still being copied"), ("failed", "could not"), ("expired", "no longer")):
        line = files.line_of(one | {"state": state}, WORDS)
        assert (line.url, line.until) == (None, None)
        assert fact in line.note
