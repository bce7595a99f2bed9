"""The page `/api/v1/docs`: the API's description as people read it, with examples to copy and to send."""

from __future__ import annotations

import json
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import get_script_prefix, reverse

from casts.api import openapi, reference
from core.api import catalog
from core.api.headers import NOWHERE
from core.api.problems import problem

Schema = dict[str, Any]
EXAMPLES = Path(__file__).with_name("examples.json")  # real answers; tests/e2e/test_reference.py records them anew
# Our own scripts and styles, and none from elsewhere; paths below /api/ carry none by themselves.
CSP = f"default-src 'self'; img-src 'self' data:; object-src 'none'; {NOWHERE}"
MOST_DEEP = 4  # levels of fields that are shown of one body


def docs(request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read the page with GET.", headers={"Allow": "GET, HEAD"})
    return HttpResponse(page(settings.PUBLIC_URL, get_script_prefix()), headers={"Content-Security-Policy": CSP})


@lru_cache(maxsize=8)
def page(base: str, prefix: str) -> str:
    """Return the page, which is the same for everybody, for the place where we are mounted: it takes long to write."""
    return render_to_string("api/reference.html", {"groups": groups(), "base": base})


def groups() -> list[dict[str, Any]]:
    """Return all that the page shows."""
    whole = json.loads(openapi.document()[0])
    examples = json.loads(EXAMPLES.read_text())
    places = {
        operation["operationId"]: (method, path, operation)
        for path, methods in whole["paths"].items()
        for method, operation in methods.items()
    }
    return [
        {
            "name": group.name,
            "slug": slug_of(group.name),
            "about": group.about,
            "guide": guide_to(group.guide),
            "operations": [
                shown(one, *places[one.name], examples.get(one.name), whole["components"]["schemas"])
                for one in group.operations
            ],
        }
        for group in reference.GROUPS
    ]


def guide_to(place: str) -> str:
    name, _, anchor = place.partition("#")
    return reverse("guide", args=[name]) + (f"#{anchor}" if anchor else "")


def slug_of(name: str) -> str:
    return name.lower().replace(" ", "-")


def shown(
    about: reference.Operation, method: str, path: str, operation: Schema, answer: Any, schemas: Schema
) -> dict[str, Any]:
    status, good = next((status, one) for status, one in operation["responses"].items() if status < "300")
    contents: dict[str, Schema] = good.get("content", {})
    media_type, content = next(iter(contents.items()), ("", {}))
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    codes = (*reference.KEYED, *about.problems, *reference.ANY)
    text = operation["description"].partition("\n\nThe key needs")[0]
    return {
        "name": about.name,
        "method": method.upper(),
        "path": path,
        "summary": about.summary,
        "paragraphs": [" ".join(part.split()) for part in text.split("\n\n")],
        "scope": about.scope,
        "parameters": [parameter(one) for one in operation.get("parameters", [])],
        "body": rows(body, schemas),
        "status": status,
        "media_type": media_type,
        "answer": rows(content.get("schema", {}), schemas),
        "example": curl(about, method, path),
        "sent": None if about.body is None else json.dumps(about.body, indent=2, ensure_ascii=False),
        "headers": about.headers,
        "gives": about.gives,
        "needs": about.needs,
        "got": None if answer is None else json.dumps(answer, indent=2, ensure_ascii=False),
        "problems": [catalog.BY_CODE[code] for code in sorted(codes, key=lambda code: catalog.BY_CODE[code].status)],
    }


def parameter(one: Schema) -> dict[str, Any]:
    return {
        "name": one["name"],
        "where": one["in"],
        "type": words(one["schema"], {}),
        "required": one.get("required", False),
        "about": one.get("description", ""),
    }


def curl(about: reference.Operation, method: str, path: str) -> str:
    """Return a call of an operation as one types it, where $BASE and $KEY are set."""
    query = {name: value for name, value in about.ids.items() if f"{{{name}}}" not in path}
    for name, value in about.ids.items():
        path = path.replace(f"{{{name}}}", value)
    if query:
        path += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    verb = "" if method == "get" or (method == "post" and about.body is not None) else f" -X {method.upper()}"
    stream = "N" if about.name == "cast_events" else ""
    save = f" -L -o {about.saves}" if about.saves else ""
    first = f'curl -sS{stream}{save}{verb} "$BASE{path}" -H "Authorization: Bearer $KEY"'
    more = [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in about.headers.items()]
    if about.body is not None:
        more.append("-H 'Content-Type: application/json'")
        more.append(f"-d {shlex.quote(json.dumps(about.body, ensure_ascii=False))}")
    return first + (" \\\n  " + " ".join(more) if more else "")


# --- fields ----------------------------------------------------------------------------------------------------------


def rows(schema: Schema, schemas: Schema, *, level: int = 0, at: str = "") -> list[dict[str, Any]]:
    """Return the fields of a body, each before those within it; none for what is no object."""
    schema = whole_of(schema, schemas)
    if schema.get("type") == "array":
        return rows(schema.get("items", {}), schemas, level=level, at=f"{at}[]")
    found = []
    for name, one in schema.get("properties", {}).items():
        path = f"{at}.{name}" if at else name
        found.append(
            {
                "name": name,
                "path": path,
                "level": level,
                "type": words(one, schemas),
                "required": name in schema.get("required", ()),
                "about": " ".join(str(one.get("description", "")).split()),
            }
        )
        if level + 1 < MOST_DEEP:
            found += rows(one, schemas, level=level + 1, at=path)
    return found


def whole_of(schema: Schema, schemas: Schema) -> Schema:
    """Return a schema with what it refers to; of several the first that has fields."""
    if "$ref" in schema:
        return whole_of(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas)
    for name in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(name, ()):
            inner = whole_of(one, schemas)
            if "properties" in inner or "items" in inner:
                return inner
    return schema


def words(schema: Schema, schemas: Schema) -> str:
    """Return what a value is, in few words."""
    if "$ref" in schema:
        schema = schemas.get(schema["$ref"].rsplit("/", 1)[-1], {})
    several = next((schema[name] for name in ("anyOf", "oneOf", "allOf") if name in schema), None)
    if several is not None:
        return " or ".join(dict.fromkeys(word for one in several for word in words(one, schemas).split(" or ")))
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    kinds = schema.get("type", "anything")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    named = [f"{schema['format']}" if kind == "string" and schema.get("format") else kind for kind in kinds]
    if "array" in kinds:
        inner = words(schema.get("items", {}), schemas)
        named = [f"array of {inner}" if kind == "array" else kind for kind in named]
    return " or ".join(named)
