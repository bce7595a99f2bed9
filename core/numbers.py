"""Numbers that somebody sent as text, in an address, a query or a form; and how many there are of something."""

from __future__ import annotations


def natural(text: str, *, digits: int = 18) -> int | None:
    """Return a whole number that is not below 0, None for what is none or has more digits. 18: any row's number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None


def counted(number: int, word: str) -> str:
    """Return how many there are: `1 cast`, `1,200 casts`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
