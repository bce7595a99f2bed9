"""Pages that explain the API's problems: what `type` of a problem leads to. Open to everybody."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.api import catalog


@require_safe
def kinds(request: HttpRequest) -> HttpResponse:
    return render(request, "problems/all.html", {"kinds": catalog.KINDS})


@require_safe
def kind(request: HttpRequest, slug: str) -> HttpResponse:
    if (found := catalog.BY_SLUG.get(slug)) is None:
        raise Http404
    return render(request, "problems/one.html", {"kind": found})
