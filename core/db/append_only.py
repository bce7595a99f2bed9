"""Rows that are history: added, and never changed or deleted. A trigger in the database refuses as well."""

from __future__ import annotations

from typing import Any

from django.db import models


class AppendOnly(TypeError):
    """A row of history was to be changed or deleted."""


class History(models.Model):
    """Evidence."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly(f"A {self._meta.verbose_name} is never changed; add another one.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnly(f"A {self._meta.verbose_name} is never deleted.")
