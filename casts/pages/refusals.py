"""The page in place of a cast's for who may not see it, or not do what was asked."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import SpellError

HTML_STATUS = {401: 403}  # a browser would ask for a password on 401


def refused(request: HttpRequest, problem: SpellError) -> HttpResponse:
    status = HTML_STATUS.get(problem.status, problem.status)
    response = render(request, "casts/unavailable.html", {"problem": problem}, status=status)
    for name, value in problem.headers.items():
        response[name] = value
    return response
