"""What is left of a cast, and what was asked of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from casts.pages.asked import CHARS, asked_of
from casts.pages.outlook import outlook_of

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("began", "usual", "place", "text"),
    [
        (80, 120.0, None, "usually 2 min, about 40 s left"),
        (117, 120.0, None, "usually 2 min, about 3 s left"),
        (121, 120.0, None, "usually 2 min; this takes longer than usual"),
        (80, None, None, ""),
        (None, 120.0, None, "Usually 2 min, once it has begun."),
        (None, 9000.0, 3, "Place 3 in line. Usually 2 h, once it has begun."),
        (None, None, 1, "Next in line."),
    ],
)
def test_what_is_left_is_what_was_and_no_promise(began: int | None, usual: float | None, place: int | None, text: str):
    started = None if began is None else (NOW - dt.timedelta(seconds=began)).isoformat()
    shown = {"final": False, "started_at": started, "queue_position": place}
    assert outlook_of(shown, usual, NOW)["text"] == text
    assert outlook_of(shown | {"final": True}, usual, NOW)["text"] == ""


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ({"name": "Ada", "times": 2, "loud": True}, [("Who", "Ada"), ("times", "2"), ("loud", "yes")]),
        ({"name": None, "times": 1.0}, [("Who", "nothing"), ("times", "1.0")]),
        (
            {"name": {"first": "Ada", "pets": ["cat", {"kind": "dog"}], "none": []}},
            [
                ("Who: First name", "Ada"),
                ("Who: pets 1", "cat"),
                ("Who: pets 2: kind", "dog"),
                ("Who: none", "[]"),
            ],
        ),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, [("a: b: c: d: e: f", '{\n  "g": 1\n}')]),
        ({"many": list(range(41))}, []),
        (["Ada"], []),
        ({}, []),
    ],
)
def test_what_was_asked_is_a_list_where_it_is_short(value: Any, items: list[tuple[str, str]]):
    name = {"title": "Who", "properties": {"first": {"$ref": "#/$defs/first"}}}
    defined = {"first": {"title": "First name"}}
    properties = {"name": name, "times": True, "loud": {"title": 3}}
    asked = asked_of(value, {"properties": properties, "$defs": defined})
    assert [(one["name"], one["text"]) for one in asked["items"]] == items
    assert (asked["json"] is None) == bool(items)


def test_a_large_input_is_cut():
    for value in ({"text": "x" * 60_000}, {f"a{n}": "x" * 1500 for n in range(40)}, ["x" * 60_000]):
        asked = asked_of(value, None)
        assert asked["cut"]
        assert len(asked["json"] or "") + sum(len(one["text"]) for one in asked["items"]) <= CHARS
