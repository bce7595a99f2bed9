"""JSON Schema 2020-12: checking spells' schemas, and inputs and outputs against them.

jsonschema-rs does the work, always with a retriever that refuses: by default it would fetch `http://` and read
`file://` references, which opens our network and disk to the author of a schema.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any
from urllib.parse import quote, unquote, urljoin

import jsonschema_rs


class BadSchema(ValueError):
    """Not a JSON Schema that we can use. `problems` lists its mistakes with their places; str() has them all."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def refuse(uri: str) -> Any:
    raise ValueError(uri)


# --- checking schemas ----------------------------------------------------------------------------------------------

# Where subschemas stand: alone, in lists, under names. What is under `not` and `if` may well be odd on purpose.
ALONE = (
    *("items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties"),
    *("then", "else", "contentSchema"),
)
LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
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
ROOT = "urn:spell-platform:schema"  # stands for a schema that has no $id, where a part of it must be named
DEEPEST = 150  # levels of a filled document; requests have a hundred at most


class EndlessDefault(ValueError):
    """A default that contains itself."""


def check(schema: object) -> None:
    """Raise BadSchema unless `schema` is a JSON Schema object that some document fits and that its own defaults fit."""
    if not isinstance(schema, dict):
        raise BadSchema(['A schema is a JSON object such as {"type": "object", "properties": {…}}.'])
    misformed = _misformed(schema)
    unsound = misformed + _dangling(schema, misformed=bool(misformed))
    problems = [f"Not a JSON Schema (2020-12): {told}" for told in unsound]
    for path, part in _parts_below(schema):
        problems += [f"At {_told(path, why)}" for why in _useless(part)]
        # If the whole is not a valid schema, only a part that is valid by itself can be checked against its default.
        if "default" in part and not (unsound and (_misformed(part) or _dangling(part, misformed=False))):
            root, where = (part, []) if unsound else (schema, path)
            if why := _wrong_default(root, where, part):
                problems.append(f"At {_told([*path, 'default'], why)}")
    if problems:
        raise BadSchema(problems)


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
    parts = list(_parts_below(schema, alone=(*ALONE, "not", "if")))
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
    return "" if _target(root, "#" + ref.partition("#")[2]) is not None else f"{ref} refers to nothing in this schema"


def _parts_below(
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
            yield from _parts_below(sub, (*path, *where), alone=alone)


def _useless(part: dict[str, Any]) -> Iterator[str]:
    """Say where a schema, which need not be well formed, does not do what was meant."""
    strange = [word for word in part if word not in KEYWORDS and not word.startswith("x-")]
    near = {word: get_close_matches(word, EFFECTIVE, 1, 0.8) for word in strange}
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


def _wrong_default(root: dict[str, Any], path: list[str | int], part: dict[str, Any]) -> str:
    """Say why a default, filled in itself, does not fit the schema that it is the default of; blank if it does."""
    try:
        filled = _filled(root, part, copy.deepcopy(part["default"]), DEEPEST)
    except EndlessDefault:
        return "the default is filled with itself, without end"
    base = str(root.get("$id") or ROOT).rstrip("#")
    whole = {"$defs": {"root": {**root, "$id": base}}, "$ref": f"{base}#{quote(pointer(path))}"}
    try:
        part_alone = jsonschema_rs.Draft202012Validator(whole, retriever=refuse, validate_formats=True)
    except (jsonschema_rs.ReferencingError, ValueError):
        return ""  # an $id below the top, from which pointers count anew
    return "; ".join(error.message for error in part_alone.iter_errors(filled))


# --- documents -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _compiled(text: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads(text), retriever=refuse, validate_formats=True)


def violations(schema: dict[str, Any], document: Any, *, at: str) -> list[dict[str, str]]:
    """Return every way in which `document` breaks `schema`, as {pointer, detail}; pointers begin with `at`."""
    found = _compiled(json.dumps(schema)).iter_errors(document)
    return [{"pointer": at + pointer(error.instance_path), "detail": error.message} for error in found]


def pointer(path: list[str | int]) -> str:
    """Return the JSON Pointer (RFC 6901) of a path, "" for the whole document."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def with_defaults(schema: Any, document: Any) -> Any:
    """Return a copy of `document` with the schema's defaults filled in where object properties are missing.

    JSON Schema leaves `default` without effect; callers expect it to have one. Followed are properties, items,
    additionalProperties, local `$ref`s and allOf: under oneOf, if and the like it would be a guess which branch's
    default is meant.
    """
    try:
        return _filled(schema, schema, document, DEEPEST)
    except EndlessDefault:  # of a schema that was never checked
        return document


def _filled(root: Any, schema: Any, document: Any, levels: int) -> Any:
    """Do it at one place; raise EndlessDefault if there are more levels below."""
    if levels == 0:
        raise EndlessDefault
    if isinstance(document, dict):
        return _filled_object(root, schema, document, levels)
    if isinstance(document, list):
        return _filled_list(root, schema, document, levels)
    return document


def _filled_object(root: Any, schema: Any, document: dict[str, Any], levels: int) -> dict[str, Any]:
    filled = dict(document)
    for part in _that_hold(root, schema):
        properties = part.get("properties", {})
        for name, sub in properties.items():
            if name in filled:
                filled[name] = _filled(root, sub, filled[name], levels - 1)
                continue
            for source in _that_hold(root, sub):
                if "default" in source:
                    filled[name] = _filled(root, sub, copy.deepcopy(source["default"]), levels - 1)
                    break
        if isinstance(others := part.get("additionalProperties"), dict) and "patternProperties" not in part:
            for name in filled.keys() - properties.keys():
                filled[name] = _filled(root, others, filled[name], levels - 1)
    return filled


def _filled_list(root: Any, schema: Any, document: list[Any], levels: int) -> list[Any]:
    items = list(document)
    for part in _that_hold(root, schema):
        first = part.get("prefixItems", [])
        for index, item in enumerate(items):
            items[index] = _filled(root, first[index] if index < len(first) else part.get("items"), item, levels - 1)
    return items


def _that_hold(root: Any, schema: Any, followed: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield a schema and those that apply together with it: behind `$ref`, and in allOf."""
    if not isinstance(schema, dict):
        return
    yield schema
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in followed:
        yield from _that_hold(root, _target(root, ref), (*followed, ref))
    for sub in schema.get("allOf", ()):
        yield from _that_hold(root, sub, followed)


def _target(root: Any, ref: str) -> Any:
    """Return what a reference within the document refers to, None for others."""
    base, _, fragment = ref.partition("#")
    if base not in ("", str(root.get("$id", "")).rstrip("#")):
        return None
    fragment = unquote(fragment)
    if fragment and not fragment.startswith("/"):
        anchored = (
            part for _, part in _parts_below(root) if fragment in (part.get("$anchor"), part.get("$dynamicAnchor"))
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
