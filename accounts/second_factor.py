"""Second factors: who must have one, and who has."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction

from core import sealing

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


def reseal() -> tuple[int, list[int]]:
    """Seal what authenticators hold with the newest key; return how many, and those that can't be read."""
    done, lost = 0, []
    for factor in Authenticator.objects.filter(type__in=(Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES)):
        held = {name: factor.data[name] for name in ("secret", "seed") if name in factor.data}
        try:
            anew = {name: sealing.seal(sealing.unseal(sealed)) for name, sealed in held.items()}
        except sealing.SecretsUnreadable:
            lost.append(factor.pk)
            continue
        with transaction.atomic():
            locked = Authenticator.objects.select_for_update().filter(pk=factor.pk).first()
            if locked is not None and held.items() <= locked.data.items():
                Authenticator.objects.filter(pk=factor.pk).update(data=locked.data | anew)
                done += 1
    return done, lost
