"""What a template shows of a form: each field with what is typed in it, what is said of it, and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from casts.forms import wording
from casts.forms.fields import ABSENT, Blank, Field, Kind, Part, Path, control
from casts.forms.filling import ROWS, WITHOUT_ZONE
from casts.forms.reading import Mistake, base64_size, rows_of
from core.db.documents import written

DATE = re.compile(r"\d{4}-\d\d-\d\d")
LOCAL = re.compile(r"(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d(?::\d\d)?")
FILES = 50  # controls for files; Django reads twice as many, also those in which there is none
INPUT_MODES = {"email": "email", "idn-email": "email", "uri": "url", "uri-reference": "url", "iri": "url"}


class Option(NamedTuple):
    value: str
    label: str
    chosen: bool


class Wrong(NamedTuple):
    """One line of the summary of mistakes, which leads to its field."""

    id: str
    label: str
    text: str


@dataclass
class Node:
    """One field, or a part with fields in it, as it is shown."""

    of: Field
    kind: Kind
    id: str
    label: str
    name: str  # of the control with its value
    path: str
    text: str = ""
    type: str = "text"
    input_mode: str = ""
    options: list[Option] = field(default_factory=list)
    blank_name: str = ""
    blanks: list[Option] = field(default_factory=list)
    blank_chosen: bool = False  # that something else is meant than what is usual
    left_blank: str = ""  # what happens then, where there is no choice
    mistakes: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    count_name: str = ""
    rows: int = 0
    file_name: str = ""
    file_note: str = ""
    others: Node | None = None
    removable: bool = False
    example: str = ""
    sure: bool = True  # that the part which it is in is sent in any case

    @property
    def described_by(self) -> str:
        parts = [f"{self.id}-wrong"] * bool(self.mistakes) + [f"{self.id}-hint"] * self.has_hint
        return " ".join(parts)

    @property
    def has_hint(self) -> bool:
        return bool(self.of.description or self.of.hints or self.example or self.left_blank or self.why)

    @property
    def why(self) -> str:
        if self.kind != Kind.JSON:
            return ""
        return self.of.why or "what was there does not fit the form's own controls"

    @property
    def must(self) -> bool:
        """Whether a browser may insist on something: not where blank means something, here or of the part around it."""
        return self.of.required and self.sure and not self.blanks


def show(form: Field, typed: Mapping[str, str], mistakes: Sequence[Mistake] = ()) -> tuple[Node, list[Wrong]]:
    """Return the form, and its mistakes in the order of the fields."""
    wrong: dict[Path, list[str]] = {}
    for mistake in mistakes:
        told = wrong.setdefault(mistake.path, [])
        if mistake.text not in told:
            told.append(mistake.text)
    shower = Shower(typed, wrong)
    node = shower.node(form, (), label="Input")
    # Of what is not shown: there were too many rows.
    lost = [Wrong("f1", "", text) for told in shower.wrong.values() for text in told]
    return node, [*shower.found, *lost]


@dataclass
class Shower:
    typed: Mapping[str, str]
    wrong: dict[Path, list[str]]
    found: list[Wrong] = field(default_factory=list)
    number: int = 0
    files: int = 0

    def of(self, part: Part, path: Path) -> str:
        return self.typed.get(control(part, path), "")

    def node(self, one: Field, path: Path, *, label: str = "", above: str = "", sure: bool = True) -> Node:
        self.number += 1
        label = label or one.label or "(a field without a name)"
        whole = one.kind != Kind.JSON and control(Part.WHOLE, path) in self.typed
        part = Part.WHOLE if whole else Part.VALUE
        node = Node(
            of=one,
            kind=Kind.JSON if whole else one.kind,
            id=f"f{self.number}",
            label=label,
            name=control(part, path),
            path=control(Part.VALUE, path)[1:],
            text=self.of(part, path),
            example="" if one.example is ABSENT else wording.said(one.example),
            mistakes=self.wrong.pop(path, []),
            sure=sure,
        )
        told = f"{above}: {label}" if above else label
        self.found += [Wrong(node.id, told if path else "", text) for text in node.mistakes]
        self.say_blank(node, one, path)
        inside = told if path else ""
        if node.kind == Kind.OBJECT:
            for inner in one.fields:
                node.nodes.append(self.node(inner, (*path, inner.name), above=inside, sure=sure and one.required))
            if self.of(Part.OTHERS, path):
                node.others = self.others(one, path)
        elif node.kind == Kind.ARRAY:
            self.add_rows(node, one, path, inside)
        else:
            self.add_control(node, one, path)
        return node

    def say_blank(self, node: Node, one: Field, path: Path) -> None:
        """Say what is sent if nothing is typed, or let people choose where it may be more than one thing."""
        if node.kind in (Kind.BOOLEAN, Kind.CHOICE):
            return  # that is among the options
        chosen = self.of(Part.BLANK, path)
        offered = {Blank.LEFT_OUT: nothing(one)}
        empty = EMPTY.get(node.kind)
        if empty and (one.may_be_empty or chosen == Blank.EMPTY) and not (one.required and node.kind in LEAST):
            offered[Blank.EMPTY] = empty
        if one.nullable and node.kind != Kind.JSON:
            offered[Blank.NULL] = "null"
        if len(offered) == 1:
            if one.default is not ABSENT and not one.required and not one.is_item and path:
                node.left_blank = f"If left blank: {wording.said(one.default)}."
            return
        node.blank_name = control(Part.BLANK, path)
        node.blank_chosen = chosen in offered and chosen != Blank.LEFT_OUT
        node.blanks = [Option(value, said, value == chosen) for value, said in offered.items()]

    def add_control(self, node: Node, one: Field, path: Path) -> None:
        text = node.text
        if node.kind in (Kind.BOOLEAN, Kind.CHOICE):
            node.options = options_of(one, text)
        elif node.kind == Kind.NUMBER:
            node.input_mode = "numeric" if one.integer and (one.bounds or (-1, 0))[0] >= 0 else ""
            node.type = "number" if one.bounds and (not text or re.fullmatch("-?[0-9]+", text)) else "text"
        elif node.kind == Kind.TEXT:
            node.input_mode = INPUT_MODES.get(one.format, "")
            # Browsers show nothing in these of what they can't read; and lines only in a box for lines.
            if one.format == "date" and (not text or DATE.fullmatch(text)):
                node.type = "date"
            elif one.format in WITHOUT_ZONE and (not text or LOCAL.fullmatch(text)):
                node.type = "datetime-local" if one.format == "date-time" else "time"
            elif one.long or "\n" in text:
                node.type = "lines"
            if one.upload and self.files < FILES:
                self.files += 1
                node.file_name = control(Part.FILE, path)
                size = base64_size(text) if one.upload == "base64" and text else None
                node.file_note = f"It has {size:,} bytes now." if size is not None else ""

    def add_rows(self, node: Node, one: Field, path: Path, inside: str) -> None:
        assert one.item is not None
        node.count_name = control(Part.COUNT, path)
        for row in range(rows_of(self.typed, path)):
            if self.number + one.item.size > 2 * ROWS:
                break
            label = one.item.label or f"{wording.cut(node.label, 60)} {row + 1}"
            label = f"{label} {row + 1}" if one.item.label else label
            inner = self.node(one.item, (*path, row), label=label, above=inside, sure=False)
            inner.removable = True
            node.nodes.append(inner)
        node.rows = len(node.nodes)

    def others(self, one: Field, path: Path) -> Node:
        self.number += 1
        unknown = Field(Kind.JSON, why="the schema has no field of its own for it")
        return Node(
            of=unknown,
            kind=Kind.JSON,
            id=f"f{self.number}",
            label="Other fields",
            name=control(Part.OTHERS, path),
            path="",
            text=self.of(Part.OTHERS, path),
        )


EMPTY = {Kind.TEXT: "an empty text", Kind.OBJECT: "an object without fields", Kind.ARRAY: "an empty list"}
LEAST = (Kind.OBJECT, Kind.ARRAY)  # of which a required one is there in any case


def nothing(one: Field) -> str:
    """Return what is sent for a field in which nothing is typed."""
    if one.is_item:
        return "this row is not sent"
    if one.default is not ABSENT:
        return f"left out, so it is {wording.said(one.default)}"
    if not one.required:
        return "left out"
    return {Kind.OBJECT: "an object without fields", Kind.ARRAY: "an empty list"}.get(one.kind, "not filled in yet")


def options_of(one: Field, text: str) -> list[Option]:
    offered: dict[str, Any] = {"": "(choose)" if one.required else "(not chosen)"}
    if one.kind == Kind.BOOLEAN:
        offered |= {"true": "yes", "false": "no"} | ({"null": "null"} if one.nullable else {})
    else:
        offered |= {choice.text: choice.label for choice in one.choices}
    if one.default is not ABSENT and not one.required and not one.is_item:
        offered[""] = f"{offered.get(written(one.default), wording.said(one.default))} (default)"
    if text not in offered:  # as a browser sent it, or an earlier version of the spell had it
        offered[text] = text
    return [Option(value, label, value == text) for value, label in offered.items()]
