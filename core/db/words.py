"""Conditions whose words are written into the statement, so that SQLite finds the partial index which names them.

It compares an index's condition with the statement's as texts; a parameter could be anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import F, Lookup

if TYPE_CHECKING:
    AnyLookup = Lookup[Any]
else:
    AnyLookup = Lookup

WORD = re.compile(r"[a-z_]+")


class AmongWords(AnyLookup):
    """Whether a column has one of a few words of our own; in the order in which the index has them."""

    def __init__(self, column: str, words: Sequence[str]) -> None:
        assert all(WORD.fullmatch(word) for word in words), "only plain words are safe in a statement's text"
        self.words = words
        super().__init__(F(column), ",".join(words))

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        column, params = self.process_lhs(compiler, connection)
        words = ", ".join(f"'{word}'" for word in self.words)
        return f"{column} IN ({words})", params
