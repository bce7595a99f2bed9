"""An admin list as CSV: what the list shows, with its filters, search and order, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.contrib.admin.utils import lookup_field
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse

from core import csv_files

MOST_ROWS = 100_000  # of one file: about a minute's work; narrower filters get the rest
ROWS_AT_ONCE = 500

Value = Callable[[Any], Any]


def values_of(admin: Any, names: list[str]) -> dict[str, Value]:
    """Return, by the column's title, what gives its value: the attribute behind a column, or what the list shows."""

    def value(name: str) -> tuple[str, Value]:
        shown = getattr(type(admin), name, None)
        if (behind := getattr(shown, "behind", "")) and not callable(getattr(admin.model, behind, None)):
            return behind, lambda row: getattr(row, behind)

        def looked_up(row: Any) -> Any:
            try:
                _, _, found = lookup_field(name, row, admin)
            except ObjectDoesNotExist:
                return None
            return found

        return name, looked_up

    return dict(value(name) for name in names)


def attributes(names: Sequence[str]) -> dict[str, Value]:
    """Return what gives each attribute's value, by its name; `account.name` is the account's."""

    def value(name: str) -> Value:
        def read(row: Any) -> Any:
            for part in name.split("."):
                row = None if row is None else getattr(row, part)
            return row

        return read

    return {name: value(name) for name in names}


def lines(keys: list[Any], rows: QuerySet[Any], columns: dict[str, Value]) -> Iterator[str]:
    """Yield the file's lines, many at a time."""
    yield csv_files.lines([columns])
    for first in range(0, len(keys), ROWS_AT_ONCE):
        some = keys[first : first + ROWS_AT_ONCE]
        found: dict[Any, Model] = {row.pk: row for row in rows.filter(pk__in=some)}
        yield csv_files.lines([value(found[key]) for value in columns.values()] for key in some if key in found)


def answer(name: str, keys: list[Any], rows: QuerySet[Any], columns: dict[str, Value]) -> StreamingHttpResponse:
    return csv_files.answer(name, lines(keys, rows.order_by(), columns))
