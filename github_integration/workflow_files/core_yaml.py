"""YAML as GitHub reads it: version 1.2's core schema, in which `on`, `yes` and dates are text. Safe to give anything.

Source: https://yaml.org/spec/1.2.2/#103-core-schema. GitHub knows anchors and aliases, no merge keys (`<<`).
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

JSON = Any
MOST_CHARS = 1024 * 1024
MOST_NODES = 50_000  # with what aliases stand for counted each time: a few lines can stand for gigabytes
MOST_DEPTH = 100
# The parser is C where there is one: twenty times as fast. Its own loader would overflow the stack on deep nesting.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NULLS = ("", "~", "null", "Null", "NULL")
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
FLOAT = re.compile(r"[-+]?(\.[0-9]{1,300}|[0-9]{1,300}(\.[0-9]{0,300})?)([eE][-+]?[0-9]{1,5})?")
CORE = "tag:yaml.org,2002:"


class BadYaml(Exception):
    """The text is no YAML that GitHub would read."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line  # from 1; 0: no certain one


def load(text: str) -> JSON:
    """Return the first document of a text; None for an empty one. Raise BadYaml."""
    if len(text) > MOST_CHARS:
        raise BadYaml(f"it is longer than {MOST_CHARS:,} characters")
    try:
        return _Builder().document(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        # A character that can't be in YAML is told of without a mark.
        line = mark.line + 1 if mark else text[: getattr(exc, "position", 0)].count("\n") + 1
        problem = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "unreadable"
        raise BadYaml(str(problem), line) from exc


class _Builder:
    """Makes values of the parser's events, without recursion."""

    def __init__(self) -> None:
        self.anchors: dict[str, tuple[JSON, int]] = {}  # with how many nodes each stands for
        self.nodes = 0
        self.root: JSON = None

    def document(self, text: str) -> JSON:
        # Of each open collection: itself, its anchor, the key that waits for its value, the count when it began.
        self.open: list[tuple[dict[str, JSON] | list[JSON], str | None, list[str], int]] = []
        for event in yaml.parse(text, Loader=LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if isinstance(event, yaml.ScalarEvent):
                self._add(scalar(event, line), event.anchor, 1, line)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self.anchors:
                    raise BadYaml(f"the alias *{event.anchor} stands for nothing that is finished before it", line)
                value, nodes = self.anchors[event.anchor]
                self._add(value, None, nodes, line)
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(self.open) == MOST_DEPTH:
                    raise BadYaml(f"it is nested more than {MOST_DEPTH} deep", line)
                made: dict[str, JSON] | list[JSON] = {} if isinstance(event, yaml.MappingStartEvent) else []
                self.open.append((made, event.anchor, [], self.nodes))
            elif isinstance(event, yaml.CollectionEndEvent):
                made, anchor, _, before = self.open.pop()
                self._add(made, anchor, 1, line, of_it=self.nodes - before)
            elif isinstance(event, yaml.DocumentEndEvent):
                break
        return self.root

    def _add(self, value: JSON, anchor: str | None, nodes: int, line: int, *, of_it: int = 0) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise BadYaml(f"it has more than {MOST_NODES:,} values, with those that aliases stand for", line)
        if anchor is not None:
            self.anchors[anchor] = value, nodes + of_it
        if not self.open:
            self.root = value
            return
        into, _, waiting, _ = self.open[-1]
        if isinstance(into, list):
            into.append(value)
        elif waiting:
            into[waiting.pop()] = value
        elif (key := written(value)) is None:
            raise BadYaml("a key is not a word", line)
        elif key in into:
            raise BadYaml(f"{key[:80]!r} is there twice", line)
        else:
            waiting.append(key)


def scalar(event: yaml.ScalarEvent, line: int) -> JSON:
    """Return what a scalar stands for: text in quotes is text."""
    text = event.value.replace("\0", "").encode(errors="replace").decode()  # what every database keeps
    if not event.implicit[0]:
        if event.tag in (None, "!", f"{CORE}str") or event.implicit[1]:
            return text
        if not str(event.tag).startswith(CORE):
            raise BadYaml(f"the tag {str(event.tag)[:80]} means nothing to GitHub", line)
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if INTEGER.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if FLOAT.fullmatch(text) and math.isfinite(number := float(text)):  # of JSON's, none is infinite
        return number
    return text


def written(value: JSON) -> str | None:
    """Return a scalar as text, as GitHub writes it; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return None if value is None or isinstance(value, dict | list) else str(value)
