"""Which passwords are too easily guessed, beyond their length."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

# Words that whoever guesses for this service tries first; with them the labels of its host. docs/how-to/log-in.md
OURS = (
    "spell",
    "platform",
    "cast",
    "github",
    "actions",
    "workflow",
    "runner",
    "admin",
    "operator",
    "password",
    "login",
)
LEAST_LEFT = 5  # letters and digits beside such words


class EasyPasswordValidator(CommonPasswordValidator):
    """Refuses common passwords, also said twice or with figures and signs around; and words of this service.

    Of Django's list of common ones fewer than 200 are as long as a password must be, but people lengthen them.
    """

    passwords: set[str]

    def validate(self, password: str, user: Any = None) -> None:
        super().validate(password, user)
        if once(without_ends(password.casefold())) in self.passwords:
            raise ValidationError(self.get_error_message(), code="password_too_common")
        if len(left_of(password)) < LEAST_LEFT and left_of(password) != plain(password):
            raise ValidationError(
                "This password is made of words of this service, which whoever guesses tries first.",
                code="password_of_our_words",
            )


def without_ends(text: str) -> str:
    """Return a text without the figures and signs before its first and behind its last letter."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", text)


def once(text: str) -> str:
    """Return what a text repeats, such as `abc` of `abcabc`; itself if it repeats nothing."""
    return text[: (text + text).find(text, 1)] if text else text


def plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def left_of(password: str) -> str:
    """Return what is left of a password's letters and digits without our words, and without figures at its ends."""
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    words = {*OURS, *(label for label in re.split(r"[.:-]", host) if len(label) > 3 and not label.isdigit())}
    left = plain(password)
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, " ")
    return plain(without_ends(left)) if left != plain(password) else left
