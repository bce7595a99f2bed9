"""What a `.env` file's text sets, and how it is changed without losing a line. No value is ever shown."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

LINE = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*(?P<value>.*)", re.ASCII)
# What such a line may have been meant to set. Only what a space or colon follows: else it may be a line of a key.
MEANT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Z][A-Z0-9_]{1,40})[ \t:]")
QUOTED = {
    "'": re.compile(r"'(?P<text>[^']*)'[ \t]*(?:#[^\n]*)?(?=\n|\Z)"),
    '"': re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"[ \t]*(?:#[^\n]*)?(?=\n|\Z)', re.DOTALL),
}
ESCAPED = re.compile(r"\\([^nrt])")  # \n stays as it is: readers of a PEM expect it
BARE = re.compile(r"[\w./:@%+,=~-]*", re.ASCII)


@dataclass(frozen=True)
class Setting:
    """One setting of the file, in lines `first` to `last`, counted from 0."""

    name: str
    value: str
    first: int
    last: int


def parse(text: str) -> tuple[dict[str, str], list[str]]:
    """Return what a `.env` file's text sets, and a sentence about each line that can't be read, with its number."""
    found, problems = settings_of(text)
    return {setting.name: setting.value for setting in found}, problems


def settings_of(text: str) -> tuple[list[Setting], list[str]]:
    """Return the settings in their order, and a sentence about each line that can't be read."""
    found: list[Setting] = []
    problems: list[str] = []
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (match := LINE.fullmatch(line)) is None:
            meant = MEANT.match(line)
            problems.append(f"Line {number}{f' ({meant[1]})' if meant else ''} is not NAME=value.")
            continue
        name, value = match["name"], match["value"].rstrip()
        if pattern := QUOTED.get(value[:1]):
            if (quoted := pattern.match("\n".join([value, *lines[at:]]))) is None:
                problems.append(f"Line {number} ({name}): text follows its closing quotation mark, or there is none.")
                continue
            at += quoted[0].count("\n")
            value = quoted["text"] if value[0] == "'" else ESCAPED.sub(r"\1", quoted["text"])
        if "\0" in value:
            problems.append(f"Line {number} ({name}) holds a NUL character.")
            continue
        found.append(Setting(name, value, number - 1, at - 1))
    return found, problems


def changed(text: str, values: Mapping[str, str], *, gone: Collection[str] = (), note: str) -> str:
    """Return a file's text with `values` set and `gone` not set.

    What was set otherwise stays as a comment, after a line with `note`; every other line stays as it is. The text is
    one that `parse` reads without a problem.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    found, _ = settings_of(text)
    newest = {setting.name: setting.value for setting in found}
    wanted = {name: value for name, value in values.items() if newest.get(name) != value}
    was = [setting for setting in found if setting.name in wanted or setting.name in gone]
    for setting in reversed(was):
        kept = [f"# {line}" for line in lines[setting.first : setting.last + 1]]
        lines[setting.first : setting.last + 1] = [f"# {note}:", *kept]
    while lines and not lines[-1].strip():
        lines.pop()
    lines += [f"{name}={quoted(value)}" for name, value in wanted.items()]
    return end.join([*lines, ""])


def quoted(value: str) -> str:
    """Return a value as a line of the file holds it."""
    if BARE.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
