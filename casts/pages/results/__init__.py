"""What a run came to, as people read it: its text, its values, its files."""

from casts.pages.results.page import result_of

__all__ = ["result_of"]
