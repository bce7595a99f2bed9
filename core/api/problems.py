"""Errors as the API gives them: RFC 9457 problem details, on every path and for every status."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from http import HTTPStatus
from itertools import islice
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from rest_framework import exceptions
from rest_framework.response import Response

from core import json_schema, limits
from core.api import catalog
from core.db.timeouts import took_too_long
from core.errors import SpellError

logger = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")  # of the request at work; set by middleware
CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 2  # told to callers while the database is away


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    title: str | None = None,
    headers: dict[str, str] | None = None,
    **extra: Any,
) -> HttpResponse:
    """Return one problem. `code` is stable and for programs, `detail` is for people and says how to fix it."""
    kind = catalog.BY_CODE.get(code)
    body = {
        "type": kind.url if kind else "about:blank",
        "title": title or (kind.title if kind else HTTPStatus(status).phrase),
        "status": status,
        "detail": detail if len(detail) <= limits.DETAIL_CHARS else detail[: limits.DETAIL_CHARS - 1] + "…",
        "code": code,
        "request_id": request_id.get(),
        **extra,
    }
    return HttpResponse(json.dumps(body, ensure_ascii=False), status=status, content_type=CONTENT_TYPE, headers=headers)


def of_error(error: SpellError) -> HttpResponse:
    headers = dict(error.headers)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="spell-platform"'
    return problem(error.status, error.code, str(error), title=error.title, headers=headers, **error.extra)


def render(exc: Exception, context: dict[str, Any]) -> Response | HttpResponse | None:  # noqa: C901 - a table, a case a line
    """Return the answer to an exception; DRF's EXCEPTION_HANDLER. None: unexpected, so it becomes a logged 500."""
    match exc:
        case SpellError():
            return of_error(exc)
        case Http404():
            return problem(404, "NOT_FOUND", "There is nothing here.")
        case exceptions.ParseError():
            return problem(400, "MALFORMED_JSON", str(exc.detail))
        case exceptions.MethodNotAllowed():
            allowed = ", ".join(context["view"].allowed_methods)
            detail = f"{context['request'].method} is not possible here; use {allowed}."
            return problem(405, "METHOD_NOT_ALLOWED", detail, headers={"Allow": allowed})
        case exceptions.UnsupportedMediaType():
            return problem(415, "UNSUPPORTED_MEDIA_TYPE", "Send JSON, with Content-Type: application/json.")
        case exceptions.NotAcceptable():
            return problem(406, "NOT_ACCEPTABLE", "Answers are JSON; leave Accept out or ask for application/json.")
        case exceptions.ValidationError():
            return problem(
                422, "VALIDATION_ERROR", "The request is not valid.", title="Not valid", errors=violations(exc.detail)
            )
        case RequestDataTooBig():
            return problem(413, "INPUT_TOO_LARGE", "The request body is too large.")
        case exceptions.NotFound():
            return problem(404, "NOT_FOUND", str(exc.detail))
        case exceptions.APIException():
            return problem(exc.status_code, str(exc.default_code).upper(), str(exc.detail))
        case PermissionDenied():
            return problem(403, "FORBIDDEN", "Not allowed.")
        case OperationalError() | InterfaceError():
            return unavailable(exc)
    return None


def unavailable(exc: BaseException) -> HttpResponse:
    """Answer a request that the database could not serve: it is away, restarts, is overloaded, or took too long."""
    if took_too_long(exc):
        logger.warning("statement ended: it took too long", exc_info=exc)
        detail = (
            "This took too long and was ended. Ask for less: a filter that finds fewer, a shorter time; or try again."
        )
        return problem(503, "UNAVAILABLE", detail, headers={"Retry-After": str(5 * RETRY_SECONDS)})
    logger.error("database unavailable", exc_info=exc)
    detail = "The service can't reach its database at the moment. Try again; with an Idempotency-Key that is safe."
    return problem(503, "UNAVAILABLE", detail, headers={"Retry-After": str(RETRY_SECONDS)})


def violations(detail: Any) -> list[dict[str, str]]:
    """Return a serializer's errors as a list of {pointer, detail}, with JSON Pointers into the request body."""
    return list(islice(_violations(detail, ""), limits.VIOLATIONS))


def _violations(detail: Any, at: str) -> Iterator[dict[str, str]]:
    if isinstance(detail, dict):
        for name, sub in detail.items():
            yield from _violations(sub, at if name == "non_field_errors" else at + json_schema.pointer([name]))
    elif isinstance(detail, list):
        for sub in detail:
            yield from _violations(sub, at)
    else:  # a message; lists and objects above only say where it belongs
        yield {"pointer": limits.cut(at), "detail": limits.cut(str(detail))}


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an unexpected failure: the log has the trace, the caller gets the request's number."""
    # Raised outside a view, where `render` does not see it.
    if isinstance(exc := sys.exc_info()[1], OperationalError | InterfaceError):
        return unavailable(exc)
    return problem(500, "INTERNAL", "Something went wrong here. It was logged; the request_id finds it.")


def not_found(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
    if request.path_info.endswith("/") and is_ours(request.path_info.rstrip("/")):
        without = request.path.rstrip("/")
        return problem(404, "NOT_FOUND", f"There is no {request.path} here. Leave out the slash at its end: {without}")
    return problem(404, "NOT_FOUND", f"There is no {request.path} here. /api/v1/docs lists what there is.")


def is_ours(path: str) -> bool:
    try:
        return resolve(path).func is not not_found
    except Resolver404:
        return False
