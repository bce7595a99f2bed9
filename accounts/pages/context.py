from __future__ import annotations

from django.http import HttpRequest

from accounts.pages.choice import Ways


def ways(request: HttpRequest) -> dict[str, Ways]:
    """Tell every page what its navigation shows. A context processor."""
    return {"ways": Ways(request)}
