"""Failed logins: counted by address, and by user name, before a password is hashed.

A try is counted as failed before it is looked at, and taken back if it succeeds, so that of many at once no more are
looked at than may be. The count of a user name makes only those wait who have failed for that name from their own
address: whoever comes from elsewhere with the right password is let in at once, however many others are guessing.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from core.api.address import client_address, counted_as
from core.rationing import Penalty, RateLimited
from core.rationing.penalties import check, failed, forget, undo

BY_ADDRESS = Penalty("failed-logins", "failed logins", 3600)
BY_USER = Penalty("failed-logins-of-user", "failed logins", 3600, blocks=False)
HERE = Penalty("failed-logins-here", "failed logins with this user name", 3600)
NEVER = 2**31  # failed tries: of these it is the user name's count that makes wait


def before(request: HttpRequest | None, who: str) -> None:
    """Count a try to log in. Raise RateLimited if it has to wait. Without a request (a command, a shell) none does."""
    if request is None:
        return
    address, name = counted_as(client_address(request)), digest(who)
    here = f"{name} {address}"
    check(BY_ADDRESS, address)
    check(HERE, here)
    failed(BY_ADDRESS, address, free=settings.RATION_FAILED_LOGINS)
    tries = failed(BY_USER, name, free=settings.RATION_FAILED_LOGINS_PER_USER)
    if tries is None:
        return
    try:
        failed(HERE, here, free=NEVER, least=tries.delay)
    except RateLimited:  # it was not looked at, so it has not failed
        taken_back(address, name)
        raise


def passed(request: HttpRequest | None, who: str) -> None:
    """Take back a try that has succeeded."""
    if request is None:
        return
    address, name = counted_as(client_address(request)), digest(who)
    taken_back(address, name)
    if settings.RATION_FAILED_LOGINS_PER_USER:
        forget(HERE, f"{name} {address}")


def taken_back(address: str, name: str) -> None:
    if settings.RATION_FAILED_LOGINS:
        undo(BY_ADDRESS, address)
    if settings.RATION_FAILED_LOGINS_PER_USER:
        undo(BY_USER, name)


def digest(who: str) -> str:
    """Return what stands for a name that was typed: by mistake that may have been a password."""
    return salted_hmac("accounts.rationing.logins", who.strip().casefold()).hexdigest()[:16]
