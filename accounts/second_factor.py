"""Second factors: who must have one, and who has."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

# Recovery codes are no factor by themselves: they stand in for one of these.
FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)


def required(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a user must have a second factor (REQUIRE_SECOND_FACTOR)."""
    if settings.REQUIRE_SECOND_FACTOR == "all":
        return user.is_authenticated
    is_staff = getattr(user, "is_staff", False) or getattr(user, "is_superuser", False)
    return settings.REQUIRE_SECOND_FACTOR == "staff" and is_staff


def has(user: AbstractBaseUser | AnonymousUser) -> bool:
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=FACTORS).exists())


def missing(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether a user must set up a second factor before anything else."""
    return required(user) and not has(user)


def remove(user: AbstractBaseUser) -> int:
    """Remove all second factors of a user, recovery codes included; return how many."""
    return int(Authenticator.objects.filter(user_id=user.pk).delete()[0])
