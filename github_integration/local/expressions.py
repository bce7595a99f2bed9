"""The part of GitHub's expression language that names of runs and jobs need."""

import json
import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<op>\|\||&&|==|!=|[!()\[\].,]))"
)
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}


class ExpressionError(ValueError):
    """The expression uses something that this evaluator does not know."""


def interpolate(template: str, context: dict[str, Any]) -> str:
    """Fill every ${{ }} of a text; an expression that we can't read stays as it is."""

    def fill(hole: re.Match[str]) -> str:
        try:
            return to_text(evaluate(hole[1], context))
        except ExpressionError:
            return hole[0]

    return _HOLE.sub(fill, template)


def evaluate(source: str, context: dict[str, Any]) -> Any:
    """Return the value of one expression."""
    tokens = []
    position = 0
    source = source.rstrip()
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise ExpressionError(f"can't read {source[position:]!r}")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        position = match.end()
    parser = _Parser(tokens, context)
    value = parser.alternatives()
    if parser.tokens:
        raise ExpressionError(f"left over: {parser.tokens}")
    return value


def to_text(value: Any) -> str:
    """Write a value as GitHub puts it into a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "Object" if isinstance(value, dict) else "Array"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _format(template: str, *values: Any) -> str:
    for number, value in enumerate(values):
        template = template.replace(f"{{{number}}}", to_text(value))
    return template


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "format": _format,
    "tojson": lambda value: json.dumps(value, indent=2),
    "fromjson": lambda text: json.loads(text),
    "contains": lambda whole, part: part in (whole or ""),
    "startswith": lambda whole, start: to_text(whole).startswith(to_text(start)),
}


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], context: dict[str, Any]) -> None:
        self.tokens = tokens
        self.context = context

    def _take(self, *ops: str) -> str | None:
        if self.tokens and self.tokens[0][0] == "op" and self.tokens[0][1] in ops:
            return self.tokens.pop(0)[1]
        return None

    def _need(self, op: str) -> None:
        if not self._take(op):
            raise ExpressionError(f"expected {op}")

    def alternatives(self) -> Any:
        value = self._conjunction()
        while self._take("||"):
            other = self._conjunction()
            value = value or other
        return value

    def _conjunction(self) -> Any:
        value = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            value = value and other
        return value

    def _comparison(self) -> Any:
        value = self._unary()
        while op := self._take("==", "!="):
            same = to_text(value).lower() == to_text(self._unary()).lower()
            value = same if op == "==" else not same
        return value

    def _unary(self) -> Any:
        return not self._unary() if self._take("!") else self._path()

    def _path(self) -> Any:
        value = self._atom()
        while op := self._take(".", "["):
            if op == "[":
                key = to_text(self.alternatives())
                self._need("]")
            else:
                key = self.tokens.pop(0)[1] if self.tokens else ""
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def _atom(self) -> Any:
        if self._take("("):
            value = self.alternatives()
            self._need(")")
            return value
        if not self.tokens:
            raise ExpressionError("ends too early")
        kind, text = self.tokens.pop(0)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind != "name":
            raise ExpressionError(f"unexpected {text}")
        if self._take("("):
            return self._call(text)
        return _WORDS[text] if text in _WORDS else self.context.get(text)

    def _call(self, name: str) -> Any:
        values = []
        while not self._take(")"):
            values.append(self.alternatives())
            self._take(",")
        function = _FUNCTIONS.get(name.lower())
        if function is None:
            raise ExpressionError(f"unknown function {name}")
        try:
            return function(*values)
        except (TypeError, ValueError) as error:
            raise ExpressionError(str(error)) from error
