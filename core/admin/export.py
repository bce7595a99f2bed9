"""An admin list as CSV: what the list shows, with its filters, search and order, as plain values."""

from __future__ import annotations

import csv
import datetime as dt
import html
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.contrib.admin.utils import lookup_field
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString

MOST_ROWS = 100_000  # of one file: about a minute's work; narrower filters get the rest
ROWS_AT_ONCE = 500
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute
LINE_BREAK = re.compile(r"<br\s*/?>")

Value = Callable[[Any], Any]


class Line:
    """What csv writes to: it returns the line."""

    def write(self, text: str) -> str:
        return text


def cell(value: Any) -> str:
    """Return a value as text that no spreadsheet takes for a formula: a caller chose some of it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else plain(value)
    return "'" + text if text.startswith(FORMULA) else text


def plain(value: Any) -> str:
    """Return what a list shows without its markup."""
    if isinstance(value, SafeString):
        return html.unescape(strip_tags(LINE_BREAK.sub("; ", value))).strip()
    return str(value)


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
    """Yield the file's lines, many at a time. Each part is a query of its own, so that any thread may go on with it."""
    writer: Any = csv.writer(Line())
    yield writer.writerow(columns)
    for first in range(0, len(keys), ROWS_AT_ONCE):
        some = keys[first : first + ROWS_AT_ONCE]
        found: dict[Any, Model] = {row.pk: row for row in rows.filter(pk__in=some)}
        yield "".join(
            writer.writerow([cell(value(found[key])) for value in columns.values()]) for key in some if key in found
        )


def answer(name: str, keys: list[Any], rows: QuerySet[Any], columns: dict[str, Value]) -> StreamingHttpResponse:
    parts = lines(keys, rows.order_by(), columns)
    response = StreamingHttpResponse(parts, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    vars(response)["in_parts"] = True  # core.asgi.handler: sent as it is made
    return response
