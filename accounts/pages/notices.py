"""Mail about what was changed of somebody's login: who did not do it themselves should know."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.pages import browsers, mailer
from core.api.address import client_address


def tell(request: HttpRequest, user: User, what: str) -> None:
    """Write to a user, who may have no mail address, what has happened: a sentence."""
    if not user.email:
        return
    context = {
        "user": user,
        "what": what,
        "at": timezone.now(),
        "address": client_address(request),
        "browser": browsers.called(request.META.get("HTTP_USER_AGENT", "")),
        "base": settings.PUBLIC_URL,
    }
    mailer.send_later(what.rstrip("."), render_to_string("account/mail/notice.txt", context), user.email)
