"""In which line of a TOML file each table and each key is. No library that we know of tells.

Only for text that `tomllib` has taken: what is wrong in other ways need not be noticed here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence

Path = tuple[str | int, ...]  # names, and places in arrays
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
BARE = re.compile(r"[A-Za-z0-9_-]+")
BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
LITERAL = re.compile(r"'[^'\n]*'")
# Characters are taken possessively, so that no text is gone through twice; groups are not, as before 3.11.5 Python goes
# astray in a possessive group of alternatives (python/cpython#106052).
IN_BASIC = r"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*"""
IN_LITERAL = r"""[^']*+(?:'(?!'')[^']*+)*"""
# Before the closing marks there may be one or two more of them, which belong to the text.
LONG_BASIC = re.compile(rf'"""{IN_BASIC}"{{3,5}}', re.DOTALL)
LONG_LITERAL = re.compile(rf"'''{IN_LITERAL}'{{3,5}}", re.DOTALL)
TEXTS = (LONG_BASIC, LONG_LITERAL, BASIC, LITERAL)
OTHER_VALUE = re.compile(r"[^,\]}#\n]*")
ERROR_LINE = re.compile(r"\(at line (\d+),")
# `tomllib` takes time by the square of a key's parts: minutes for a file of one key.
MOST_PARTS = 32
PART = r"""(?:(?<![\w-])[\w-]++|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*"?|'[^'\n]*+'?)"""
# A text cut into what can't be taken for something else: comments, long texts, keys and values; in one pass, because
# whatever has no end takes the rest.
PIECE = re.compile(
    rf'''#[^\n]*+|"""{IN_BASIC}"{{0,5}}|\'\'\'{IN_LITERAL}'{{0,5}}'''
    rf"|({PART}(?:[ \t]*+\.[ \t]*+{PART}){{{MOST_PARTS}}})|{PART}(?:[ \t]*+\.[ \t]*+{PART})*",
    re.DOTALL,
)
NOTED_DEPTH = 8  # a mistake is told at its field, or near it


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, from 1, of everything in a TOML text that has a name or a place in an array."""
    return Scanner(text).document()


def line_of(lines: dict[Path, int], path: Sequence[str | int]) -> int:
    """Return the line of the nearest thing that there is on the way to `path`; 1 if there is none."""
    for end in range(len(path), 0, -1):
        if (line := lines.get(tuple(path[:end]))) is not None:
            return line
    return 1


def too_many_parts(text: str) -> int:
    """Return the line of the first key with more than MOST_PARTS parts, 0 if there is none. Takes any text."""
    if text.count(".") < MOST_PARTS:
        return 0
    found = next((piece for piece in PIECE.finditer(text) if piece[1]), None)
    return 0 if found is None else text.count("\n", 0, found.start()) + 1


def error_line(text: str, exc: tomllib.TOMLDecodeError) -> int:
    """Return where the text is no TOML; its last line where the error is that it ends."""
    found = ERROR_LINE.search(str(exc))
    return int(found[1]) if found else max(1, len(text.rstrip().splitlines()))


class Scanner:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Path, int] = {}
        self.arrays: dict[Path, int] = {}  # of tables: how many each has so far
        self._counted_to, self._line = 0, 1

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.skip(BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.header(2, more=True)
            elif self.text[self.at] == "[":
                table = self.header(1, more=False)
            else:
                self.pair(table)
            self.skip(BLANK)
        return self.lines

    def header(self, marks: int, *, more: bool) -> Path:
        start = self.at
        self.at += marks
        *above, last = self.key()
        path: Path = ()
        for name in above:
            path = self.newest((*path, name))
        path = (*path, last)
        if more:
            self.arrays[path] = self.arrays.get(path, 0) + 1
            path = self.newest(path)
        self.at = self.text.index("]", self.at) + marks
        self.note(path, start)
        return path

    def newest(self, path: Path) -> Path:
        """Return the table that a header below an array of tables is about: its last one."""
        return (*path, self.arrays[path] - 1) if path in self.arrays else path

    def pair(self, table: Path) -> None:
        start = self.at
        path: Path = (*table, *self.key())
        self.at = self.text.index("=", self.at) + 1
        self.note(path, start)
        self.value(path)

    def key(self) -> list[str]:
        """Read a key with its dots; return its names."""
        names = []
        while True:
            self.skip(SPACE)
            if (bare := BARE.match(self.text, self.at)) is not None:
                names.append(bare[0])
                self.at = bare.end()
            else:
                names.append(self.quoted())
            self.skip(SPACE)
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def quoted(self) -> str:
        found = BASIC.match(self.text, self.at) or LITERAL.match(self.text, self.at)
        assert found is not None, "tomllib has taken what is no TOML"
        self.at = found.end()
        name = tomllib.loads(f"name = {found[0]}")["name"]
        assert isinstance(name, str)
        return name

    def value(self, path: Path) -> None:
        self.skip(SPACE)
        opening = self.text[self.at : self.at + 1]
        if opening == "[":
            self.array(path)
        elif opening == "{":
            self.inline_table(path)
        else:
            self.skip(next((kind for kind in TEXTS if kind.match(self.text, self.at)), OTHER_VALUE))

    def array(self, path: Path) -> None:
        self.at += 1
        number = 0
        while not self.closes("]"):
            self.note((*path, number), self.at)
            self.value((*path, number))
            number += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while not self.closes("}"):
            self.pair(path)

    def closes(self, mark: str) -> bool:
        """Go to the next member of an array or a table, or past its end; return whether that was its end."""
        self.skip(BLANK)
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip(BLANK)
        if not self.text.startswith(mark, self.at):
            return False
        self.at += 1
        return True

    def skip(self, pattern: re.Pattern[str]) -> None:
        if (found := pattern.match(self.text, self.at)) is not None:
            self.at = found.end()

    def note(self, path: Path, start: int) -> None:
        """Note where a thing is, and those above it that have no line of their own."""
        self._line += self.text.count("\n", self._counted_to, start)
        self._counted_to = start
        for end in range(1, min(len(path), NOTED_DEPTH) + 1):
            self.lines.setdefault(path[:end], self._line)
