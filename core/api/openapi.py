"""What many operations share in the API's description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_WHOLE, _TEXT = {"type": "integer"}, {"type": "string"}

# No view names these among its answers: casts.api.reference says which problems each operation has.
PROBLEM = {
    "Problem": {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "properties": {
            **dict.fromkeys(("type", "title"), _TEXT),
            "status": _WHOLE,
            **dict.fromkeys(("detail", "code", "request_id"), _TEXT),
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemPlace"}},
        },
        "required": ["code", "detail", "request_id", "status", "title", "type"],
    },
    "ProblemPlace": {
        "type": "object",
        "description": "What is wrong at one place of a request's body.",
        "properties": {
            "pointer": {**_TEXT, "description": "JSON Pointer (RFC 6901); blank for the whole body."},
            "detail": _TEXT,
        },
        "required": ["detail", "pointer"],
    },
}

# What every answer tells of its caller's allowances, and a 429 of when to come back; see core.rationing.
HEADERS = {
    "RateLimit": {
        "description": "What is left of each allowance, and seconds until there is more",
        "schema": _TEXT,
    },
    "RateLimit-Policy": {"description": "How much each allowance is, and for how many seconds", "schema": _TEXT},
    "X-RateLimit-Limit": {"description": "Of the tightest allowance: how much it is", "schema": _WHOLE},
    "X-RateLimit-Remaining": {"description": "What is left of it", "schema": _WHOLE},
    "X-RateLimit-Reset": {"description": "When there is more, in seconds since 1970", "schema": _WHOLE},
    "Retry-After": {"description": "Seconds, one at least", "schema": _WHOLE},
}
RATIONED = [name for name in HEADERS if name != "Retry-After"]


def header_references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
