"""What a form is made of, and how its controls are called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any
from urllib.parse import quote

JSON = Any
Path = tuple[str | int, ...]
Typed = dict[str, str]  # the text of each control, by its name, as a browser sends it


class Absent(Enum):
    """That there is no value: not null, and not an empty text."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    OBJECT = "object"
    ARRAY = "array"
    JSON = "json"


class Part(StrEnum):
    """What a control is for: the letter with which its name begins."""

    VALUE = "v"
    BLANK = "b"  # what it means if nothing is typed: one of `Blank`
    COUNT = "n"  # of an array's rows
    WHOLE = "j"  # the value as JSON, in place of all other controls
    OTHERS = "o"  # of an object: what it has beside its fields, as JSON
    FILE = "u"


class Blank(StrEnum):
    """What is sent if nothing is typed. By default nothing is; of what must be there, the least that there is."""

    LEFT_OUT = ""
    EMPTY = "empty"
    NULL = "null"


@dataclass(frozen=True)
class Choice:
    value: JSON
    text: str  # the value as JSON, which tells 1 from "1"
    label: str


@dataclass(frozen=True)
class Field:
    """One place of a form. `item`: that it is the row of an array, where it has no name of its own."""

    kind: Kind
    name: str = ""
    label: str = ""
    description: str = ""
    required: bool = False
    is_item: bool = False
    nullable: bool = False
    may_be_empty: bool = True
    default: JSON = ABSENT
    example: JSON = ABSENT
    hints: tuple[str, ...] = ()
    format: str = ""
    integer: bool = False
    long: bool = False
    upload: str = ""  # "base64" or "text": how a file is taken
    bounds: tuple[int, int] | None = None
    min_length: int = 0
    pattern: str = ""
    choices: tuple[Choice, ...] = ()
    fields: tuple[Field, ...] = ()
    open: bool = False  # of an object: whether it may have more than its fields
    item: Field | None = None
    least_items: int = 0
    why: str = ""  # of JSON: why there is no form for it
    size: int = 1  # how many fields it is, with those in it

    @property
    def fixed(self) -> bool:
        """Whether there is but one value that it can have, and must."""
        return self.kind == Kind.CHOICE and self.required and len(self.choices) == 1


def control(part: Part, path: Path) -> str:
    """Return the name of a control: ASCII, whatever the fields are called."""
    return part + "".join("/" + quote(str(step), safe="") for step in path)
