"""From a schema to fields, within bounds: what is too much for a form becomes a part that is typed as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from casts.forms import wording
from casts.forms.fields import ABSENT, JSON, Choice, Field, Kind
from core.db.documents import written
from core.json_schema.parts import target

FIELDS = 250  # of a form; a form of them has fewer controls than Django reads (DATA_UPLOAD_MAX_NUMBER_FIELDS)
CHARS = 120_000  # of all texts of a form: a definition that is referred to from many places is shown at each
DEEPEST = 8
LONG = 200  # characters from which on a text gets a box of several lines
SAFE = 2**53

ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment")
)
# What a form has nothing for. Other words only say which values are good, which is judged when the form is read.
TOO_HARD = {
    "if": "it depends on its own values (if)",
    "dependentSchemas": "it depends on its own values (dependentSchemas)",
    "patternProperties": "its fields have names of a pattern",
    "prefixItems": "each of its items is of another kind",
    "allOf": "several schemas apply to it at once (allOf)",
    "anyOf": "it may be one of several kinds (anyOf)",
    "oneOf": "it may be one of several kinds (oneOf)",
    "$ref": "it refers to itself, or to more than can be followed",
    "$dynamicRef": "it refers to what is known only at the time",
}
FREE = "any value may stand here"
TEXT_WORDS = frozenset(("minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"))
NUMBER_WORDS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def plan(schema: JSON) -> Field:
    """Return the form of a schema, which has been checked."""
    return Planner(schema).field(schema, required=True)


@dataclass
class Planner:
    """One schema, and how much of a form may still be made of it."""

    root: Any
    fields: int = FIELDS
    chars: int = CHARS

    def field(
        self,
        schema: Any,
        *,
        name: str = "",
        required: bool = False,
        item: bool = False,
        trail: frozenset[str] = frozenset(),
        depth: int = 0,
        at: int = 0,
    ) -> Field:
        """Return the field of a part. `trail`: the references that led here. `at`: the characters of its path."""
        schema = schema if isinstance(schema, dict) else {}
        merged, nullable, trail = self.merged(schema, trail)
        made = Field(
            kind=Kind.JSON,
            name=name,
            label=wording.label(merged, name),
            description=wording.cut(merged.get("description")),
            # A default is filled in for what is missing, so that it need not be there.
            required=required and "default" not in merged,
            is_item=item,
            nullable=nullable,
            default=merged.get("default", ABSENT),
            example=wording.example(merged),
        )
        self.fields -= 1
        at += len(name) * 2 + 20
        self.chars -= 6 * at + len(made.label)
        if self.fields < 0 or self.chars < len(made.description):
            return replace(made, description="", example=ABSENT, why=wording.TOO_LONG)
        self.chars -= len(made.description)
        made = self.of_kind(made, merged, trail, depth, at)
        own = sum(map(len, made.hints)) + sum(2 * len(choice.text) + 60 for choice in made.choices)
        self.chars -= own
        # For want of room a part with fields in it stays, and those that come too late are JSON; but not without end.
        if self.chars < (-CHARS if made.fields or made.item else 0):
            return replace(
                made, kind=Kind.JSON, choices=(), fields=(), item=None, hints=(), size=1, why=wording.TOO_LONG
            )
        return made

    def merged(self, schema: dict[str, Any], trail: frozenset[str]) -> tuple[dict[str, Any], bool, frozenset[str]]:
        """Return a part with what it refers to, whether null fits, too, and the trail; as far as that is simple."""
        nullable = False
        while True:
            if isinstance(ref := schema.get("$ref"), str):
                inner, here = target(self.root, ref), "$ref"
                if ref in trail or not isinstance(inner, dict) or "$id" in inner:
                    break
            elif isinstance(listed := schema.get("allOf"), list) and len(listed) == 1:
                inner, here, ref = listed[0], "allOf", ""
            else:
                found = [(word, but_null(schema[word])) for word in ("anyOf", "oneOf") if word in schema]
                if len(found) != 1 or found[0][1] is None:
                    break
                (here, inner), ref = found[0], ""
                nullable = True
            mine = {word: value for word, value in schema.items() if word != here}
            if not isinstance(inner, dict) or (mine.keys() & inner.keys()) - ANNOTATIONS - {"$defs"}:
                break
            schema, trail = inner | mine, trail | {ref} - {""}
        kinds = schema.get("type")
        if isinstance(kinds, list) and "null" in kinds:
            rest = [kind for kind in kinds if kind != "null"]
            # Where the values are listed, null is one of them or does not fit.
            nullable |= "enum" not in schema and "const" not in schema
            return {**schema, "type": rest[0] if len(rest) == 1 else rest}, nullable, trail
        return schema, nullable, trail

    def of_kind(self, made: Field, schema: dict[str, Any], trail: frozenset[str], depth: int, at: int) -> Field:
        if choices := told_apart(choices_of(schema)):
            if made.nullable and all(choice.value is not None for choice in choices):
                choices = (*choices, Choice(None, "null", "null"))
            hints = wording.hints(schema, Kind.CHOICE)
            return replace(made, kind=Kind.CHOICE, choices=choices, nullable=False, hints=hints)
        if hard := [why for word, why in TOO_HARD.items() if word in schema]:
            return replace(made, why=hard[0])
        kind = kind_of(schema)
        if kind is None:
            kinds = schema.get("type")
            return replace(made, why="it may be of several types" if isinstance(kinds, list) else FREE)
        made = replace(made, kind=kind, hints=wording.hints(schema, kind))
        if kind == Kind.TEXT:
            return as_text(made, schema)
        if kind == Kind.NUMBER:
            integer = schema.get("type") == "integer"
            return replace(made, integer=integer, bounds=bounds_of(schema) if integer else None)
        if kind in (Kind.OBJECT, Kind.ARRAY) and depth >= DEEPEST:
            return replace(made, kind=Kind.JSON, why="it is nested too deeply")
        if kind == Kind.OBJECT:
            return self.as_object(made, schema, trail, depth, at)
        if kind == Kind.ARRAY:
            return self.as_array(made, schema, trail, depth, at)
        return made

    def as_object(self, made: Field, schema: dict[str, Any], trail: frozenset[str], depth: int, at: int) -> Field:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        extra = schema.get("additionalProperties", True) is not False
        if not properties:
            return replace(made, kind=Kind.JSON, why="it may have any fields") if extra else replace(made, open=False)
        if len(properties) > self.fields:
            return replace(made, kind=Kind.JSON, why=f"it has {len(properties)} fields, too many for a form")
        fields = tuple(
            self.field(sub, name=name, required=name in required, trail=trail, depth=depth + 1, at=at)
            for name, sub in properties.items()
        )
        return replace(made, fields=fields, open=extra, size=1 + sum(one.size for one in fields))

    def as_array(self, made: Field, schema: dict[str, Any], trail: frozenset[str], depth: int, at: int) -> Field:
        if not isinstance(schema.get("items"), dict):
            return replace(made, kind=Kind.JSON, why="its items may be anything")
        item = self.field(schema["items"], item=True, trail=trail, depth=depth + 1, at=at)
        least = schema.get("minItems", 0)
        return replace(made, item=item, least_items=least if isinstance(least, int) else 0, size=1 + item.size)


def but_null(branches: Any) -> Any:
    """Return the other one of two branches of which one is for null alone; None if that is not what they are."""
    if not isinstance(branches, list) or len(branches) != 2:
        return None
    rest = [one for one in branches if not (isinstance(one, dict) and one.get("type") == "null")]
    return rest[0] if len(rest) == 1 else None


def choices_of(schema: dict[str, Any]) -> tuple[Choice, ...]:
    """Return the values of which a part is one, in the order of the schema; none if it is not of that kind."""
    if "const" in schema:
        return (choice(schema["const"], schema),)
    if isinstance(values := schema.get("enum"), list):
        return tuple({one.text: one for one in map(choice, values)}.values())
    for word in ("anyOf", "oneOf"):
        branches = schema.get(word)
        if (
            isinstance(branches, list)
            and branches
            and all(isinstance(one, dict) and "const" in one for one in branches)
        ):
            return tuple({one.text: one for one in (choice(b["const"], b) for b in branches)}.values())
    return ()


def told_apart(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Have choices that read alike, such as 1 and "1", read as JSON."""
    alike = Counter(one.label for one in choices)
    return tuple(replace(one, label=one.text) if alike[one.label] > 1 else one for one in choices)


def choice(value: JSON, schema: dict[str, Any] | None = None) -> Choice:
    title = (schema or {}).get("title") if schema is not None and "enum" not in schema else None
    text = written(value)
    said = value if isinstance(value, str) and value.strip() else text
    return Choice(value, text, f"{title} ({said})" if isinstance(title, str) and title != said else wording.cut(said))


def kind_of(schema: dict[str, Any]) -> Kind | None:
    """Return which control a part needs; where its type is not said, by what else is said of it."""
    kinds = {"string": Kind.TEXT, "integer": Kind.NUMBER, "number": Kind.NUMBER, "boolean": Kind.BOOLEAN}
    kinds |= {"object": Kind.OBJECT, "array": Kind.ARRAY}
    named = schema.get("type")
    if isinstance(named, list):
        named = named[0] if len(named) == 1 else "number" if set(named) == {"integer", "number"} else None
        return kinds.get(named) if isinstance(named, str) else None
    if isinstance(named, str):
        return kinds.get(named)
    if "properties" in schema:
        return Kind.OBJECT
    if "items" in schema:
        return Kind.ARRAY
    if TEXT_WORDS & schema.keys():
        return Kind.TEXT
    return Kind.NUMBER if NUMBER_WORDS & schema.keys() else None


def as_text(made: Field, schema: dict[str, Any]) -> Field:
    media, encoded = schema.get("contentMediaType", ""), schema.get("contentEncoding", "")
    most, least = schema.get("maxLength"), schema.get("minLength", 0)
    upload = "base64" if str(encoded).lower() == "base64" else "text" if media and not encoded else ""
    pattern, form = schema.get("pattern", ""), schema.get("format", "")
    return replace(
        made,
        format=form if isinstance(form, str) else "",
        long=bool(upload) or (isinstance(most, int) and most > LONG),
        upload=upload,
        may_be_empty=not (least or form or pattern or encoded),
        min_length=least if isinstance(least, int) else 0,
        pattern=wording.html_pattern(pattern) if isinstance(pattern, str) else "",
    )


def bounds_of(schema: dict[str, Any]) -> tuple[int, int] | None:
    """Return the bounds of a whole number if both are said, and every browser counts exactly between them."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if type(low) is not int or type(high) is not int or not -SAFE < low <= high < SAFE:
        return None
    return low, high
