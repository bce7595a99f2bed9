"""From what was typed to a value, with what could not be read. Bounded, whatever a browser sends."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from casts.forms.fields import ABSENT, JSON, Blank, Field, Kind, Part, Path, control
from casts.forms.filling import ROWS, WITHOUT_ZONE, reads_as_local
from core.json_schema import pointer
from core.strict_json import storable

MOST_READ = 2 * ROWS  # fields; a form is never filled with more rows than ROWS
DIGITS = 4000  # of a number; Python reads a few more
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class Unreadable(ValueError):
    """What was typed in a control can't be read; str() says what to do about it."""


@dataclass(frozen=True)
class Mistake:
    path: Path  # of the form's field
    text: str


@dataclass
class Reading:
    """A value as it was typed, and where in the form each of its parts was: by JSON pointer of the value."""

    value: JSON = ABSENT
    mistakes: list[Mistake] = field(default_factory=list)
    places: dict[str, Path] = field(default_factory=dict)

    def place_of(self, where: str) -> tuple[Path, str]:
        """Return the field at a pointer into the value, or the next one above, and what of the pointer is left."""
        rest = ""
        while where not in self.places and where:
            where, _, last = where.rpartition("/")
            rest = f"/{last}{rest}"
        return self.places.get(where, ()), rest


def read(form: Field, typed: Mapping[str, str], *, keep: bool = False) -> Reading:
    """Return the value that was typed. Of a field that can't be read, there is a mistake and no value.

    `keep`: what can't be read stands there as a text, for who goes on typing in another way.
    """
    reader = Reader(typed, keep)
    value, _ = reader.field(form, (), ())
    return Reading(value, reader.mistakes, reader.places)


@dataclass
class Reader:
    typed: Mapping[str, str]
    keep: bool = False
    mistakes: list[Mistake] = field(default_factory=list)
    places: dict[str, Path] = field(default_factory=dict)
    left: int = MOST_READ

    def of(self, part: Part, path: Path) -> str:
        return self.typed.get(control(part, path), "")

    def field(self, one: Field, path: Path, at: Path) -> tuple[JSON, bool]:
        """Return a field's value, and whether somebody gave it: what is fixed is there by itself.

        `path`: in the form. `at`: in the value, where rows that were left blank are not.
        """
        self.places[pointer(list(at))] = path
        self.left -= 1
        try:
            if self.left < 0:
                raise Unreadable("These are more fields than a form may have. Write it as JSON.")
            if one.kind != Kind.JSON and control(Part.WHOLE, path) in self.typed:
                value = as_written(self.of(Part.WHOLE, path))
                return value, value is not ABSENT
            if one.kind == Kind.OBJECT:
                return self.object(one, path, at)
            if one.kind == Kind.ARRAY:
                return self.array(one, path, at)
            value = self.scalar(one, path)
        except Unreadable as exc:
            self.mistakes.append(Mistake(path, str(exc)))
            text = self.of(Part.WHOLE, path) or self.of(Part.VALUE, path)
            return text.replace("\0", "") if self.keep and text else ABSENT, True
        return value, value is not ABSENT and not one.fixed

    def scalar(self, one: Field, path: Path) -> JSON:
        text = self.of(Part.VALUE, path).replace("\r\n", "\n")
        if one.kind == Kind.JSON:
            return as_written(text)
        if one.kind in (Kind.BOOLEAN, Kind.CHOICE):
            known = next((choice.value for choice in one.choices if choice.text == text), ABSENT)
            return as_written(text) if known is ABSENT else known
        if (not text.strip() and one.kind == Kind.NUMBER) or not text:
            return self.blank(path, "" if one.kind == Kind.TEXT else ABSENT)
        if one.kind == Kind.NUMBER:
            return number(text.strip())
        text = reads_as_local(one.format, text) or text if one.format in WITHOUT_ZONE else text
        check(text)
        return text

    def blank(self, path: Path, empty: JSON, least: JSON = ABSENT) -> JSON:
        meant = self.of(Part.BLANK, path)
        return None if meant == Blank.NULL else empty if meant == Blank.EMPTY else least

    def object(self, one: Field, path: Path, at: Path) -> tuple[JSON, bool]:
        value: dict[str, JSON] = {}
        given = False
        for inner in one.fields:
            found, by_hand = self.field(inner, (*path, inner.name), (*at, inner.name))
            given |= by_hand
            if found is not ABSENT:
                value[inner.name] = found
        others = as_written(self.of(Part.OTHERS, path))
        if others is not ABSENT:
            if not isinstance(others, dict):
                raise Unreadable('Write what there is beside these fields as a JSON object, such as {"name": 1}.')
            given |= bool(others)
            value |= {name: other for name, other in others.items() if name not in value}
        if given:
            return value, True
        least = value if one.required else ABSENT
        found = self.blank(path, value, least)
        return found, self.of(Part.BLANK, path) != Blank.LEFT_OUT

    def array(self, one: Field, path: Path, at: Path) -> tuple[JSON, bool]:
        assert one.item is not None
        value: list[JSON] = []
        given = False
        for row in range(rows_of(self.typed, path)):
            if self.left < 0:
                raise Unreadable("These are more fields than a form may have. Write it as JSON.")
            found, by_hand = self.field(one.item, (*path, row), (*at, len(value)))
            # Of a row that nobody filled in, nothing is sent: not even what would be there by itself.
            if found is ABSENT or not by_hand:
                given |= by_hand
                continue
            value.append(found)
        if value:
            return value, True
        found = self.blank(path, [], [] if one.required and not one.is_item else ABSENT)
        return found, given or self.of(Part.BLANK, path) != Blank.LEFT_OUT


def rows_of(typed: Mapping[str, str], path: Path) -> int:
    """Return how many rows an array has in the form."""
    text = typed.get(control(Part.COUNT, path), "")
    return min(int(text), ROWS) if re.fullmatch("[0-9]{1,6}", text) else 0


def check(value: JSON) -> None:
    """Raise Unreadable for what can't be stored."""
    try:
        storable(value)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"This can't be kept: {exc}.") from exc


def as_written(text: str) -> JSON:
    """Return what a text of JSON says, ABSENT for a blank one; raise Unreadable."""
    if not text.strip():
        return ABSENT
    try:
        value = json.loads(text, parse_constant=no_constant)
    except RecursionError as exc:
        raise Unreadable("This is nested too deeply.") from exc
    except ValueError as exc:
        raise Unreadable(f"This is not JSON: {exc}. Texts need quotes, names too.") from exc
    check(value)
    return value


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number there")


def number(text: str) -> int | float:
    """Return a number as JSON reads it, none of whose digits is lost; raise Unreadable."""
    found = NUMBER.fullmatch(text)
    if found is None or len(text) > DIGITS:
        hint = " with a point, not a comma" if re.fullmatch(r"-?[0-9]+,[0-9]+", text) else ""
        raise Unreadable(f"Write a number such as 12 or 0.5{hint}.")
    if found[1] is None and found[2] is None:
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable("This number is too large.")
    try:
        exact = Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent of many digits
        exact = False
    if not exact:
        raise Unreadable(f"This has more digits than are kept: it would become {value!r}. Round it yourself.")
    return value


def file_text(content: bytes, how: str) -> str:
    """Return what stands for a file in JSON; raise Unreadable. `how`: see `Field.upload`."""
    if how == "base64":
        return base64.b64encode(content).decode()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Unreadable(f"The file is no text in UTF-8 (at byte {exc.start}). Save it as UTF-8.") from exc
    check(text)
    return text


def base64_size(text: str) -> int | None:
    """Return how many bytes a text of base64 stands for, None if it is none."""
    try:
        return len(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        return None
