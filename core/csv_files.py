"""CSV that people open in spreadsheets: no cell is taken for a formula, whoever chose its text."""

from __future__ import annotations

import csv
import datetime as dt
import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString

MEDIA_TYPE = "text/csv; charset=utf-8"
BOM = "\ufeff"  # by which Excel knows UTF-8
# How a spreadsheet is told to compute a cell, and not to show it: some in letters of full width, too, or after a break.
# Source: https://owasp.org/www-community/attacks/CSV_Injection
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
LINE_BREAK = re.compile(r"<br\s*/?>")


class Line:
    """What csv writes to: it returns the line."""

    def write(self, text: str) -> str:
        return text


def lines(rows: Iterable[Iterable[Any]]) -> str:
    writer: Any = csv.writer(Line())
    return "".join(writer.writerow([cell(value) for value in row]) for row in rows)


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
    return "'" + text if text.startswith(FORMULAS) else text


def plain(value: Any) -> str:
    """Return what a list shows without its markup."""
    if isinstance(value, SafeString):
        return html.unescape(strip_tags(LINE_BREAK.sub("; ", value))).strip()
    return str(value)


def answer(name: str, parts: Iterator[str]) -> StreamingHttpResponse:
    """Return a file that is sent as it is made; any thread may go on with it, so each part is a query of its own."""
    response = StreamingHttpResponse(parts, content_type=MEDIA_TYPE)
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    vars(response)["in_parts"] = True  # core.asgi.handler
    return response
