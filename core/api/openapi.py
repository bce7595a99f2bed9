"""What many operations share in the API's description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.api.fields import Problem
from core.api.problems import CONTENT_TYPE

PROBLEMS = {(status, CONTENT_TYPE): Problem for status in (400, 401, 402, 403, 404, 409, 413, 415, 422, 429)}

# What every answer tells of its caller's allowances, and a 429 of when to come back; see core.rationing.
_WHOLE, _TEXT = {"type": "integer"}, {"type": "string"}
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
