"""What every request to the API and every answer have in common: a number, and headers."""

from __future__ import annotations

import re
import secrets

import structlog
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from core.api.problems import request_id

ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{8,64}")

API_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # links carry tokens
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


def number_request(given: str) -> str:
    """Number a new request, for its answers and log lines: with the given number if it is sound. Return the number."""
    number = given if ACCEPTABLE.fullmatch(given) else secrets.token_hex(8)
    request_id.set(number)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=number)
    return number


def add_headers(response: HttpResponseBase) -> None:
    for name, value in API_HEADERS.items():
        response.headers.setdefault(name, value)
    if isinstance(response, HttpResponse):
        response.headers.setdefault("Content-Length", str(len(response.content)))
