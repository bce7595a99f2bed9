"""Spells from a TOML file: one table per spell, all of them or none."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction

from casts import results
from casts.documents import DocumentField
from casts.models import Spell

FIELDS = (
    *("name", "description", "active", "runtime", "repository", "workflow_file", "ref", "event_type"),
    *("installation_id", "input_schema", "output_schema", "price_cents", "charge_failed_runs"),
    *("max_running", "timeout_seconds", "ttl_seconds", "artifact_retention_days", "show_run", "show_input"),
)


class BadSpellFile(ValueError):
    """The file can't be loaded; str() lists every problem, one a line."""


def load(path: Path) -> tuple[list[str], list[str]]:
    """Create and update spells by key; return the keys created and the keys updated. Raise BadSpellFile.

    A spell that the file does not name stays as it is.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as exc:
        raise BadSpellFile(f"{path} can't be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise BadSpellFile(f"{path} is not TOML: {exc}") from exc
    problems: list[str] = []
    created: list[str] = []
    updated: list[str] = []
    with transaction.atomic():
        for key, table in tables.items():
            spell = Spell.objects.filter(key=key).first() or Spell(key=key)
            (updated if spell.pk else created).append(key)
            problems += [f"{key}: {problem}" for problem in save(spell, table)]
        if problems:
            transaction.set_rollback(True)
    if problems:
        raise BadSpellFile("\n".join(problems))
    return created, updated


def save(spell: Spell, table: Any) -> list[str]:
    """Give a spell what its table says and save it; return what is wrong with it."""
    if not isinstance(table, dict):
        return ["is not a table; write [greet] and below it the spell's fields"]
    if unknown := [name for name in table if name not in FIELDS]:
        return [f"does not know {', '.join(unknown)}; a spell has {', '.join(FIELDS)}"]
    problems = []
    for name, value in table.items():
        if why := misfit(Spell._meta.get_field(name), value):
            problems.append(f"{name}: {why}")
        else:
            setattr(spell, name, value)
    spell.name = spell.name or spell.key
    try:
        spell.full_clean()
    except ValidationError as exc:
        problems += [f"{name}: {' '.join(messages)}" for name, messages in exc.message_dict.items()]
    if not problems:
        spell.save()
    return problems


def misfit(field: Any, value: Any) -> str:
    """Say why a TOML value is not of its field's kind, blank if it is: Django would make 4 cents of 4.99."""
    if isinstance(field, models.IntegerField):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "Write a whole number."
    if isinstance(field, models.CharField | models.TextField):
        return "" if isinstance(value, str) and "\0" not in value else "Write text in quotes."
    if isinstance(field, DocumentField):
        try:
            results.storable(value)
        except (TypeError, ValueError) as exc:
            return f"This is not JSON: {exc}."
    return ""
