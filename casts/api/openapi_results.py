"""The paths of results and previews for the API's description, which are not DRF views."""

from __future__ import annotations

from typing import Any

Parts = dict[str, Any]
TEXT = {"schema": {"type": "string"}}
BYTES: Parts = {"type": "string", "format": "binary"}
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif")
KNOWN = {"in": "header", "name": "If-None-Match", **TEXT, "description": "An earlier ETag."}


def paths(*, cast_id: Parts, token: Parts, security: list[Parts]) -> dict[str, Parts]:

    def path(operation: str, about: str, answers: Parts, *parameters: Parts) -> Parts:
        described = {
            "operationId": operation,
            "description": about,
            "parameters": [cast_id, *parameters, token, KNOWN],
            "security": security,
            "responses": {**answers, "304": {"description": "The copy that you have is current"}},
        }
        return {"get": described}

    at = {"in": "query", "name": "at", **TEXT, "description": "A JSON Pointer to the list; empty for the whole output."}
    name = {"in": "path", "name": "name", "required": True, **TEXT}
    member = {"in": "query", "name": "member", **TEXT, "description": "The path of a file in a zip."}
    of_cast = "/api/v1/casts/{cast_id}"
    return {
        f"{of_cast}/artifacts/{{name}}/preview": path(
            "get_artifact_preview",
            "A picture or PDF, to be shown in a page: an artifact, or a file of one that is a zip. Its first bytes "
            "say what it is; anything else is a 404 `NO_PREVIEW`.",
            content("The bytes", *PICTURES, "application/pdf"),
            name,
            member,
        ),
        f"{of_cast}/artifacts.zip": path(
            "get_artifacts",
            "All stored artifacts in one zip. Those that are zips are folders of their files.",
            content("The zip", "application/zip"),
        ),
        f"{of_cast}/output.json": path(
            "get_output", "The cast's output alone, as a file.", content("The output", "application/json")
        ),
        f"{of_cast}/output.csv": path(
            "get_output_table", "A list of objects in the cast's output, as CSV.", content("The table", "text/csv"), at
        ),
        f"{of_cast}/summary.md": path(
            "get_summary", "The run's summary alone, as a file.", content("The summary", "text/markdown")
        ),
    }


def content(description: str, *media_types: str) -> Parts:
    of_text = all(one.startswith("text/") for one in media_types)
    schema: Parts = {} if media_types == ("application/json",) else TEXT["schema"] if of_text else BYTES
    return {"200": {"description": description, "content": {one: {"schema": schema} for one in media_types}}}
