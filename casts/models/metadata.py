"""Casts by their metadata."""

from __future__ import annotations

import hashlib

from django.db import models

from casts.models.cast import Cast


def mark_of(account_id: int, name: str, value: str) -> int:
    """Return a number of 63 bits that stands for an entry of an account's casts."""
    digest = hashlib.sha256(f"{account_id}\0{name}\0{value}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class MetadataMark(models.Model):
    """That a cast has an entry in its metadata; lists of casts are filtered by it.

    A number in place of name and value, which together may be longer than Postgres takes into an index. That two of an
    account's entries have the same one is about as likely as that a cast's id is guessed.
    """

    mark = models.BigIntegerField()
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="metadata_marks", db_index=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mark", "cast"], name="one_mark_per_entry")]

    def __str__(self) -> str:
        return f"{self.mark} {self.cast_id}"
