"""What else happens when a second factor is set up."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added
from django.http import HttpRequest

from accounts import sessions
from accounts.second_factor import FACTORS


def _added(sender: Any, request: HttpRequest, user: Any, authenticator: Authenticator, **kwargs: Any) -> None:
    if authenticator.type not in FACTORS:
        return
    # Of those that have begun without it nobody knows whose they are.
    sessions.end(user, but=request.session.session_key)
    if authenticator.type == Authenticator.Type.TOTP:
        from accounts.pages.forms import use_once  # with the passkeys' library, which few processes need

        use_once(authenticator, request.POST.get("code", ""))


def connect() -> None:
    authenticator_added.connect(_added, dispatch_uid="sessions")
