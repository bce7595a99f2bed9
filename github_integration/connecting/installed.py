"""Where GitHub sends a browser after the installation. Anybody can come: nothing in the address is believed."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def installed(request: HttpRequest) -> HttpResponse:
    return render(request, "github/installed_plain.html")
