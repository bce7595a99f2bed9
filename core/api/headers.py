"""What every request and every answer have in common: a number, and headers."""

from __future__ import annotations

import re
import secrets

import structlog
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from core import access
from core.api.problems import request_id
from core.redaction import redact

ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")

# What our pages may do of what browsers offer: nothing that asks for a permission.
UNUSED = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")


def common_headers(*, hsts_seconds: int) -> dict[str, str]:
    """Return what answers of both stacks carry, and streams, unless they say otherwise."""
    found = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",  # links carry tokens
        "Permissions-Policy": ", ".join(f"{name}=()" for name in UNUSED),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",  # inputs, outputs and secrets: in no cache, on no disk
    }
    if hsts_seconds:
        found["Strict-Transport-Security"] = f"max-age={hsts_seconds}"
    return found


# Of pages, django-csp adds the Content-Security-Policy.
PAGE_HEADERS = common_headers(hsts_seconds=settings.HSTS_SECONDS)
# What falls back to no default-src.
NOWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
API_HEADERS = PAGE_HEADERS | {"Content-Security-Policy": f"default-src 'none'; {NOWHERE}"}


def number_request(given: str) -> str:
    """Number a new request, for its answers and log lines: with the given number if it is sound. Return the number."""
    # Somebody may have pasted a key there.
    number = given if ACCEPTABLE.fullmatch(given) and redact(given) == given else secrets.token_hex(8)
    request_id.set(number)
    structlog.contextvars.clear_contextvars()
    access.know(request_id=number)
    return number


def add_page_headers(response: HttpResponseBase) -> None:
    for name, value in PAGE_HEADERS.items():
        response.headers.setdefault(name, value)


def add_headers(response: HttpResponseBase) -> None:
    for name, value in API_HEADERS.items():
        response.headers.setdefault(name, value)
    if isinstance(response, HttpResponse):
        response.headers.setdefault("Content-Length", str(len(response.content)))
