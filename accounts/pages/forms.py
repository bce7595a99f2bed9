"""The forms of the login pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from allauth.account.forms import LoginForm as AllauthLoginForm
from allauth.account.forms import ReauthenticateForm as AllauthConfirmForm
from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from django import forms
from django.contrib.auth import forms as auth_forms
from django.contrib.auth.models import User
from django.db import transaction

from accounts import attempts
from accounts.members.invitations import alike
from accounts.pages import mailer

CODE = forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false", "autocapitalize": "off"})
USED = "This code was used already. Wait for the next one."


class LoginForm(AllauthLoginForm):
    """User name, or mail address, and password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name, password = self.fields["login"], self.fields["password"]
        name.label = "User name or mail address"
        name.widget = forms.TextInput(
            attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false", "autofocus": True}
        )
        name.max_length = 254
        password.help_text = ""
        for field in (name, password):
            field.widget.attrs.pop("placeholder", None)


class ConfirmForm(AllauthConfirmForm):
    """The password once more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""
        self.fields["password"].widget.attrs["placeholder"] = ""


class _Attempt:
    """A form whose code is checked: told to `attempts` like a password."""

    user: Any

    def clean_code(self) -> str:
        attempts.before(context.request, self.user.get_username())
        try:
            code: str = self.checked()
        except forms.ValidationError:
            attempts.failed(context.request, self.user.get_username())
            raise
        attempts.passed(context.request, self.user.get_username())
        return code

    def checked(self) -> str:
        return str(super().clean_code())  # type: ignore[misc]


class _OnceOnly(_Attempt):
    """A code of an app is good once. allauth remembers it in a cache, of which each process has its own."""

    authenticator: Any

    def checked(self) -> str:
        code = super().checked()
        if self.authenticator.type == Authenticator.Type.TOTP and not use_once(self.authenticator, code):
            raise forms.ValidationError(USED)
        return code


def use_once(authenticator: Authenticator, code: str) -> bool:
    """Note up to which period an app's codes were used; return whether this code is of a later one than before."""
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
        secret = decrypt(row.data["secret"])
        periods = [
            period
            for period in yield_hotp_counters_from_time()
            if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, period)))
        ]
        if not periods or max(periods) <= row.data.get("used", 0):
            return False
        row.data["used"] = max(periods)
        row.save(update_fields=["data"])
    authenticator.data = row.data
    return True


class CodeForm(_OnceOnly, AuthenticateForm):
    """At the login: a code of the app, or a recovery code."""

    code = forms.CharField(label="Code", widget=CODE)


class ConfirmCodeForm(_OnceOnly, ReauthenticateForm):
    """The same, to confirm."""

    code = forms.CharField(label="Code", widget=CODE)


class FirstCodeForm(_Attempt, ActivateTOTPForm):
    """The first code of an app that is being set up."""

    code = forms.CharField(label="The six digits that the app shows", widget=CODE)


class ResetForm(auth_forms.PasswordResetForm):
    """Where to send a link with which a password is set anew."""

    email = forms.EmailField(
        label="Mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )

    def clean_email(self) -> str:
        address: str = self.cleaned_data["email"]
        # Each is a try that is never known to be right: nobody's mailbox is to be filled.
        attempts.before(context.request, f"mail to {address}")
        return address

    def get_users(self, email: str) -> Iterator[Any]:
        yield from super().get_users(email)
        # Made without a password, so that nobody but themselves ever knows one. Who had one that an operator took away
        # gets no new one this way.
        for user in User.objects.filter(email__iexact=email, is_active=True, last_login=None):
            if not user.has_usable_password() and alike(user.email) == alike(email):
                yield user

    def send_mail(self, *args: Any, **kwargs: Any) -> None:
        mailer.later(super().send_mail, *args, **kwargs)


class ChangeForm(auth_forms.PasswordChangeForm):
    """The old password, and a new one."""

    def clean_old_password(self) -> str:
        name = self.user.get_username()
        attempts.before(context.request, name)
        try:
            old = super().clean_old_password()
        except forms.ValidationError:
            attempts.failed(context.request, name)
            raise
        attempts.passed(context.request, name)
        return old
