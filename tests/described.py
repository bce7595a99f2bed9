"""Holds every answer of the API, and every body that it takes, against its own description, `/api/v1/schema`.

Stricter than the description: an answer may have no field that is not in it.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jsonschema_rs
from django.urls import Resolver404, resolve

from casts.api import openapi, reference

PREFIX = "/api/v1/"
PROBLEM = "application/problem+json"
UNDESCRIBED = {"/api/v1/schema", "/api/v1/docs"}  # the description itself, and the page that shows it


@functools.cache
def description() -> dict[str, Any]:
    """Return the description, with nothing allowed in an object beside its properties; problems may have more."""
    found: dict[str, Any] = json.loads(openapi.document()[0])
    for name, schema in found["components"]["schemas"].items():
        if name != "Problem" and schema.get("properties"):
            schema.setdefault("additionalProperties", False)
    return found


@functools.cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Return what checks documents against a schema of the description, given as JSON."""
    whole = json.loads(schema) | {"components": description()["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def broken(schema: dict[str, Any], document: Any) -> list[str]:
    """Return where and how a document is not as described."""
    found = validator(json.dumps(schema)).iter_errors(document)
    return [f"{error.instance_path}: {error.message}" for error in found]


def component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def template_of(path: str) -> str | None:
    """Return a path as the description has it, None if there is nothing at it."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", match.route)


def check(method: str, path: str, status: int, media_type: str, content: bytes) -> None:
    """Fail unless the description says that this may be answered, and how it looks."""
    path, media_type = path.partition("?")[0], media_type.partition(";")[0]
    if not path.startswith(PREFIX) or path in UNDESCRIBED or method == "OPTIONS":
        return
    template = template_of(path)
    if template is None or template not in description()["paths"]:
        assert status >= 400, f"{method} {path} is not described, and answered {status}"
        assert media_type == PROBLEM, f"{method} {path} {status} comes as {media_type}"
        assert method == "HEAD" or broken(component("Problem"), json.loads(content)) == []
        return
    operation = description()["paths"][template].get("get" if method == "HEAD" else method.lower())
    if operation is None:
        assert status in (401, 405), f"{method} {template} is not described, and answered {status}"
        return
    responses = operation["responses"]
    known = str(status) in responses
    assert known or status >= 400, f"{method} {template} may not answer {status}"
    forms = responses[str(status) if known else "default"].get("content", {})
    if not forms:
        assert content == b"", f"{method} {template} {status} has a body"
        return
    assert media_type in forms, f"{method} {template} {status} comes as {media_type}; described: {', '.join(forms)}"
    if method != "HEAD" and media_type.endswith("json"):
        wrong = broken(forms[media_type]["schema"], json.loads(content))
        assert not wrong, f"{method} {template} {status} is not as described: {wrong}"
    if method != "HEAD" and media_type == PROBLEM:
        code = json.loads(content)["code"]
        listed = responses[str(status) if known else "default"]["description"]
        assert f"`{code}`" in listed or code in reference.ELSE, f"{method} {template} may not answer with {code}"


def check_request(method: str, path: str, sent: bytes | str) -> None:
    """Fail unless the description says that this body may be sent; it was taken."""
    template = template_of(path.partition("?")[0])
    operation = description()["paths"].get(template, {}).get(method.lower(), {})
    if template is None or "requestBody" not in operation:
        return
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    body = json.loads(sent.decode("utf-8-sig") if isinstance(sent, bytes) else sent)
    wrong = broken(schema, body)
    assert not wrong, f"{method} {template} took what is not described: {wrong}"


def check_event(data: dict[str, Any]) -> None:
    """Fail unless a stream's message is what the description calls a cast's state."""
    wrong = broken(component("CastState"), data)
    assert not wrong, f"the event is not as described: {wrong}"
