"""Checking spells' schemas: whether they are any, whether they do what was meant, and whether they can be afforded."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import urljoin

import jsonschema_rs

from core import limits
from core.db.documents import written
from core.json_schema import work
from core.json_schema.defaults import DEEPEST, EndlessDefault, Filling, TooLarge
from core.json_schema.documents import compiled, errors
from core.json_schema.parts import ALONE, LISTED, NAMED, BadSchema, parts_below, pointer, refuse, target
from core.strict_json import storable

# What has an effect on what fits; a misspelt one has none.
EFFECTIVE = frozenset(
    {*ALONE, *LISTED, *NAMED, "not", "if", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum"}
    | {"minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems"}
    | {"maxContains", "minContains", "maxProperties", "minProperties", "required", "dependentRequired", "format"}
    | {"contentEncoding", "contentMediaType", "$ref", "$dynamicRef"}
)
KEYWORDS = EFFECTIVE | {
    *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("$id", "$schema", "$anchor", "$dynamicAnchor", "$vocabulary", "$comment"),
}
# Words of other drafts and of OpenAPI 3.0, which this draft ignores silently.
OBSOLETE = {
    "dependencies": "dependentRequired or dependentSchemas",
    "additionalItems": "items, beside prefixItems",
    "nullable": 'type with "null" in its list',
    "divisibleBy": "multipleOf",
    "$recursiveRef": "$dynamicRef",
}
TYPES = "string, number, integer, boolean, object, array or null"


def check(schema: object) -> None:
    """Raise BadSchema unless `schema` is a JSON Schema object that some document fits and that its own defaults fit.

    Also if it is too large, or documents could not be held against it in a time that is proportional to their length.
    """
    if not isinstance(schema, dict):
        raise BadSchema(['A schema is a JSON object such as {"type": "object", "properties": {…}}.'])
    try:
        storable(schema)
        size = len(written(schema).encode())
    except ValueError as exc:
        raise BadSchema([f"This schema can't be stored: {exc}."]) from exc
    if size > limits.SCHEMA_BYTES:
        raise BadSchema([f"A schema has {limits.SCHEMA_BYTES} bytes of compact JSON at most; this one has {size}."])
    problems = [limits.cut(problem) for problem in islice(_problems(schema), limits.VIOLATIONS)]
    if problems:
        raise BadSchema(problems)


def _problems(schema: dict[str, Any]) -> Iterator[str]:
    misformed = _misformed(schema)
    unsound = misformed + _dangling(schema, misformed=bool(misformed))
    for told in unsound:
        yield f"Not a JSON Schema (2020-12): {told}"
    sound = not unsound
    for told in _slow_patterns(schema, sound=sound):
        sound = False
        yield told
    every: Any = None
    for path, part in parts_below(schema):
        for why in _useless(part):
            yield f"At {_told(path, why)}"
        # If the whole is not a valid schema, only a part that is valid by itself can be checked against its default.
        if "default" in part and not (unsound and (_misformed(part) or _dangling(part, misformed=False))):
            root, where = (part, []) if unsound else (schema, path)
            if unsound or every is None:
                every = _every(root)
            if why := _wrong_default(root, where, part, every):
                yield f"At {_told([*path, 'default'], why)}"


def _told(path: list[str | int], why: str) -> str:
    return f"{pointer(path) or 'its top'}: {why}{'' if why.endswith(('?', '.')) else '.'}"


@cache
def _metaschema() -> jsonschema_rs.Draft202012Validator:
    every = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    return jsonschema_rs.Draft202012Validator(every, retriever=refuse, validate_formats=True)


def _misformed(schema: dict[str, Any]) -> list[str]:
    """Return what is not JSON Schema (2020-12), each place once."""
    found: dict[str, str] = {}
    for error in _metaschema().iter_errors(schema):
        path = error.instance_path
        why = f"{json.dumps(error.instance)} is no type: it is {TYPES}" if path[-1:] == ["type"] else error.message
        found.setdefault(pointer(path), f"at {_told(path, why.splitlines()[0])}")
    return list(found.values())


def _dangling(schema: dict[str, Any], *, misformed: bool) -> list[str]:
    """Return the references of a schema that lead nowhere.

    The library names only one of them, without its place, and none in a schema that is not well formed: there, and for
    the places, we look ourselves. Not below an inner $id, which changes what references are relative to.
    """
    refused = ""
    if not misformed:
        try:
            jsonschema_rs.Draft202012Validator(schema, retriever=refuse, validate_formats=True)
        except (jsonschema_rs.ReferencingError, ValueError) as exc:
            refused = str(exc).splitlines()[0]
        else:
            return []
    parts = list(parts_below(schema, alone=(*ALONE, "not", "if")))
    if any("$id" in part for path, part in parts if path):
        parts = []
    found = [
        f"at {_told([*path, word], why)}"
        for path, part in parts
        for word in ("$ref", "$dynamicRef")
        if isinstance(ref := part.get(word), str) and (why := _why_dangling(schema, ref))
    ]
    if found or not refused:
        return found
    foreign = re.match("Resource '([^']*)' is not present", refused)
    return [f"{FOREIGN} {foreign[1]}." if foreign else f"{refused}."]


FOREIGN = "a schema may only refer to itself, not to"


def _why_dangling(root: dict[str, Any], ref: str) -> str:
    """Say why a reference leads nowhere; blank if it leads somewhere in this schema, or to the schema of schemas."""
    own = str(root.get("$id", "")).rstrip("#")
    base = urljoin(own, ref.partition("#")[0])
    if base.startswith(("https://json-schema.org/draft/", "http://json-schema.org/draft-")):
        return ""
    if base not in ("", own):
        return f"{FOREIGN} {ref}"
    return "" if target(root, "#" + ref.partition("#")[2]) is not None else f"{ref} refers to nothing in this schema"


SLOW = (
    "can't be matched in a time proportional to the text: it looks ahead or behind, refers back, or is too large; "
    "write it without, and lengths with minLength and maxLength"
)


def _slow_patterns(schema: dict[str, Any], *, sound: bool) -> Iterator[str]:
    """Say which patterns are not for an engine without backtracking. Those that are no patterns at all, others tell."""
    found: dict[str, list[str | int]] = {}
    for path, part in parts_below(schema, alone=(*ALONE, "not", "if")):
        named = part.get("patternProperties", {})
        for pattern in [part.get("pattern"), *(named if isinstance(named, dict) else ())]:
            if isinstance(pattern, str):
                word = "pattern" if pattern == part.get("pattern") else "patternProperties"
                found.setdefault(pattern, [*path, word])
    if len(found) > limits.SCHEMA_PATTERNS:
        yield f"A schema has {limits.SCHEMA_PATTERNS} different patterns at most; this one has {len(found)}."
        return
    slow = [pattern for pattern in found if _fits(pattern, compiled) is False and _fits(pattern, _anyhow) is True]
    for pattern in slow:
        yield f"At {_told(found[pattern], f'{pattern[:100]!r} {SLOW}')}"
    if sound and not slow and not _fits_whole(schema):
        yield f"A pattern of this schema {SLOW}."  # somewhere where only a reference leads


def _anyhow(schema: Any) -> Any:
    return jsonschema_rs.Draft202012Validator(schema, retriever=refuse, validate_formats=True)


def _fits(pattern: str, compile_: Any) -> bool:
    try:
        compile_({"pattern": pattern})
    except ValueError:
        return False
    return True


def _fits_whole(schema: Any) -> bool:
    try:
        compiled(schema)
    except ValueError:
        return False
    return True


def _useless(part: dict[str, Any]) -> Iterator[str]:
    """Say where a schema, which need not be well formed, does not do what was meant."""
    strange = [word for word in part if word not in KEYWORDS and not word.startswith("x-")]
    near = {word: get_close_matches(word, EFFECTIVE, 1, 0.8) if len(word) < 40 else [] for word in strange[:200]}
    if part and not KEYWORDS & part.keys() and not any(near.values()):
        names = ", ".join(map(repr, part))
        yield f'none of {names} is a word of JSON Schema, so anything fits; fields belong into "properties"'
        return
    for word in near:
        if word in OBSOLETE:
            yield f"{word!r} has no effect in JSON Schema 2020-12; use {OBSOLETE[word]}"
        elif near[word]:
            yield f"{word!r} is no word of JSON Schema; do you mean {near[word][0]!r}?"
    yield from _what_nothing_fits(part)


def _what_nothing_fits(part: dict[str, Any]) -> Iterator[str]:
    """Say which words of a schema leave nothing that would fit."""
    for least, most in (("minimum", "maximum"), *(("min" + x, "max" + x) for x in ("Length", "Items", "Properties"))):
        low, high = part.get(least, 0), part.get(most, math.inf)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            yield f"nothing fits: {least} is more than {most}"
    if part.get("enum") == []:
        yield "nothing fits: enum is empty"
    if part.get("additionalProperties") is False and not part.get("patternProperties"):
        required, properties = part.get("required"), part.get("properties", {})
        for name in required if isinstance(required, list) and isinstance(properties, dict) else ():
            if isinstance(name, str) and name not in properties:
                yield f"nothing fits: {name!r} is required, and neither among the properties nor allowed beside"


def _every(root: dict[str, Any]) -> Any:
    """Return a validator for each part of a schema."""
    mine = {word: value for word, value in root.items() if word != "$schema"}  # the draft is ours, whatever it says
    return jsonschema_rs.validator_map_for(mine, retriever=refuse, validate_formats=True)


def _wrong_default(root: dict[str, Any], path: list[str | int], part: dict[str, Any], validators: Any) -> str:
    """Say why a default, filled in itself, does not fit the schema that it is the default of; blank if it does."""
    try:
        filled = Filling(root, limits.INPUT_CHARS).of(part, copy.deepcopy(part["default"]), DEEPEST)
    except EndlessDefault:
        return "the default is filled with itself, without end"
    except TooLarge:
        return f"filled in itself, the default is larger than any input may be ({limits.INPUT_CHARS} characters)"
    try:
        effort = work.of(part, filled, root=root)
        if effort.valid > limits.SCHEMA_WORK:
            raise work.TooMuchWork
    except work.TooMuchWork:
        return "holding the default against the schema takes too much work"
    part_alone = validators.get("#" + pointer(path))
    return "" if part_alone.is_valid(filled) else "; ".join(why for why, _ in errors(part_alone, effort, filled))
