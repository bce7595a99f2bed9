"""Changing a `.env` file: what is set is set, and no line is lost."""

from __future__ import annotations

import pytest

from core.dotenv import changed, parse

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/IBAA==\n-----END RSA PRIVATE KEY-----"
NOTE = "Replaced"


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        ("", {"A": "1"}, "A=1\n"),
        ("A=1\n", {"A": "1"}, "A=1\n"),
        ("# mine\nB=2\n\n\n", {"A": "1"}, "# mine\nB=2\nA=1\n"),
        ("A=0\nB=2", {"A": "1"}, "# Replaced:\n# A=0\nB=2\nA=1\n"),
        ("A=1\nA=0\n", {"A": "1"}, "# Replaced:\n# A=1\n# Replaced:\n# A=0\nA=1\n"),
        ("A=0\r\nB=2\r\n", {"A": "1"}, "# Replaced:\r\n# A=0\r\nB=2\r\nA=1\r\n"),
        ("A_FILE=/run/a\n", {"A": "1"}, "# Replaced:\n# A_FILE=/run/a\nA=1\n"),
        (
            f'A="{PEM}"\nB=2\n',
            {"A": "1"},
            f'# Replaced:\n# A="{PEM}"\nB=2\nA=1\n'.replace("\nM", "\n# M", 1).replace("\n-----END", "\n# -----END"),
        ),
    ],
)
def test_what_was_there_stays_as_a_comment(before, values, after):
    assert changed(before, values, gone=["A_FILE"], note=NOTE) == after


@pytest.mark.parametrize("value", ["plain", "/a b/c", "it's", 'a "b" \\ c', "#1", "$HOME", " x ", 'it\'s # "x"\\', PEM])
def test_any_value_is_read_again_as_it_was(value):
    text = changed("B=2\n", {"A": value}, note=NOTE)
    assert parse(text) == ({"B": "2", "A": value}, [])
