"""Answers where no view answered: a problem below /api/, a page elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults

from core.api.headers import NOWHERE
from core.api.problems import not_found, problem, server_error
from core.errors import SpellError


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses as suspicious, such as one with a wrong Host header."""
    if _is_api(request):
        return problem(400, "MALFORMED_REQUEST", "The request can't be read. Is the Host header one of this service's?")
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return (
        problem(403, "FORBIDDEN", "Not allowed.")
        if _is_api(request)
        else defaults.permission_denied(request, exception)
    )


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return not_found(request) if _is_api(request) else defaults.page_not_found(request, exception)


def failure(request: HttpRequest, *args: Any) -> HttpResponse:
    return server_error(request) if _is_api(request) else defaults.server_error(request)


def too_many(error: SpellError) -> HttpResponse:
    """Show a refusal to a person whose request has not come as far as a view."""
    page = render_to_string("account/too_many.html", {"problem": error})
    policy = f"default-src 'none'; style-src 'self'; img-src 'self' data:; {NOWHERE}"
    return HttpResponse(page, status=error.status, headers={**error.headers, "Content-Security-Policy": policy})
