"""Filling a schema's defaults into a document."""

from __future__ import annotations

import copy
from typing import Any

from core import limits
from core.db.documents import written
from core.json_schema.parts import target

DEEPEST = 150  # levels of a filled document; requests have a hundred at most


class EndlessDefault(ValueError):
    """A default that contains itself."""


class TooLarge(ValueError):
    """With the defaults filled in, the document would be larger, or take more work, than is allowed."""


def with_defaults(schema: Any, document: Any, *, most_chars: int | None = None) -> Any:
    """Return a copy of `document` with the schema's defaults filled in where object properties are missing.

    JSON Schema leaves `default` without effect; callers expect it to have one. Followed are properties, items,
    additionalProperties, local `$ref`s and allOf: under oneOf, if and the like it would be a guess which branch's
    default is meant. Raise TooLarge if the defaults alone have more than `most_chars` characters of JSON: a default
    that is filled into each of many items makes much of little.
    """
    try:
        return Filling(schema, most_chars).of(schema, document, DEEPEST)
    except EndlessDefault:  # of a schema that was never checked
        return document


class Filling:
    """One document's filling: what it may still spend, and what of the schema was looked up already."""

    def __init__(self, root: Any, most_chars: int | None = None) -> None:
        self._root = root
        self._chars = most_chars
        self._steps = limits.SCHEMA_STEPS
        self._together: dict[int, list[dict[str, Any]]] = {}
        self._sizes: dict[int, int] = {}

    def of(self, schema: Any, document: Any, levels: int) -> Any:
        """Fill at one place; raise EndlessDefault if there are more levels below, TooLarge."""
        if levels == 0:
            raise EndlessDefault
        if isinstance(document, dict):
            return self._object(schema, document, levels)
        if isinstance(document, list):
            return self._list(schema, document, levels)
        return document

    def _object(self, schema: Any, document: dict[str, Any], levels: int) -> dict[str, Any]:
        filled = dict(document)
        for part in self.together(schema):
            properties = part.get("properties", {})
            self._spend(len(properties))
            for name, sub in properties.items():
                if name in filled:
                    filled[name] = self.of(sub, filled[name], levels - 1)
                    continue
                for source in self.together(sub):
                    if "default" in source:
                        filled[name] = self.of(sub, self._copied(source, name), levels - 1)
                        break
            if isinstance(others := part.get("additionalProperties"), dict) and "patternProperties" not in part:
                for name in filled.keys() - properties.keys():
                    filled[name] = self.of(others, filled[name], levels - 1)
        return filled

    def _list(self, schema: Any, document: list[Any], levels: int) -> list[Any]:
        items = list(document)
        for part in self.together(schema):
            first, others = part.get("prefixItems", []), part.get("items")
            self._spend(len(items))
            for index, item in enumerate(items):
                items[index] = self.of(first[index] if index < len(first) else others, item, levels - 1)
        return items

    def together(self, schema: Any) -> list[dict[str, Any]]:
        """Return a schema and those that apply together with it, each once: behind `$ref`, and in allOf."""
        if not isinstance(schema, dict):
            return []
        if (known := self._together.get(id(schema))) is None:
            found: dict[int, dict[str, Any]] = {}
            self._gather(schema, found)
            known = self._together[id(schema)] = list(found.values())
        self._spend(len(known))
        return known

    def _gather(self, schema: Any, found: dict[int, dict[str, Any]]) -> None:
        waiting = [schema]
        while waiting:
            part = waiting.pop()
            if not isinstance(part, dict) or id(part) in found:
                continue
            found[id(part)] = part
            self._spend(1)
            ref = part.get("$ref")
            # What is behind the reference comes first, then the list in its order.
            waiting += reversed(part.get("allOf", ()))
            if isinstance(ref, str):
                waiting.append(target(self._root, ref))

    def _copied(self, source: dict[str, Any], name: str) -> Any:
        if self._chars is not None:
            if id(source) not in self._sizes:
                self._sizes[id(source)] = len(written(source["default"]))
            self._chars -= self._sizes[id(source)] + len(name) + 4
            if self._chars < 0:
                raise TooLarge
        return copy.deepcopy(source["default"])

    def _spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooLarge
