"""System checks of alarms: what could not tell anybody anything."""

from __future__ import annotations

import base64
import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from casts.callbacks.signing import SECRET_PREFIX
from core import safe_http

MAIL_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
LEAST_ALARM = 24  # bytes, as the specification of Standard Webhooks wants
MAKE_ONE = "Make one: python3 -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"


@register()
def alarms(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.ALARM_URL:
        try:
            safe_http.target_of(settings.ALARM_URL)
        except ValueError as exc:
            found.append(Error(f"ALARM_URL: {exc}", hint="See docs/how-to/alarms.md.", id="spell.E050"))
        if not settings.ALARM_SECRETS:
            said = "ALARM_URL is set without ALARM_SECRET: nobody could tell our alarms from anybody's."
            found.append(Error(said, hint=MAKE_ONE, id="spell.E051"))
    for number, secret in enumerate(settings.ALARM_SECRETS, 1):
        try:
            long_enough = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)) >= LEAST_ALARM
        except ValueError:
            long_enough = False
        if not secret.startswith(SECRET_PREFIX) or not long_enough:
            said = f"ALARM_SECRET, entry {number}, is not whsec_ and the base64 of at least {LEAST_ALARM} bytes."
            found.append(Error(said, hint=MAKE_ONE, id="spell.E052"))
    wrong = [address for address in settings.ALARM_MAIL if not MAIL_ADDRESS.fullmatch(address)]
    if wrong:
        found.append(Error(f"ALARM_MAIL: {wrong[0]!r} is no mail address.", id="spell.E053"))
    return found
