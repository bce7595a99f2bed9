"""Answers where no view answered: a problem below /api/, a page elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from core.api.headers import NOWHERE
from core.api.problems import not_found, problem, server_error
from core.errors import SpellError

NOTICE = f"default-src 'none'; style-src 'self'; img-src 'self' data:; {NOWHERE}"
UNREADABLE = "Your browser's request can't be read. Go back, load the page again, and send it from there."
HEADINGS = {
    400: "This can't be read",
    408: "This took too long",
    413: "This is too large",
    414: "This address is too long",
}
# Django's own views of errors read the form again, for its CSRF token: one that can't be read fails there once more,
# and would be answered by the server, without a page or a header. Those below ask nothing of a request's body.


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses as suspicious, such as one with a wrong Host header."""
    if _is_api(request):
        return problem(400, "MALFORMED_REQUEST", "The request can't be read. Is the Host header one of this service's?")
    return refused(400, UNREADABLE)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        return problem(403, "FORBIDDEN", "Not allowed.")
    return render(request, "403.html", {"exception": str(exception)}, status=403)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that does not show it came from one of our pages, or came from one that is too old."""
    return render(request, "403_csrf.html", status=403)


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return not_found(request) if _is_api(request) else render(request, "404.html", status=404)


def failure(request: HttpRequest, *args: Any) -> HttpResponse:
    return server_error(request) if _is_api(request) else HttpResponse(render_to_string("500.html"), status=500)


def refused(status: int, said: str) -> HttpResponse:
    """Show people why a request has not come as far as a view."""
    page = render_to_string("refused.html", {"number": status, "heading": HEADINGS[status], "said": said})
    return HttpResponse(page, status=status, headers={"Content-Security-Policy": NOTICE})


def too_many(error: SpellError) -> HttpResponse:
    """Show a refusal to a person whose request has not come as far as a view."""
    page = render_to_string("account/too_many.html", {"problem": error})
    return HttpResponse(page, status=error.status, headers={**error.headers, "Content-Security-Policy": NOTICE})
