"""Whose password it is: Django's own check, by user name or mail address, with every attempt told to `attempts`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest

from accounts import attempts


class PasswordBackend(ModelBackend):
    """The only way in with a password (AUTHENTICATION_BACKENDS)."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if not username or not password:
            return None
        attempts.before(request, username)
        # Whoever was not found costs a hash all the same: the time must not tell who exists.
        found: User | None = super().authenticate(request, username=named(username), password=password)
        (attempts.passed if found else attempts.failed)(request, username)
        return found


def named(name: str) -> str:
    """Return the user name that was meant: the one of the only active user with this mail address, or the text."""
    if "@" not in name or User.objects.filter(username=name).exists():
        return name
    names = list(User.objects.filter(email__iexact=name, is_active=True).values_list("username", flat=True)[:2])
    return names[0] if len(names) == 1 else name
