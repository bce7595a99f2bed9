"""The pages on which people log in and look after their logins, at the site's root.

allauth's views have its names, by which it finds them. They are imported when they are first asked for: with the
passkeys' library that takes as long as a tenth of a process's start, which no worker and no command needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.module_loading import import_string

from core import paths  # noqa: F401 - registers the converters

View = Callable[..., HttpResponseBase]


def later(dotted: str) -> View:
    """Return a view that imports the one it stands for when it is asked, and whose answers nobody keeps."""

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = import_string(dotted)(request, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    return view


ACCOUNT, MFA, OURS = "allauth.account.views.", "allauth.mfa.", "accounts.pages.views."

urlpatterns = [
    path("", later(OURS + "start"), name="start"),
    path("login/", later(ACCOUNT + "login"), name="account_login"),
    path("login/code/", later(MFA + "base.views.authenticate"), name="mfa_authenticate"),
    path("login/passkey/", later(MFA + "webauthn.views.login_webauthn"), name="mfa_login_webauthn"),
    path("logout/", later(ACCOUNT + "logout"), name="account_logout"),
    path("password/", later(OURS + "reset"), name="account_reset_password"),
    path("password/sent/", later(OURS + "reset_sent"), name="reset_sent"),
    path("password/new/<uidb64>/<token>/", later(OURS + "reset_confirm"), name="reset_confirm"),
    path("account/", later(OURS + "overview"), name="account"),
    path("account/password/", later(OURS + "change_password"), name="account_change_password"),
    path("account/sessions/", later(OURS + "sessions_page"), name="sessions"),
    path("account/<int:account_id>/members/", later("accounts.pages.members.members"), name="account-members"),
    path(
        "account/<int:account_id>/members/<row:user_id>/",
        later("accounts.pages.members.one"),
        name="account-members-one",
    ),
    path("account/<int:account_id>/audit/", later("accounts.pages.audit.audit"), name="account-audit"),
    path("invitation/<str:token>/", later("accounts.pages.invitation.invitation"), name="invitation"),
    path("account/confirm/", later(ACCOUNT + "reauthenticate"), name="account_reauthenticate"),
    path("account/confirm/code/", later(MFA + "base.views.reauthenticate"), name="mfa_reauthenticate"),
    path(
        "account/confirm/passkey/",
        later(MFA + "webauthn.views.reauthenticate_webauthn"),
        name="mfa_reauthenticate_webauthn",
    ),
    path("account/second-factor/", later(OURS + "factors"), name="mfa_index"),
    path("account/second-factor/app/", later(MFA + "totp.views.activate_totp"), name="mfa_activate_totp"),
    path("account/second-factor/app/remove/", later(MFA + "totp.views.deactivate_totp"), name="mfa_deactivate_totp"),
    path(
        "account/second-factor/codes/",
        later(MFA + "recovery_codes.views.view_recovery_codes"),
        name="mfa_view_recovery_codes",
    ),
    path(
        "account/second-factor/codes/new/",
        later(MFA + "recovery_codes.views.generate_recovery_codes"),
        name="mfa_generate_recovery_codes",
    ),
    path("account/second-factor/passkeys/", later(OURS + "passkeys"), name="mfa_list_webauthn"),
    path("account/second-factor/passkeys/add/", later(MFA + "webauthn.views.add_webauthn"), name="mfa_add_webauthn"),
    path(
        "account/second-factor/passkeys/<int:pk>/remove/",
        later(OURS + "remove_passkey"),
        name="mfa_remove_webauthn",
    ),
]
