"""People in the tests of the login pages: each with a password, an app and a browser."""

from __future__ import annotations

import re
import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client, TestCase

PASSWORD = "correct horse battery"
APP = "/account/second-factor/app/"


def browser(name: str = "Firefox") -> Client:
    return Client(HTTP_USER_AGENT=name)


def log_in(client: Client, login: str = "ann", password: str = PASSWORD, next: str = "") -> Any:
    return client.post("/login/", {"login": login, "password": password, **({"next": next} if next else {})})


def code(secret: str, later: int = 0) -> str:
    """Return what an app shows now, or so many periods later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + later))


def wrong_code(secret: str) -> str:
    near = {code(secret, later) for later in range(-2, 3)}
    return next(text for text in ("000000", "111111", "222222", "333333", "444444", "555555") if text not in near)


def set_up_app(client: Client) -> tuple[str, list[str]]:
    """Set up an app for who is logged in; return its key and the recovery codes that were shown."""
    found = re.search(r'class="key">([A-Z2-7]+)<', client.get(APP).text)
    assert found is not None
    with TestCase.captureOnCommitCallbacks(execute=True):
        done = client.post(APP, {"code": code(found[1])})
    assert done.headers["Location"] == "/account/second-factor/codes/"
    return found[1], re.findall(r"\b\d{8}\b", client.get(done.headers["Location"]).text)


def wrongs(answer: Any) -> str:
    """Return what a form says is wrong."""
    return " ".join(re.findall(r'<ul class="errorlist[^>]*>.*?</ul>', answer.text, re.DOTALL))
