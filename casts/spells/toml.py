"""Spells from a TOML file: one table per spell, all of them or none."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction

from casts.models import Spell
from core.db.documents import DocumentField
from core.strict_json import storable

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
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
            problems += [f"{key}: {problem}" for problem in save(spell, table, path.parent)]
        if problems:
            transaction.set_rollback(True)
    if problems:
        raise BadSpellFile("\n".join(problems))
    return created, updated


def save(spell: Spell, table: Any, folder: Path) -> list[str]:
    """Give a spell what its table says and save it; return all that is wrong with it.

    `folder`: where the paths of schema files begin.
    """
    if not isinstance(table, dict):
        return ["is not a table; write [greet] and below it the spell's fields"]
    problems: list[str] = []
    if unknown := [name for name in table if name not in FIELDS]:
        problems.append(f"does not know {', '.join(unknown)}; a spell has {', '.join(FIELDS)}")
    wrong = set()
    for name in [name for name in table if name in FIELDS]:
        field, value = Spell._meta.get_field(name), table[name]
        try:
            value = schema_of(value, folder) if isinstance(field, DocumentField) else value
            why = misfit(field, value)
        except ValueError as exc:
            why = str(exc)
        if why:
            wrong.add(name)
            problems.append(f"{name}: {why}")
        else:
            setattr(spell, name, value)
    spell.name = spell.name or spell.key
    try:
        spell.full_clean()
    except ValidationError as exc:
        # What a field is instead of what its table says, nobody has written.
        problems += [f"{name}: {' '.join(told)}" for name, told in exc.message_dict.items() if name not in wrong]
    if not problems:
        spell.save()
    return problems


def schema_of(value: Any, folder: Path) -> Any:
    """Return a schema that was given as a table, as JSON text, or as the path of a JSON file; raise ValueError.

    TOML has no null, which a schema may need: as a default, or in an enum.
    """
    if not isinstance(value, str):
        return value
    where, text = "This text", value
    if not value.lstrip().startswith("{"):
        where = value
        try:
            text = (folder / value).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or getattr(exc, "reason", None) or exc
            raise ValueError(
                f"Give a table, a JSON object as text, or the path of a JSON file; {value[:80]} can't be read: {why}."
            ) from exc
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{where} is not JSON: {exc}.") from exc


def misfit(field: Any, value: Any) -> str:
    """Say why a TOML value is not of its field's kind, blank if it is: Django would make 4 cents of 4.99."""
    if isinstance(field, models.BooleanField):
        return "" if isinstance(value, bool) else "Write true or false."
    if isinstance(field, models.IntegerField):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "Write a whole number."
    if isinstance(field, models.CharField | models.TextField):
        if not isinstance(value, str) or "\0" in value:
            return "Write text in quotes."
        choices = [choice for choice, _ in field.choices or ()]
        return f"Write one of {', '.join(choices)}; not {value[:40]!r}." if choices and value not in choices else ""
    if isinstance(field, DocumentField):
        try:
            storable(value)
        except (TypeError, ValueError) as exc:
            return f"This is not JSON: {exc}."
    return ""
