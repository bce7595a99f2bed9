"""Where allauth asks us: who may log in how, where to afterwards, and how long a proof of who somebody is lasts."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from accounts import second_factor
from core import sealing
from core.api.address import client_address

logger = logging.getLogger(__name__)


def proved_lately(request: HttpRequest) -> bool:
    """Whether the user has shown a password or a second factor within REAUTHENTICATE_SECONDS, at the login or since."""
    store: Any = request.session
    shown = [record["at"] for record in get_authentication_records(request, request.user)]
    last = max([store.started_at.timestamp() if store.started_at else 0.0, *shown])
    return bool(time.time() - last < settings.REAUTHENTICATE_SECONDS)


ONLY_FACTOR = "A second factor is required here, and this is your only one. Set up another first."
WRONG_CODE = "This code is wrong, or too old."


class AccountAdapter(DefaultAccountAdapter):
    """ACCOUNT_ADAPTER."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "This name or this password is wrong.",
        "incorrect_password": "This password is wrong.",
        "incorrect_code": WRONG_CODE,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False  # operators make users

    def is_safe_url(self, url: str) -> bool:
        # Paths of ours, and our own address; not the other names in ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS.
        request = context.request
        return url_has_allowed_host_and_scheme(
            url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
        )

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        # Only by a passkey does it come so far: with a password the user is as good as unknown.
        messages.error(request, "This login is closed. An operator can tell you why.")
        return redirect("account_login")

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        return not proved_lately(context.request)


class FactorAdapter(DefaultMFAAdapter):
    """MFA_ADAPTER."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": WRONG_CODE,
        "cannot_delete_authenticator": ONLY_FACTOR,
    }

    def encrypt(self, text: str) -> str:
        return sealing.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return str(sealing.unseal(encrypted_text))
        except sealing.SecretsUnreadable:
            logger.error("a second factor can't be read: its key is missing in FIELD_ENCRYPTION_KEYS")
            return base64.b32encode(secrets.token_bytes(20)).decode()  # which no code fits

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        user = authenticator.user
        others = Authenticator.objects.filter(user=user, type__in=second_factor.FACTORS).exclude(pk=authenticator.pk)
        return not second_factor.required(user) or others.exists()

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return f"Passkey {count + 1}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        # The host that was asked for, which Django has held against ALLOWED_HOSTS: a passkey works under one only.
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return entity | {"name": "Spell Platform"}
