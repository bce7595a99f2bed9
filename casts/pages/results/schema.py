"""What a spell's output schema says of one place in the output. Everything in it is optional."""

from __future__ import annotations

from typing import Any

from core.json_schema.parts import target

Schema = dict[str, Any]
HOPS = 10  # from one reference to the next


def resolved(schema: Any, root: Any) -> Schema:
    """Return a schema with references within it followed, and of alternatives the first that is not null."""
    for _ in range(HOPS):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        followed = target(root, reference) if isinstance(reference, str) else None
        if followed is None:
            followed = alternative(schema)
        if followed is None:
            return schema
        # What stands beside a reference goes first: its title is about this very place.
        beside = {name: value for name, value in schema.items() if name not in ("$ref", "anyOf", "oneOf", "allOf")}
        schema = followed | beside if isinstance(followed, dict) else beside
    return {}


def alternative(schema: Schema) -> Any:
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(some := schema.get(word), list):
            return next((one for one in some if isinstance(one, dict) and one.get("type") != "null"), None)
    return None


def property_of(schema: Schema, name: str, root: Any) -> Schema:
    properties = schema.get("properties")
    return resolved(properties.get(name) if isinstance(properties, dict) else None, root)


def items_of(schema: Schema, root: Any) -> Schema:
    return resolved(schema.get("items"), root)


def in_order(schema: Schema, names: list[str]) -> list[str]:
    """Return names as the schema has them in order, and those after that it doesn't know."""
    known = schema.get("properties")
    first = [name for name in known if name in names] if isinstance(known, dict) else []
    told = set(first)
    return first + [name for name in names if name not in told]


def text_of(schema: Schema, word: str) -> str:
    return found if isinstance(found := schema.get(word), str) else ""
