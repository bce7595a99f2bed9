"""From a value to what is typed in a form's controls."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from casts.forms.fields import ABSENT, JSON, Blank, Field, Kind, Part, Path, Typed, control
from core.db.documents import written

# Fields of a form with all rows of its arrays: of each come two controls at most, and Django reads a thousand
# (DATA_UPLOAD_MAX_NUMBER_FIELDS).
ROWS = 400
DATE_TIME_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
TIME_UTC = re.compile(r"\d\d:\d\d:\d\dZ")
# Browsers have a control for these, without a zone.
WITHOUT_ZONE = {"date-time": DATE_TIME_UTC, "time": TIME_UTC}


def fresh(form: Field) -> Typed:
    """Return what is typed in a form that nobody has touched: what can't be otherwise, and rows that are needed."""
    filling = Filling()
    filling.untouched(form, ())
    return filling.typed


def filled(form: Field, value: JSON) -> Typed:
    """Return what is typed for a value. What does not fit a field's control is typed as JSON."""
    filling = Filling(rows=form.size)
    filling.fill(form, value, ())
    return filling.typed


def row(item: Field, path: Path) -> Typed:
    """Return what is typed in a new row of an array."""
    filling = Filling()
    filling.untouched(item, path)
    return filling.typed


def as_json(value: JSON) -> str:
    """Return a value as JSON that people edit."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


@dataclass
class Filling:
    typed: Typed = field(default_factory=dict)
    rows: int = 0

    def set(self, part: Part, path: Path, text: str) -> None:
        self.typed[control(part, path)] = text

    def untouched(self, one: Field, path: Path) -> None:
        if one.fixed:
            self.set(Part.VALUE, path, one.choices[0].text)
        for inner in one.fields:
            self.untouched(inner, (*path, inner.name))
        if one.kind == Kind.ARRAY and one.item is not None and one.required and not one.is_item:
            self.set(Part.COUNT, path, "1")
            self.untouched(one.item, (*path, 0))

    def fill(self, one: Field, value: JSON, path: Path) -> None:
        if value is ABSENT:
            return  # also of what is fixed: it was left out
        if one.kind == Kind.JSON:
            self.set(Part.VALUE, path, as_json(value))
        elif value is None and one.nullable and one.kind != Kind.BOOLEAN:
            self.set(Part.BLANK, path, Blank.NULL)
        elif not self.fits(one, value, path):
            self.set(Part.WHOLE, path, as_json(value))

    def fits(self, one: Field, value: JSON, path: Path) -> bool:
        """Type a value in the controls of a field, if they can hold it."""
        fill: Any = {
            Kind.TEXT: self.text,
            Kind.NUMBER: self.number,
            Kind.BOOLEAN: self.boolean,
            Kind.CHOICE: self.choice,
            Kind.OBJECT: self.object,
            Kind.ARRAY: self.array,
        }[one.kind]
        return bool(fill(one, value, path))

    def text(self, one: Field, value: JSON, path: Path) -> bool:
        # A browser sends every end of a line as CR LF, which are read as LF; and no control takes NUL.
        if not isinstance(value, str) or "\r" in value or "\0" in value:
            return False
        if not value:
            self.set(Part.BLANK, path, Blank.EMPTY)
            return True
        if (zoned := WITHOUT_ZONE.get(one.format)) is not None:
            if zoned.fullmatch(value):
                value = value[:-1]
            elif reads_as_local(one.format, value):
                return False
        self.set(Part.VALUE, path, value)
        return True

    def number(self, one: Field, value: JSON, path: Path) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        self.set(Part.VALUE, path, written(value))
        return True

    def boolean(self, one: Field, value: JSON, path: Path) -> bool:
        if not isinstance(value, bool) and not (value is None and one.nullable):
            return False
        self.set(Part.VALUE, path, written(value))
        return True

    def choice(self, one: Field, value: JSON, path: Path) -> bool:
        text = written(value)
        if all(choice.text != text for choice in one.choices):
            return False
        self.set(Part.VALUE, path, text)
        return True

    def object(self, one: Field, value: JSON, path: Path) -> bool:
        if not isinstance(value, dict):
            return False
        if not one.required:
            self.set(Part.BLANK, path, Blank.EMPTY)
        names = {inner.name for inner in one.fields}
        for inner in one.fields:
            self.fill(inner, value.get(inner.name, ABSENT), (*path, inner.name))
        if others := {name: other for name, other in value.items() if name not in names}:
            self.set(Part.OTHERS, path, as_json(others))
        return True

    def array(self, one: Field, value: JSON, path: Path) -> bool:
        if not isinstance(value, list) or one.item is None:
            return False
        rows = len(value) * one.item.size
        if self.rows + rows > ROWS:
            return False
        self.rows += rows
        if not value:
            self.set(Part.BLANK, path, Blank.EMPTY)
        self.set(Part.COUNT, path, str(len(value)))
        for number, inner in enumerate(value):
            self.fill(one.item, inner, (*path, number))
        return True


LOCAL_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d(?:\.\d+)?)?")
LOCAL_TIME = re.compile(r"(\d\d:\d\d)(:\d\d(?:\.\d+)?)?")


def reads_as_local(form: str, text: str) -> str:
    """Return a time that names no zone as one of UTC, blank for other texts."""
    found = (LOCAL_DATE_TIME if form == "date-time" else LOCAL_TIME).fullmatch(text)
    return f"{found[1]}{found[2] or ':00'}Z" if found else ""
