"""Mail about what was changed of somebody's login: who did not do it themselves should know."""

from __future__ import annotations

import logging

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.pages import browsers, mailer
from core.api.address import client_address

logger = logging.getLogger(__name__)


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
    mailer.later(_send, what.rstrip("."), render_to_string("account/mail/notice.txt", context), user.email)


def _send(subject: str, text: str, to: str) -> None:
    try:
        send_mail(subject, text, None, [to])
    except Exception:  # whatever the mail server does, nobody waits for it
        logger.exception("mail not sent")
