"""GitHub's expression language, as far as names, concurrency groups and the check of a file need it."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?(?:0x[\da-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<op>\|\||&&|==|!=|<=|>=|[!()\[\].,<>*]))"
)
_HOLE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
CONTEXTS = {
    *("github", "env", "vars", "job", "jobs", "steps", "runner", "secrets", "strategy", "matrix", "needs", "inputs"),
    *("true", "false", "null", "infinity", "nan"),
}
FUNCTIONS = {
    *("contains", "startswith", "endswith", "format", "join", "tojson", "fromjson", "hashfiles", "case"),
    *("success", "always", "cancelled", "failure"),
}


class ExpressionError(ValueError):
    """The expression can't be read, or uses something that this evaluator does not support."""


def interpolate(template: str, context: dict[str, Any]) -> str:
    """Fill in every ${{ }} of a text; an expression that can't be read stays as it is."""

    def fill(hole: re.Match[str]) -> str:
        try:
            return to_text(evaluate(hole[1], context))
        except ExpressionError:
            return hole[0]

    return _HOLE.sub(fill, template)


def evaluate(source: str, context: dict[str, Any]) -> Any:
    parser = _Parser(_tokens(source), context)
    value = parser.alternatives()
    if parser.tokens:
        raise ExpressionError(f"left over: {parser.tokens}")
    return value


def _tokens(source: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    source = source.rstrip()
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise ExpressionError(f"Unexpected symbol: '{source[position:].strip()}'")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        position = match.end()
    return tokens


def problem(source: str) -> str | None:
    """Return what GitHub would say of a text with ${{ }} in it that can't be read, None if all of them can."""
    rest = source
    while "${{" in rest:
        inside, closed, rest = rest.partition("${{")[2].partition("}}")
        while closed and inside.count("'") % 2:  # a }} within a text
            more, closed, rest = rest.partition("}}")
            inside += "}}" + more
        if not closed:
            return (
                "The expression is not closed. An unescaped ${{ sequence was found, but the closing }} was not found."
            )
        if said := expression_problem(inside.strip()):
            return said
    return None


def expression_problem(source: str) -> str | None:
    """Return what GitHub would say of an expression that can't be read, None if it can."""
    if not source:
        return "An expression was expected"
    try:
        parser = _Parser(_tokens(source), {}, checks=True)
        parser.alternatives()
    except ExpressionError as error:
        return f"{error}. Located within expression: {source}"
    return f"Unexpected symbol: '{parser.tokens[0][1]}'. Located within expression: {source}" if parser.tokens else None


def to_text(value: Any) -> str:
    """Return a value as GitHub inserts it into a text."""
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
    "startswith": lambda whole, start: to_text(whole).lower().startswith(to_text(start).lower()),
    "endswith": lambda whole, end: to_text(whole).lower().endswith(to_text(end).lower()),
    "join": lambda values, sign=",": to_text(sign).join(map(to_text, values if isinstance(values, list) else [values])),
}


class _Parser:
    """Evaluates as it reads; with `checks` it calls nothing and refuses names that GitHub does not know."""

    def __init__(self, tokens: list[tuple[str, str]], context: dict[str, Any], *, checks: bool = False) -> None:
        self.tokens = tokens
        self.context = context
        self.checks = checks

    def _take(self, *ops: str) -> str | None:
        if self.tokens and self.tokens[0][0] == "op" and self.tokens[0][1] in ops:
            return self.tokens.pop(0)[1]
        return None

    def _need(self, op: str) -> None:
        if not self._take(op):
            raise ExpressionError(f"Expected '{op}'")

    def alternatives(self) -> Any:
        value = self._conjunction()
        while self._take("||"):
            other = self._conjunction()
            # `other` is read even if it is not needed: its tokens must be consumed.
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
        while op := self._take("==", "!=", "<=", ">=", "<", ">"):
            other = self._unary()
            if op in ("==", "!="):
                # GitHub ignores case.
                value = (to_text(value).lower() == to_text(other).lower()) == (op == "==")
            else:
                left, right = _number(value), _number(other)
                value = {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[op]
        return value

    def _unary(self) -> Any:
        return not self._unary() if self._take("!") else self._path()

    def _path(self) -> Any:
        value = self._atom()
        while op := self._take(".", "["):
            if op == "[":
                key = "*" if self._take("*") else to_text(self.alternatives())
                self._need("]")
            else:
                kind, key = self.tokens.pop(0) if self.tokens else ("", "")
                if kind != "name" and key != "*":
                    raise ExpressionError(f"Unexpected symbol: '{key}'" if key else "Unexpected end of expression")
            value = _member(value, key)
        return value

    def _atom(self) -> Any:
        if self._take("("):
            value = self.alternatives()
            self._need(")")
            return value
        if not self.tokens:
            raise ExpressionError("Unexpected end of expression")
        kind, text = self.tokens.pop(0)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return int(text, 16) if "x" in text else int(text) if text.lstrip("-").isdigit() else float(text)
        if kind != "name":
            raise ExpressionError(f"Unexpected symbol: '{text}'")
        if self._take("("):
            return self._call(text)
        if self.checks and text.lower() not in CONTEXTS:
            raise ExpressionError(f"Unrecognized named-value: '{text}'")
        return _WORDS[text] if text in _WORDS else self.context.get(text)

    def _call(self, name: str) -> Any:
        values = []
        while not self._take(")"):
            values.append(self.alternatives())
            if not self._take(","):
                self._need(")")
                break
        function = _FUNCTIONS.get(name.lower())
        if self.checks:
            if name.lower() not in FUNCTIONS:
                raise ExpressionError(f"Unrecognized function: '{name}'")
            return None
        if function is None:
            raise ExpressionError(f"unknown function {name}")
        try:
            return function(*values)
        except (TypeError, ValueError) as error:
            raise ExpressionError(str(error)) from error


def _member(value: Any, key: str) -> Any:
    """Return a member by its name, in any case; `*` returns all of them."""
    if isinstance(value, list):
        if key == "*":
            return value
        return value[int(key)] if key.isdecimal() and int(key) < len(value) else [_member(one, key) for one in value]
    if not isinstance(value, dict):
        return None
    if key == "*":
        return list(value.values())
    return value.get(key, next((known for name, known in value.items() if name.lower() == key.lower()), None))


def _number(value: Any) -> float:
    try:
        return float(to_text(value) or 0)
    except ValueError:
        # Every comparison with NaN is false, as GitHub's are with text that is not a number.
        return math.nan
