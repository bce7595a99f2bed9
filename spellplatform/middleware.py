"""Middleware that never blocks the event loop and never holds a thread while a view waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from whitenoise.middleware import WhiteNoiseMiddleware

from core import access
from core.api.headers import add_headers, add_page_headers, number_request
from core.asgi.traces import name_span

Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

LOGGING_OUT = ("account_logout", "admin:logout")


class RequestIdMiddleware:
    """Number every request: with a proxy's X-Request-Id if it is sound, else with our own."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        number = number_request(request.headers.get("X-Request-Id", ""))
        if iscoroutinefunction(self.get_response):
            return self._finish(request, self.get_response(request), number)
        response: HttpResponseBase = self.get_response(request)  # type: ignore[assignment]
        self.finish(request, response, number)
        return response

    async def _finish(self, request: HttpRequest, answer: Awaitable[HttpResponseBase], number: str) -> HttpResponseBase:
        response = await answer
        self.finish(request, response, number)
        return response

    def finish(self, request: HttpRequest, response: HttpResponseBase, number: str) -> None:
        response.headers["X-Request-Id"] = number
        if request.resolver_match is not None:
            access.note(route=request.resolver_match.view_name)
            name_span(request.method or "", f"/{request.resolver_match.route}")


class PagesMiddleware(RequestIdMiddleware):
    """Number every request for a page, and add the headers that all answers carry, styles and scripts too."""

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Refuse a form in another encoding, in which browsers send none: Django fails at some of them half way."""
        given = (request.content_params or {}).get("charset", "")
        utf_8 = given.strip().lower().replace("_", "-") in ("", "utf-8", "utf8")
        if not utf_8 and not request.path.startswith("/api/"):
            raise BadRequest("Forms are sent in UTF-8.")

    def finish(self, request: HttpRequest, response: HttpResponseBase, number: str) -> None:
        super().finish(request, response, number)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and isinstance(response, HttpResponse):
            # Who reloads what a form was sent to. Django's own answer is an empty page.
            response.content = response.content or render_to_string("405.html").encode()
            response.headers["Content-Length"] = str(len(response.content))  # CommonMiddleware has set it
        add_page_headers(response)
        if request.method == "POST" and request.resolver_match and request.resolver_match.view_name in LOGGING_OUT:
            # Artifacts may be in the browser's cache, to be asked about each time.
            response.headers["Clear-Site-Data"] = '"cache", "storage"'
        # Only if somebody asked who it is: to look it up for the log would cost queries.
        if (user := getattr(request, "_cached_user", None)) is not None and user.is_authenticated:
            access.note(user=user.pk)


class ApiHeadersMiddleware:
    """The headers that every API answer carries; Django's own middleware for them needs a thread."""

    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = await self.get_response(request)
        add_headers(response)
        if isinstance(response, HttpResponse) and request.method == "HEAD":
            response.content = b""
        return response


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise, which finds nothing in a fresh clone and does not warn of it."""

    # Django's own sends neither ETag nor Cache-Control.

    def add_files(self, root: Any, prefix: str | None = None) -> None:
        # A fresh clone has no collected files, which is no reason for a warning.
        if Path(root).is_dir():
            super().add_files(root, prefix)
