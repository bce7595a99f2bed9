"""The API's description (OpenAPI): rendered once, with what drf-spectacular can't see by itself."""

import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer

from casts.api import openapi_results, reference
from core.api import catalog
from core.api.etags import etag_of, is_current
from core.api.openapi import HEADERS, PROBLEM, RATIONED, header_references
from core.api.problems import problem
from core.urls import absolute

MEDIA_TYPE = "application/vnd.oai.openapi+json"
_rendering = threading.Lock()


def document() -> tuple[bytes, str]:
    """Return the description and its ETag. The ASGI application calls this at its start, as it takes half a second."""
    # drf-spectacular sets itself up at its first use, which two threads must not do at once.
    with _rendering:
        return _rendered()


@cache
def _rendered() -> tuple[bytes, str]:
    described = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    body: bytes = OpenApiJsonRenderer().render(described, renderer_context={})
    return body, etag_of(body)


async def schema(request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return problem(405, "METHOD_NOT_ALLOWED", "Read the description with GET.", headers={"Allow": "GET, HEAD"})
    body, etag = document()
    headers = {"ETag": etag, "Cache-Control": "public, no-cache"}
    if is_current(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=headers)
    headers["Content-Disposition"] = 'inline; filename="Spell Platform.json"'
    headers["Vary"] = "Accept"
    media_type = "application/json" if "application/json" in request.headers.get("Accept", "") else MEDIA_TYPE
    return HttpResponse(body, content_type=media_type, headers=headers)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API keys are bearer tokens."""

    target_class = "accounts.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key: sk_live_spl_..."}


# The fields of a cast that its events leave out: what never changes, what depends on other casts, and what comes later.
NOT_IN_EVENTS = (
    *("spell_name", "spell_version", "cost_cents", "price", "created_at", "expires_at", "queue_position", "retry_of"),
    *("input", "metadata", "callback_url", "progress_url", "events_url", "removed"),
)
CAST_ID = {"in": "path", "name": "cast_id", "required": True, "schema": {"type": "string", "format": "uuid"}}
TOKEN = {
    "in": "query",
    "name": "token",
    "schema": {"type": "string"},
    "description": "Of a signed link, in place of an API key.",
}


def _text(description: str, media_type: str | None = None, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description} | ({"content": {media_type: {"schema": schema or {}}}} if media_type else {})


def add_live_paths(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Describe the paths that are not DRF views. A postprocessing hook."""
    last = {"in": "header", "name": "Last-Event-ID", "schema": {"type": "integer"}, "description": "Resume after it."}
    after = {"in": "query", "name": "after", "schema": {"type": "integer"}, "description": "The same, in the URL."}
    name = {"in": "path", "name": "name", "required": True, "schema": {"type": "string"}}
    security: list[dict[str, Any]] = [{"ApiKey": []}, {}]
    cast = result["components"]["schemas"]["CastOut"]
    result["components"]["schemas"]["CastState"] = {
        "type": "object",
        "description": "A cast's state, which is the data of each of its events.",
        "properties": {name: how for name, how in cast["properties"].items() if name not in NOT_IN_EVENTS},
        "required": [name for name in cast["required"] if name not in NOT_IN_EVENTS],
    }
    stream = _text("Events, whose data is a CastState in JSON", "text/event-stream", {})
    result["paths"]["/api/v1/casts/{cast_id}/events"] = {
        "get": {
            "operationId": "cast_events",
            "description": "The cast's events as server-sent events, until the final one. To a viewer who is logged in "
            "they tell the status alone.",
            "parameters": [CAST_ID, last, after, TOKEN],
            "security": security,
            "responses": {"200": stream, "204": _text("The cast has ended and you have its final event")},
        }
    }
    known = {"in": "header", "name": "If-None-Match", "schema": {"type": "string"}, "description": "An earlier ETag."}
    file = _text("The bytes, with Repr-Digest", "application/octet-stream", {"type": "string", "format": "binary"})
    result["paths"]["/api/v1/casts/{cast_id}/artifacts/{name}"] = {
        "get": {
            "operationId": "get_artifact",
            "description": "Our copy of one artifact, byte for byte.",
            "parameters": [CAST_ID, name, TOKEN, known],
            "security": security,
            "responses": {
                "200": file,
                "302": _text("It is to be had for a few minutes at Location, in the storage, without a key"),
                "304": _text("The copy that you have is current"),
            },
        }
    }
    result["paths"] |= openapi_results.paths(cast_id=CAST_ID, token=TOKEN, security=security)
    return result


# Where the answer of one operation names what others are asked about: the status, the path's parameter, where the
# answer has it, and those others.
OF_CASTS = ("get_cast", "cast_events", "cancel_cast", "retry_cast")
OF_ENDPOINTS = (
    *("get_callback_endpoint", "change_callback_endpoint", "get_callback_endpoint_secret"),
    *("rotate_callback_endpoint_secret", "delete_callback_endpoint"),
)
OF_TOPUPS = ("get_topup", "cancel_topup")
LINKS = {
    "create_cast": ("201", "cast_id", "/cast_id", OF_CASTS),
    "cast": ("201", "cast_id", "/cast_id", OF_CASTS),
    "create_key": ("201", "key_id", "/id", ("revoke_key",)),
    "create_callback_endpoint": ("201", "endpoint_id", "/id", OF_ENDPOINTS),
    "create_topup": ("201", "topup_id", "/id", OF_TOPUPS),
}


def link_operations(result: dict[str, Any]) -> None:
    """Say which operation's answer leads to which others."""
    operations = {one["operationId"]: one for path in result["paths"].values() for one in path.values()}
    for source, (status, parameter, where, targets) in LINKS.items():
        operations[source]["responses"][status]["links"] = {
            target: {"operationId": target, "parameters": {parameter: f"$response.body#{where}"}} for target in targets
        }


def describe_every_answer(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Describe what any request may get, and JSON that may be anything at all. A postprocessing hook, the last."""
    link_operations(result)
    result["components"]["headers"] = HEADERS
    result["components"]["schemas"] |= PROBLEM
    arrange(result)
    for path in result["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status < "400" or status in ("429", "default"):  # all have them; that need not be said of each
                    answer["headers"] = answer.get("headers", {}) | header_references(RATIONED)
    for schema in result["components"]["schemas"].values():
        if "oneOf" in schema:  # one of our smaller answers: what fits the larger one may fit it, too
            schema["anyOf"] = schema.pop("oneOf")
    anything_or_null(result)
    return result


def arrange(result: dict[str, Any]) -> None:
    """Bring the operations into the order in which one uses them, and add what `casts.api.reference` says of each."""
    places = {op["operationId"]: (path, method) for path, ops in result["paths"].items() for method, op in ops.items()}
    paths = result["paths"]
    result["paths"] = {places[name][0]: paths[places[name][0]] for name in reference.OPERATIONS if name in places}
    result["paths"] |= paths  # one that the reference lacks, which a test refuses, comes last
    result["tags"] = [
        {
            "name": group.name,
            "description": group.about,
            "externalDocs": {"url": absolute(f"/docs/{group.guide}")},
        }
        for group in reference.GROUPS
    ]
    for name, about in reference.OPERATIONS.items():
        path, method = places[name]
        complete(paths[path][method], about)


def complete(operation: dict[str, Any], about: reference.Operation) -> None:
    """Add to an operation its summary, group, scope and example, and the problems that can happen."""
    operation["tags"] = [reference.GROUP_OF[about.name].name]
    operation["summary"] = about.summary
    if about.scope:
        operation["security"] = [{"ApiKey": [about.scope]}]  # in OpenAPI 3.1 also of bearers
        operation["description"] += f"\n\nThe key needs the scope `{about.scope}`."
    if about.body is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = about.body
    answers = operation["responses"]
    codes = (*reference.KEYED, *about.problems, *reference.ANY)
    for status in sorted({catalog.BY_CODE[code].status for code in codes}):
        these = [code for code in codes if catalog.BY_CODE[code].status == status]
        answers[str(status)] = _problem(named(these)) | (
            {"headers": header_references(["Retry-After"])} if status == 429 else {}
        )
    answers["default"] = _problem("What any request may get: " + named(reference.ELSE))


def named(codes: Iterable[str]) -> str:
    return "; ".join(f"`{code}`: {catalog.BY_CODE[code].title}" for code in codes)


def _problem(description: str) -> dict[str, Any]:
    return _text(description, "application/problem+json", {"$ref": "#/components/schemas/Problem"})


def anything_or_null(part: Any) -> None:
    """Remove "anything or null, but not both" throughout: null fits both, so it would not be allowed."""
    if isinstance(part, dict):
        if part.get("oneOf") == [{}, {"type": "null"}]:
            del part["oneOf"]
        for inner in part.values():
            anything_or_null(inner)
    elif isinstance(part, list):
        for inner in part:
            anything_or_null(inner)
