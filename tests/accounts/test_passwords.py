"""Which passwords are refused, with a reason, and which are not."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.passwords import OURS
from tests.pages import DOCS


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short enough", None),
        ("elevenchars", "password_too_short"),
        ("qwertyuiop123", "password_too_common"),
        ("letmein123456!", "password_too_common"),
        ("2026-Dragon-2026", "password_too_common"),
        ("Princess1990!!", "password_too_common"),
        ("iloveyouiloveyou", "password_too_common"),
        ("spellplatform", "password_of_our_words"),
        ("Spell-Platform-2026!", "password_of_our_words"),
        ("github actions", "password_of_our_words"),
        ("MyPlatformAdmin1", "password_of_our_words"),
        ("spells.acmecorp!", "password_of_our_words"),
        ("ann.lovelace@home", "password_too_similar"),
        ("correct horse battery", None),
        ("platform 9 and three quarters", None),
        ("628401937465", None),  # of any kind of character
        ("!?*+#-;:=&%$§", None),
        ("ein großer Wal ✓", None),
        ("x" * 3 + "k7" * 60, None),
    ],
)
def test_a_password_is_taken_or_refused_with_its_reason(settings, password, code):
    settings.PUBLIC_URL = "https://spells.acmecorp.example"
    user = User(username="ann", email="ann.lovelace@example.com", first_name="Ann", last_name="Lovelace")
    if code is None:
        validate_password(password, user)
        return
    with pytest.raises(ValidationError) as refused:
        validate_password(password, user)
    assert code in [error.code for error in refused.value.error_list]
    assert all(refused.value.messages)


def test_the_page_names_every_word():
    page = (DOCS / "how-to" / "log-in.md").read_text()
    [named] = re.findall(r"words that belong here: ([\w\s,]+?), and the\s+names", page)
    assert re.split(r",\s+", named) == list(OURS)
