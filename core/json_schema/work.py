"""How much work it is to hold a document against a schema, known before it is done.

The validator can't be interrupted. Most documents are checked in microseconds, but schemas that refer to themselves, or
to one part from many places, may take a time that doubles with each level of a document, and the list of what is wrong
may be far larger than schema and document: every error holds a copy of what it is about. So the work is added up
first, each part of the schema at each place of the document once, however often the validator would come by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

from core import limits
from core.json_schema.parts import target

DEEPEST = 400  # parts of a schema within each other, at one place of a document or below
LARGE = 1e30  # numbers of which it takes long to say whether they are a multiple
AN_ERROR = 30  # what making an error costs, apart from what it holds


class TooMuchWork(ValueError):
    """Holding this document against this schema would take too long."""


class Work(NamedTuple):
    """Estimates, none too low: `valid` to say whether it fits, `every` to list all errors, `one` for the largest."""

    valid: int
    every: int
    one: int


# What a subschema under a word applies to: the same place, or what is in it. Of some it is only asked whether they fit.
HERE_LISTED = frozenset(("allOf", "anyOf", "oneOf"))
HERE = frozenset(("not", "if", "then", "else", "dependentSchemas"))
FOR_OBJECTS = frozenset(
    ("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames")
)
FOR_ARRAYS = frozenset(("prefixItems", "items", "contains", "unevaluatedItems"))
ASKED_ONLY = frozenset(("not", "if", "contains", "propertyNames"))
BRANCHES = frozenset(("anyOf", "oneOf"))


def of(schema: Any, document: Any, *, root: Any = None) -> Work:
    """Return the work; raise TooMuchWork if it can't even be estimated in reasonable time. `root`: of references."""
    return Estimate(schema if root is None else root).of(schema, document, 0)


@lru_cache(maxsize=512)
def at_most(schema_text: str) -> float:
    """Return an upper bound of `valid` for each character of a document, infinite for a schema that is recursive."""
    schema = json.loads(schema_text)
    try:
        return Expansion(schema).of(schema, 0)
    except TooMuchWork:
        return float("inf")


@dataclass
class Expansion:
    """A schema's size with every reference replaced by what it refers to."""

    root: Any
    known: dict[int, int] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)

    def of(self, schema: Any, depth: int) -> int:
        """Return it; raise TooMuchWork for a schema within itself, of which it would have no end."""
        if not isinstance(schema, dict):
            return 1
        if depth > DEEPEST or self.known.get(id(schema)) == 0:  # 0: we are within it
            raise TooMuchWork
        if (known := self.known.get(id(schema))) is not None:
            return known
        self.known[id(schema)] = 0
        total = 1 + len(schema) + len(schema.get("enum", ())) + len(schema.get("required", ()))
        for word, sub in subschemas(schema):
            if word in ("$ref", "$dynamicRef"):
                sub = resolved(self.root, sub, self.targets)
            total += self.of(sub, depth + 1) * (2 if word.startswith("unevaluated") else 1)
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            total *= 2
        self.known[id(schema)] = min(total, 2**60)
        return total


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what a schema applies, to its own place or below, with the word for it; of references the text."""
    for word, value in schema.items():
        if word in ("$ref", "$dynamicRef"):
            yield word, value
        elif word in ("allOf", "anyOf", "oneOf", "prefixItems") and isinstance(value, list):
            for sub in value:
                yield word, sub
        elif word in ("properties", "patternProperties", "dependentSchemas") and isinstance(value, dict):
            for sub in value.values():
                yield word, sub
        elif word in APPLIED:
            yield word, value


APPLIED = frozenset(
    (
        *("not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties"),
    )
)


def resolved(root: Any, ref: Any, known: dict[str, Any]) -> Any:
    if not isinstance(ref, str):
        return None
    if ref not in known:
        found = target(root, ref) if isinstance(root, dict) else None
        # Below another $id, or the schema of schemas: taken for as much as the whole.
        known[ref] = root if found is None else found
    return known[ref]


class Estimate:
    """One document against one schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[tuple[int, int], Work] = {}
        self._sizes: dict[int, int] = {}
        self._targets: dict[str, Any] = {}
        self._steps = 0

    def of(self, schema: Any, node: Any, depth: int) -> Work:
        """Return the work of a part at one place; raise TooMuchWork if there are too many parts, or too deep ones."""
        if not isinstance(schema, dict):
            return Work(1, AN_ERROR, AN_ERROR) if schema is False else Work(1, 0, 0)
        key = (id(schema), id(node))
        if (known := self._known.get(key)) is not None:
            return known
        if depth > DEEPEST:
            raise TooMuchWork
        self._known[key] = Work(0, 0, 0)  # a part that refers to itself at the same place adds nothing
        size = self.size(node)
        valid, held = own_work(schema, node), AN_ERROR + size + len(schema.get("enum", ()))
        every, one, branches = held * errors_of(schema), held, 0
        for word, sub, place in self._applied(schema, node):
            self._steps += 1
            if self._steps > limits.SCHEMA_STEPS:
                raise TooMuchWork
            below = self.of(sub, place, depth + 1)
            valid += below.valid
            if word in BRANCHES:
                branches += below.every + below.valid // 20  # they are asked first whether they fit
            elif word not in ASKED_ONLY:
                every += below.every
                one = max(one, below.one)
        if "unevaluatedProperties" in schema or "unevaluatedItems" in schema:
            valid *= 2
        work = self._known[key] = Work(valid, every + branches, max(one, held + branches))
        return work

    def _applied(self, schema: dict[str, Any], node: Any) -> Iterator[tuple[str, Any, Any]]:
        """Yield which subschemas apply to which values, here and one level below, with the word for it."""
        for word, value in schema.items():
            if word in ("$ref", "$dynamicRef"):
                yield word, resolved(self._root, value, self._targets), node
            elif word in HERE_LISTED:
                yield from ((word, sub, node) for sub in value)
            elif word in HERE:
                yield from ((word, sub, node) for sub in (value.values() if word == "dependentSchemas" else (value,)))
            elif word in FOR_OBJECTS and isinstance(node, dict):
                yield from of_object(word, value, node)
            elif word in FOR_ARRAYS and isinstance(node, list):
                subs = value if word == "prefixItems" else repeat(value)
                yield from ((word, sub, item) for sub, item in zip(subs, node, strict=False))

    def size(self, node: Any) -> int:
        """Return how many values there are in one."""
        if not isinstance(node, dict | list):
            return 1
        if (known := self._sizes.get(id(node))) is None:
            inner = node.values() if isinstance(node, dict) else node
            known = self._sizes[id(node)] = 1 + sum(map(self.size, inner))
        return known


def of_object(word: str, value: Any, node: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    if word == "properties":
        for name in value.keys() & node.keys():
            yield word, value[name], node[name]
    elif word == "patternProperties":
        for sub in value.values():  # which of them fit a name is not asked here
            for place in node.values():
                yield word, sub, place
    elif word == "propertyNames":
        for name in node:
            yield word, value, name
    else:
        for place in node.values():
            yield word, value, place


def own_work(schema: dict[str, Any], node: Any) -> int:
    """Return what a part's own words take at one place, in the time that a simple one takes."""
    work = 1 + len(schema) // 2 + len(schema.get("enum", ())) // 8
    if isinstance(node, str):
        return work + (len(node) // 16 if "pattern" in schema or "format" in schema else 0)
    if isinstance(node, dict):
        names = len(schema.get("properties", ())) + len(schema.get("required", ()))
        return work + names // 8 + len(schema.get("patternProperties", ())) * len(node)
    if isinstance(node, list):
        return work + len(node)
    return work + (1000 if "multipleOf" in schema and isinstance(node, float) and abs(node) > LARGE else 0)


def errors_of(schema: dict[str, Any]) -> int:
    """Return how many errors a part's own words can make at one place."""
    return len(schema) + len(schema.get("required", ())) + sum(map(len, schema.get("dependentRequired", {}).values()))
