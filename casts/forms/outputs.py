"""What comes back, as a table: the parts of an output schema with their types and descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from casts.forms import wording
from casts.forms.planning import NUMBER_WORDS, TEXT_WORDS, Planner, kind_of

LINES = 200
DEEPEST = 8
CHARS = 60_000
PLAIN = ("A whole number", "A number")  # which the type says already


@dataclass(frozen=True)
class Line:
    name: str
    type: str
    description: str
    hints: tuple[str, ...]
    always: bool  # whether it is there in any case
    level: int


@dataclass
class Outline:
    planner: Planner
    lines: list[Line] = field(default_factory=list)
    chars: int = CHARS
    cut: bool = False

    def add(self, name: str, schema: Any, *, always: bool, level: int, trail: frozenset[str]) -> None:
        if len(self.lines) >= LINES or self.chars < 0:
            self.cut = True
            return
        schema = schema if isinstance(schema, dict) else {}
        merged, nullable, trail = self.planner.merged(schema, trail)
        hints = tuple(hint for hint in wording.hints(merged, kind_of(merged)) if hint not in PLAIN)
        line = Line(
            name,
            type_of(merged, nullable),
            wording.cut(merged.get("description") or merged.get("title")),
            hints,
            always,
            level,
        )
        self.chars -= len(name) + len(line.description) + len(line.type) + sum(map(len, hints))
        self.lines.append(line)
        self.below(merged, level, trail)

    def below(self, schema: dict[str, Any], level: int, trail: frozenset[str]) -> None:
        if level >= DEEPEST:
            return
        properties, required = schema.get("properties"), schema.get("required", [])
        for name, sub in properties.items() if isinstance(properties, dict) else ():
            self.add(name, sub, always=name in required, level=level + 1, trail=trail)
        items = schema.get("items")
        if isinstance(items, dict):
            merged, _, inner = self.planner.merged(items, trail)
            if "properties" in merged or "items" in merged:
                self.below(merged, level, inner)


def outline(schema: Any) -> Outline:
    """Return the lines for a schema: of an object one for each field, of all else one for the whole."""
    found = Outline(Planner(schema))
    merged, _, trail = found.planner.merged(schema, frozenset())
    if isinstance(merged.get("properties"), dict):
        found.below(merged, -1, trail)
    else:
        found.add("", schema, always=True, level=0, trail=frozenset())
    return found


def type_of(schema: dict[str, Any], nullable: bool) -> str:
    """Return what a part is, in a few words."""
    if "const" in schema:
        named = f"always {wording.said(schema['const'])}"
    elif isinstance(values := schema.get("enum"), list):
        named = wording.cut("one of " + ", ".join(wording.said(value) for value in values[:20]), 300)
        named += ", …" if len(values) > 20 else ""
    else:
        kinds = schema.get("type")
        listed = kinds if isinstance(kinds, list) else [kinds] if isinstance(kinds, str) else guessed(schema)
        named = " or ".join(NAMES.get(kind, kind) for kind in listed) or "anything"
        items = schema.get("items")
        if named == "list" and isinstance(items, dict) and isinstance(items.get("type"), str):
            named = f"list of {PLURALS.get(items['type'], 'values')}"
    return f"{named} or null" if nullable and "null" not in named else named


NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false", "array": "list"}
PLURALS = {
    **{"string": "texts", "integer": "whole numbers", "number": "numbers", "object": "objects", "array": "lists"},
    "boolean": "true or false",
}


def guessed(schema: dict[str, Any]) -> list[str]:
    for words, kind in (
        (("properties",), "object"),
        (("items",), "array"),
        (TEXT_WORDS, "string"),
        (NUMBER_WORDS, "number"),
    ):
        if any(word in schema for word in words):
            return [kind]
    return []
