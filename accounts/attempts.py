"""What is asked before a password or a code is checked, and told how that went: the one place to ration attempts.

Every check passes here: the login page (and with it the admin's), confirming, changing a password, the codes of a
second factor, and whatever else calls Django's `authenticate`.
"""

from __future__ import annotations

import logging

from django.http import HttpRequest

from accounts.rationing import logins
from core.api.address import UNKNOWN, client_address

logger = logging.getLogger(__name__)


def before(request: HttpRequest | None, who: str) -> None:
    """Refuse an attempt by raising a SpellError of status 429, before a password is hashed.

    `who` is the name that was typed, which may be nobody's; without a request it is a command or a shell that asks.
    """
    logins.before(request, who)


def failed(request: HttpRequest | None, who: str) -> None:
    """Take note of a wrong password or code."""
    address = UNKNOWN if request is None else client_address(request)
    logger.warning("login refused", extra={"address": address})


def passed(request: HttpRequest | None, who: str) -> None:
    """Take note of a right one."""
    logins.passed(request, who)
