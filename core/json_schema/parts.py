"""Schemas as trees: their parts, where references lead, and what holds together at one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

# Where subschemas stand: alone, in lists, under names. What is under `not` and `if` may well be odd on purpose.
ALONE = (
    *("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
    *("then", "else", "contentSchema"),
)
LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


class BadSchema(ValueError):
    """Not a JSON Schema that we can use. `problems` lists its mistakes with their places; str() has them all."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def refuse(uri: str) -> Any:
    raise ValueError(uri)


def pointer(path: list[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of a path, "" for the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def parts_below(
    schema: Any, path: tuple[str | int, ...] = (), *, alone: tuple[str, ...] = ALONE
) -> Iterator[tuple[list[str | int], dict[str, Any]]]:
    """Yield a schema, which need not be well formed, and all schemas within it, with their places."""
    if not isinstance(schema, dict):
        return
    yield list(path), schema
    for name in schema:
        inner: Iterable[tuple[tuple[str | int, ...], Any]] = ()
        if name in alone:
            inner = [((name,), schema[name])]
        elif name in LISTED and isinstance(schema[name], list):
            inner = [((name, index), sub) for index, sub in enumerate(schema[name])]
        elif name in NAMED and isinstance(schema[name], dict):
            inner = [((name, key), sub) for key, sub in schema[name].items()]
        for where, sub in inner:
            yield from parts_below(sub, (*path, *where), alone=alone)


def target(root: Any, ref: str) -> Any:
    """Return what a reference within the document refers to, None for others."""
    base, _, fragment = ref.partition("#")
    if base not in ("", str(root.get("$id", "")).rstrip("#")):
        return None
    fragment = unquote(fragment)
    if fragment and not fragment.startswith("/"):
        anchored = (
            part for _, part in parts_below(root) if fragment in (part.get("$anchor"), part.get("$dynamicAnchor"))
        )
        return next(anchored, None)
    found = root
    for step in fragment.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (LookupError, ValueError, TypeError):
            return None
    return found
