"""JSON Schema 2020-12: checking spells' schemas, and inputs and outputs against them.

jsonschema-rs does the work, always with a retriever that refuses: by default it would fetch `http://` and read
`file://` references, which hands our network and disk to whoever writes a schema.
"""

from __future__ import annotations

import copy
import json
from functools import lru_cache
from typing import Any

import jsonschema_rs


class BadSchema(ValueError):
    """Not a JSON Schema that we can use."""


def refuse(uri: str) -> Any:
    """Retrieve nothing."""
    raise ValueError(f"A schema may only refer to itself, not to {uri}")


def check(schema: object) -> None:
    """Raise BadSchema, with the place and the reason, unless `schema` is a usable JSON Schema object."""
    if not isinstance(schema, dict):
        raise BadSchema('A schema is a JSON object such as {"type": "object", "properties": {…}}.')
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=refuse, validate_formats=True)
    except (jsonschema_rs.ReferencingError, ValueError) as exc:
        raise BadSchema(f"Not a JSON Schema (2020-12): {str(exc).splitlines()[0]}") from exc


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

    JSON Schema leaves `default` without effect; callers expect it to have one. Only plain `properties` and `items`
    are followed: under oneOf, if and the like it would be a guess which branch's default is meant.
    """
    if not isinstance(schema, dict):
        return document
    if isinstance(document, dict):
        filled = dict(document)
        for name, sub in schema.get("properties", {}).items():
            if name in filled:
                filled[name] = with_defaults(sub, filled[name])
            elif isinstance(sub, dict) and "default" in sub:
                filled[name] = with_defaults(sub, copy.deepcopy(sub["default"]))
        return filled
    if isinstance(document, list):
        return [with_defaults(schema.get("items"), item) for item in document]
    return document
