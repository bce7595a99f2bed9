from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def billing(request: HttpRequest) -> dict[str, bool]:
    """Tell every page whether there is one about money. A context processor."""
    return {"billing_on": settings.BILLING}
