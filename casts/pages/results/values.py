"""Values of an output, by their shape and by what the spell's output schema says of them. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.utils.dateparse import parse_date, parse_datetime
from django.utils.safestring import SafeString

from casts.pages.results import markdown, tree
from casts.pages.results.budget import Budget
from casts.pages.results.schema import Schema, in_order, items_of, property_of, resolved, text_of
from casts.pages.texts import time_text
from core.json_schema import pointer

COLUMNS, ROWS, ENTRIES, FIELDS = 12, 50, 100, 100
CELL_CHARS = 200
LONG_CHARS = 300  # longer text, or text in lines, has a block of its own
WEB = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
MAIL = re.compile(r"[^\s@<>\"?&]+@[^\s@<>\"?&]+")


@dataclass(frozen=True)
class Shown:
    """One value as the page has it: `kind` says how."""

    kind: str  # number, word, text, long, markdown, link, moment, list, table, fields, tree
    text: str = ""
    href: str = ""
    iso: str = ""
    html: SafeString | None = None
    entries: list[Shown] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[Shown]] = field(default_factory=list)
    count: int = 0  # of all entries, rows or fields, of which those here are the first
    left_out: int = 0  # columns
    pointer: str = ""  # where it is in the output
    cut: bool = False  # not all of it is here

    @property
    def wide(self) -> bool:
        """Whether it needs a block of its own."""
        return self.kind in ("long", "markdown", "list", "table", "fields", "tree")

    @property
    def count_text(self) -> str:
        return f"{self.count:,}"

    @property
    def short(self) -> int:
        return max(len(self.entries), len(self.rows), len(self.fields))


@dataclass(frozen=True)
class Field:
    label: str
    about: str  # the schema's description
    value: Shown


def shown(value: Any, schema: Any, budget: Budget) -> Shown:
    """Return how an output is shown, in as much HTML as the budget has."""
    return Showing(schema, budget).value(value, resolved(schema, schema), [], depth=0)


class Showing:
    def __init__(self, root: Any, budget: Budget) -> None:
        self.root, self.budget = root, budget

    def value(self, value: Any, schema: Schema, path: list[str | int], *, depth: int) -> Shown:
        if not isinstance(value, dict | list):
            return self.scalar(value, schema)
        if isinstance(value, dict) and value and (depth == 0 or (depth == 1 and flat(value))):
            return self.fields(value, schema, path, depth)
        if isinstance(value, list) and value and depth < 3:
            if all(isinstance(one, dict) and one for one in value):
                return self.table(value, items_of(schema, self.root), path)
            if not any(isinstance(one, dict | list) for one in value):
                return self.listed(value, items_of(schema, self.root))
        return self.tree(value)

    def scalar(self, value: Any, schema: Schema) -> Shown:
        if isinstance(value, str):
            return self.text(value, schema)
        if value is None or isinstance(value, bool):
            self.budget.take()
            return Shown("word", {True: "yes", False: "no", None: "none"}[value])
        text = json.dumps(value)  # its digits as they were sent
        cut = text[:CELL_CHARS]
        self.budget.take(cut)
        return Shown("number", cut + "…" * (cut != text), cut=cut != text)

    def text(self, value: str, schema: Schema) -> Shown:
        if text_of(schema, "contentMediaType").partition(";")[0].strip().lower() == "text/markdown":
            html = markdown.rendered(value)
            if html is not None and len(html.encode()) <= self.budget.left:
                self.budget.left -= len(html.encode())
                return Shown("markdown", html=html)
            return self.long(value)
        if "\n" in value.strip() or len(value) > LONG_CHARS:
            return self.linked(value, 2 * len(value)) or self.long(value)
        self.budget.take(value)
        return self.linked(value, len(value)) or self.dated(value, schema) or self.mail(value, schema) or word(value)

    def linked(self, value: str, weight: int) -> Shown | None:
        if not WEB.fullmatch(value) or len(value) > 2000:
            return None
        try:
            if not urlsplit(value).netloc:
                return None
        except ValueError:
            return None
        self.budget.take(around=weight)  # it is there twice
        return Shown("link", value, href=value)

    @staticmethod
    def dated(value: str, schema: Schema) -> Shown | None:
        form = text_of(schema, "format")
        try:
            if MOMENT.fullmatch(value) and form in ("", "date-time") and (at := parse_datetime(value)) is not None:
                return Shown("moment", time_text(value), iso=at.isoformat())
            if form == "date" and DAY.fullmatch(value) and (day := parse_date(value)) is not None:
                return Shown("text", f"{day.day} {day:%B %Y}")
        except (ValueError, OverflowError):  # the 31st of February
            return None
        return None

    @staticmethod
    def mail(value: str, schema: Schema) -> Shown | None:
        mail = text_of(schema, "format") in ("email", "idn-email") and MAIL.fullmatch(value)
        return Shown("link", value, href=f"mailto:{value}") if mail else None

    def long(self, value: str) -> Shown:
        self.budget.take()
        beginning = self.budget.beginning(value)
        return Shown("long", beginning, cut=beginning != value, count=len(value))

    def fields(self, value: dict[str, Any], schema: Schema, path: list[str | int], depth: int) -> Shown:
        found: list[Field] = []
        for name in in_order(schema, list(value))[:FIELDS]:
            about = property_of(schema, name, self.root)
            label, said = text_of(about, "title") or said_plainly(name), text_of(about, "description")
            if not self.budget.take(label + said):
                break
            found.append(Field(label, said, self.value(value[name], about, [*path, name], depth=depth + 1)))
        return Shown("fields", fields=found, count=len(value))

    def listed(self, value: list[Any], schema: Schema) -> Shown:
        entries: list[Shown] = []
        for one in value[:ENTRIES]:
            if self.budget.left <= 0:
                break
            entries.append(self.cell(one, schema))
        return Shown("list", entries=entries, count=len(value))

    def table(self, value: list[dict[str, Any]], schema: Schema, path: list[str | int]) -> Shown:
        names = in_order(schema, list(dict.fromkeys(name for row in value for name in row)))
        about = {name: property_of(schema, name, self.root) for name in names[:COLUMNS]}
        rows: list[list[Shown]] = []
        for row in value[:ROWS]:
            if self.budget.left <= 0:
                break
            rows.append([self.cell(row[name], about[name]) if name in row else Shown("text") for name in about])
        return Shown(
            "table",
            columns=[text_of(about[name], "title") or said_plainly(name) for name in about],
            rows=rows,
            count=len(value),
            left_out=len(names) - len(about),
            pointer=pointer(path),
        )

    def cell(self, value: Any, schema: Schema) -> Shown:
        """Return a value in one line."""
        if isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, str):
            return self.scalar(value, schema)
        if len(value) <= CELL_CHARS and "\n" not in value:
            return self.text(value, {name: said for name, said in schema.items() if name != "contentMediaType"})
        self.budget.take(value[:CELL_CHARS])
        return Shown("text", f"{value[:CELL_CHARS]}…", cut=True)

    def tree(self, value: Any) -> Shown:
        html, cut = tree.folded(value, self.budget)
        return Shown("tree", html=html, cut=cut)


def word(value: str) -> Shown:
    return Shown("text", value)


def flat(value: dict[str, Any]) -> bool:
    return not any(isinstance(one, dict | list) for one in value.values())


def said_plainly(name: str) -> str:
    """Return a name from JSON as people write it: word_count is "Word count"."""
    words = re.sub(r"[_\s]+", " ", name).strip()
    return words[:1].upper() + words[1:] or name or "(no name)"
