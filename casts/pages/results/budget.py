"""How much of a result goes into its page: the beginning, and the rest as a download."""

from __future__ import annotations

from django.utils.html import escape

TAGS = 60  # bytes of markup around one value, about


class Budget:
    """Bytes of HTML that may still be spent."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, text: str = "", *, around: int = TAGS) -> bool:
        """Spend what a text takes as HTML; return whether it was there."""
        self.left -= around + weight(text)
        return self.left >= 0

    def beginning(self, text: str) -> str:
        """Spend what a text takes, and return it, or as much of its beginning as there is room for."""
        while text and weight(text) > max(self.left, 0):
            text = text[: int(len(text) * max(self.left, 0) / weight(text) * 0.95)]
        self.left -= weight(text)
        return text


def weight(text: str) -> int:
    return len(escape(text).encode(errors="replace"))
