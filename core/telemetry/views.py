"""The page /readyz for who shows a session: with the details, if it is a member of staff."""

from asgiref.sync import async_to_sync
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from core.asgi import health as pages
from core.telemetry import health


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    try:
        detail = request.user.is_active and request.user.is_staff
    except DatabaseError:  # it may be the very thing that is wrong
        detail = False
    exclude = pages.excluded(request.META.get("QUERY_STRING", ""))
    return pages.told_of(async_to_sync(health.readiness)(exclude=exclude), detail=detail)
