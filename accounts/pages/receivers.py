"""What else happens when a second factor is set up or removed, or somebody confirms."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import authentication_step_completed
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.http import HttpRequest

from accounts import sessions
from accounts.pages import notices
from accounts.second_factor import FACTORS

NAMES = {Authenticator.Type.TOTP: "An app for codes", Authenticator.Type.WEBAUTHN: "A passkey"}


def _added(sender: Any, request: HttpRequest, user: Any, authenticator: Authenticator, **kwargs: Any) -> None:
    if authenticator.type not in FACTORS:
        return
    # Of those that have begun without it nobody knows whose they are.
    sessions.end(user, but=request.session.session_key)
    if authenticator.type == Authenticator.Type.TOTP:
        from accounts.pages.forms import use_once  # with the passkeys' library, which few processes need

        use_once(authenticator, request.POST.get("code", ""))
    notices.tell(request, user, f"{NAMES[authenticator.type]} was added to your login.")


def _removed(sender: Any, request: HttpRequest, user: Any, authenticator: Authenticator, **kwargs: Any) -> None:
    if authenticator.type in FACTORS:
        notices.tell(request, user, f"{NAMES[authenticator.type]} was removed from your login.")


def _reset(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    notices.tell(request, user, "New recovery codes were made for your login.")


def _confirmed(sender: Any, request: HttpRequest, reauthenticated: bool = False, **kwargs: Any) -> None:
    if reauthenticated:  # what the session may do now, it may under a key that nobody saw before
        request.session.cycle_key()


def connect() -> None:
    authentication_step_completed.connect(_confirmed, dispatch_uid="login")
    authenticator_added.connect(_added, dispatch_uid="login")
    authenticator_removed.connect(_removed, dispatch_uid="login")
    authenticator_reset.connect(_reset, dispatch_uid="login")
