"""CORS: letting pages of any origin read what a signed link opens."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from core.rationing.visits import HEADERS

# What a page may send and read by CORS, beyond what is always allowed: resuming a stream, revalidating a copy, digests.
FOR_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": ", ".join(["ETag", "Content-Disposition", "Repr-Digest", "Retry-After", *HEADERS]),
}
PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Last-Event-ID, Cache-Control, If-None-Match",
    "Access-Control-Max-Age": "86400",  # seconds: a day
}


def by_link(request: HttpRequest) -> bool:
    """Whether a request carries the token of a signed link, which authorizes it without any cookie."""
    return bool(request.META.get("QUERY_STRING")) and "token" in request.GET


def let_pages_read(response: HttpResponseBase) -> None:
    for name, value in FOR_PAGES.items():
        response.headers[name] = value


def open_to_pages(view: Callable[..., Any]) -> Callable[..., Any]:
    @csrf_exempt
    @wraps(view)
    async def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        linked = by_link(request)
        if linked and request.method == "OPTIONS":
            return HttpResponse(status=204, headers=PREFLIGHT)
        response: HttpResponseBase = await view(request, *args, **kwargs)
        if linked:
            let_pages_read(response)
        return response

    return run
