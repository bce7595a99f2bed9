"""What drf-spectacular can't see by itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """API keys are bearer tokens."""

    target_class = "casts.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        """Describe the Authorization header."""
        return {"type": "http", "scheme": "bearer", "description": "An API key: sk_live_spl_..."}


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
    """Describe the two paths that stream, which are not DRF views. A postprocessing hook."""
    problem = {"$ref": "#/components/schemas/Problem"}
    refused = {
        code: _text(why, "application/problem+json", problem)
        for code, why in (("401", "Nothing usable was shown"), ("404", "Not found"))
    }
    last = {"in": "header", "name": "Last-Event-ID", "schema": {"type": "integer"}, "description": "Resume after it."}
    after = {"in": "query", "name": "after", "schema": {"type": "integer"}, "description": "The same, in the URL."}
    name = {"in": "path", "name": "name", "required": True, "schema": {"type": "string"}}
    security: list[dict[str, Any]] = [{"ApiKey": []}, {}]
    stream = _text("Events, each with the cast's whole state", "text/event-stream", {"type": "string"})
    result["paths"]["/api/v1/casts/{cast_id}/events"] = {
        "get": {
            "operationId": "cast_events",
            "description": "The cast's events as server-sent events, until the final one.",
            "parameters": [CAST_ID, last, after, TOKEN],
            "security": security,
            "responses": {"200": stream, "204": _text("The cast has ended and you have its final event"), **refused},
        }
    }
    file = _text("The bytes, with Repr-Digest", "application/octet-stream", {"type": "string", "format": "binary"})
    gone = _text("Its retention has passed", "application/problem+json", problem)
    pending = _text("Still being copied from GitHub", "application/problem+json", problem)
    result["paths"]["/api/v1/casts/{cast_id}/artifacts/{name}"] = {
        "get": {
            "operationId": "get_artifact",
            "description": "Our copy of one artifact, byte for byte.",
            "parameters": [CAST_ID, name, TOKEN],
            "security": security,
            "responses": {"200": file, "409": pending, "410": gone, **refused},
        }
    }
    return result
