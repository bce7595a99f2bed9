"""Spells from a TOML file: one table per spell, all of them or none."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import models, transaction

from accounts.models import Account
from casts import versions
from casts.definition import fields_of
from casts.models import PriceKind, Spell, SpellTarget
from casts.runtime import runtime_for
from core.db.documents import DocumentField
from core.strict_json import storable


class BadSpellFile(ValueError):
    """The file can't be loaded; str() lists every problem, one a line."""


class Mistake(NamedTuple):
    """What is wrong with a spell's table."""

    field: str  # blank: the whole table
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}" if self.field else self.text


Reader = Callable[[str], str]  # of the file at a path; raises ValueError, whose text says why it can't be read


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
            kept_in = "" if (target := target_of(spell, {})) is None else target.kept_in()
            if kept_in:
                problems.append(f"{key}: is kept in {kept_in}, and changed there alone")
                continue
            found = save(spell, table, reader_in(path.parent), source=path.name, owners=True)
            problems += [f"{key}: {mistake}" for mistake in found]
        if problems:  # all of the file, or nothing
            transaction.set_rollback(True)
    if problems:
        raise BadSpellFile("\n".join(problems))
    return created, updated


def reader_in(folder: Path) -> Reader:
    """Return what reads files by their paths from a folder."""

    def read(path: str) -> str:
        try:
            return (folder / path).read_text(encoding="utf-8-sig")  # with or without a byte order mark
        except (OSError, ValueError) as exc:
            raise ValueError(getattr(exc, "strerror", None) or getattr(exc, "reason", None) or exc) from exc

    return read


def save(
    spell: Spell, table: Any, read: Reader, *, by: str = "", source: str = "", owners: bool = False
) -> list[Mistake]:
    """Do as `fill` does, and save the spell if nothing is wrong with it.

    In the caller's transaction. `by` and `source`: of the version. `owners`: whether the table may say whose it is.
    """
    wrong = fill(spell, table, read, owners=owners)
    if not wrong:
        for row in rows_of(spell, table):
            row.save(keep_version=False)
        versions.keep(spell, by=by, source=source)
    return wrong


def rows_of(spell: Spell, table: dict[str, Any]) -> list[Spell | SpellTarget]:
    target = target_of(spell, table)
    return [spell] if target is None else [spell, target]


def fill(spell: Spell, table: Any, read: Reader, *, owners: bool = False, checked: bool = False) -> list[Mistake]:
    """Set a spell's fields from its table; return all that is wrong with it.

    `read`: reads the files that hold schemas. `checked`: the same table was found right before, so the spell as a
    whole, which takes long, is not looked at again.
    """
    if not isinstance(table, dict):
        return [Mistake("", "is not a table; write [greet] and below it the spell's fields")]
    target = target_of(spell, table)
    rows = rows_of(spell, table)
    own = written_fields(type(target) if target is not None else None)
    fields = (*own, *(["account"] if owners else []))
    problems: list[Mistake] = []
    if unknown := [name for name in table if name not in fields]:
        problems.append(Mistake("", f"does not know {', '.join(unknown)}; a spell has {', '.join(fields)}"))
    problems += (wrong_price := set_price(spell, table))
    wrong = set(PRICE_PARTS if wrong_price else ())
    for name in [name for name in table if name in fields and name not in ("price", "price_cents")]:
        row = target if target is not None and name in target.names() else spell
        field, value = row._meta.get_field(name), table[name]
        try:
            if name == "account":
                value = account_named(value)
            value = schema_of(value, read) if name in SCHEMAS else value
            why = misfit(field, value)
        except ValueError as exc:
            why = str(exc)
        if why:
            wrong.add(name)
            problems.append(Mistake(name, why))
        else:
            setattr(row, name, value)
    spell.name = spell.name or spell.key
    if checked and not problems:
        return []
    # A field whose value was refused above still has its old value: what is wrong with that, nobody wrote.
    names = ("key", *fields_of(type(target) if target is not None else None))
    found = {name: told for name, told in mistakes(rows, names).items() if name not in wrong}
    return problems + [Mistake(as_written(name, table), " ".join(told)) for name, told in found.items()]


SCHEMAS = ("input_schema", "output_schema")
# The columns of a price. A table writes them as one: as price_cents, for a flat one, or as price.
PRICE_PARTS = ("price_cents", "price_kind", "per_minute_cents")
PRICE_SHAPES = (
    "Write {per_minute_cents = 5, max_cents = 100} for a price per started minute, or {reported = true, max_cents = "
    "100} for one that the run reports. A flat price is price_cents = 5, without price."
)


def written_fields(target: type[SpellTarget] | None) -> tuple[str, ...]:
    """Return the fields that a table may have."""
    return tuple("price" if name == "price_kind" else name for name in fields_of(target) if name != "per_minute_cents")


def as_written(field: str, table: dict[str, Any]) -> str:
    """Return under which name a table has what a field of the spell says."""
    return "price" if field in PRICE_PARTS and (field != "price_cents" or "price" in table) else field


def set_price(spell: Spell, table: dict[str, Any]) -> list[Mistake]:
    """Set the columns of a spell's price, if its table has one; return what is wrong with it."""
    written = [name for name in ("price", "price_cents") if name in table]
    try:
        for name, value in price_in(table).items() if written else ():
            setattr(spell, name, value)
    except ValueError as exc:
        return [Mistake(written[0], str(exc))]
    return []


def price_in(table: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the price that a table sets; raise ValueError."""
    flat: dict[str, Any] = {"price_kind": PriceKind.FLAT, "per_minute_cents": None}
    if "price" not in table:
        if why := misfit(Spell._meta.get_field("price_cents"), table["price_cents"]):
            raise ValueError(why)
        return flat | {"price_cents": table["price_cents"]}
    if "price_cents" in table:
        raise ValueError("A spell has one price: write price or price_cents, not both.")
    price = table["price"]
    if not isinstance(price, dict) or price.keys() not in (
        {"per_minute_cents", "max_cents"},
        {"reported", "max_cents"},
    ):
        raise ValueError(PRICE_SHAPES)
    for name in ("per_minute_cents", "max_cents"):
        if why := misfit(Spell._meta.get_field("price_cents"), price.get(name, 0)):
            raise ValueError(f"{name}: {why}")
    if price.get("reported", True) is not True:
        raise ValueError(f"reported: Write true, or another price. {PRICE_SHAPES}")
    kind = PriceKind.REPORTED if "reported" in price else PriceKind.PER_MINUTE
    return {"price_kind": kind, "per_minute_cents": price.get("per_minute_cents"), "price_cents": price["max_cents"]}


def mistakes(rows: list[Spell | SpellTarget], fields: Sequence[str]) -> dict[str, list[str]]:
    """Return what is wrong with a spell and its target, by field; in order, mistakes of a single field first."""
    found: dict[str, list[str]] = {}
    alone: set[str] = set()
    for row in rows:
        try:
            row.clean_fields(exclude={"spell"})
        except ValidationError as exc:
            alone |= exc.message_dict.keys()
        try:
            row.full_clean(exclude={"spell"})
        except ValidationError as exc:
            found |= exc.message_dict
    in_order = [name for name in fields if name in alone]
    return {name: found[name] for name in [*in_order, *(name for name in found if name not in in_order)]}


def target_of(spell: Spell, table: dict[str, Any]) -> SpellTarget | None:
    kind = table.get("runtime", spell.runtime)  # one that does not exist is reported with its field
    model = runtime_for(kind if kind in Spell.Runtime.values else spell.runtime).target
    return None if model is None else model.of(spell)


def account_named(value: Any) -> Account | None:
    """Return the account of this name, None for a blank one: everybody's. Raise ValueError."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("Write the account's name in quotes.")
    found = Account.objects.filter(name=value).first() if value else None
    if value and found is None:
        raise ValueError(f"There is no account named {value[:100]!r}. Make it in the admin first.")
    return found


def schema_of(value: Any, read: Reader) -> Any:
    """Return a schema that was given as a table, as JSON text, or as the path of a JSON file; raise ValueError.

    TOML has no null, which a schema may need: as a default, or in an enum.
    """
    if not isinstance(value, str):
        return value
    where, text = "This text", value
    if not value.lstrip().startswith("{"):
        where = value
        try:
            text = read(value)
        except ValueError as exc:
            raise ValueError(
                f"Give a table, a JSON object as text, or the path of a JSON file; {value[:80]} can't be read: {exc}."
            ) from exc
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{where} is not JSON: {exc}.") from exc


def misfit(field: Any, value: Any) -> str:
    """Return why a TOML value does not fit its field's type, blank if it does."""
    if isinstance(field, models.BooleanField):
        return "" if isinstance(value, bool) else "Write true or false."
    if isinstance(field, models.IntegerField):  # Django would make 4 cents of 4.99
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
