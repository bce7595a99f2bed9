"""What a form says of a field: its name, and what fits."""

from __future__ import annotations

import re
from typing import Any

from casts.forms.fields import ABSENT, JSON, Kind
from core.db.documents import written

MOST = 1000  # characters of a description or an example
TOO_LONG = "the form would be too long"
FORMATS = {
    "date": "A date, such as 2026-11-30",
    "date-time": "A time, in UTC unless it says another zone",
    "time": "A time of day, in UTC unless it says another zone",
    "email": "A mail address",
    "uri": "An address such as https://example.com/page",
    "uuid": "A UUID",
}
# What JSON Schema's patterns and browsers' understand alike: whole texts of characters, classes, groups and counts.
PLAIN = re.compile(
    r"\^((?:[A-Za-z0-9 _:,;@#%='<>]|\\[.\-/]|\[(?:[A-Za-z0-9_ .]|[a-zA-Z0-9]-[a-zA-Z0-9])+\]|[.][*+]|\{\d+(?:,\d*)?\}"
    r"|[*+?()|])*)\$"
)
PATTERN_CHARS = 200
# What the validator says of a value, which is there to be seen, as advice. What it says else stays as it is.
ADVICE = [
    (re.compile(told, re.DOTALL), advice)
    for told, advice in (
        (r".* is shorter than (\d+ characters?)", "Too short: at least {}."),
        (r".* is longer than (\d+ characters?)", "Too long: at most {}."),
        (r".* has less than (\d+) items?", "Too few: fill in at least {}."),
        (r".* has more than (\d+ items?)", "Too many: at most {}."),
        (r".* is less than the minimum of (\S+)", "Too small: at least {}."),
        (r".* is greater than the maximum of (\S+)", "Too large: at most {}."),
        (r".* has non-unique elements", "The same is there twice; each may be there once."),
        (r'.* does not match "([^"]+)"', "It does not fit the pattern {}."),
        (r'.* is not a "email"', "Write a mail address, such as ada@example.com."),
        (r'.* is not a "uri"', "Write a whole address, such as https://example.com/page."),
        (r'.* is not a "date"', "Write a date, such as 2026-11-30."),
        (r'.* is not a "date-time"', "Write a day and a time, such as 2026-11-30T09:00:00Z."),
        (r'.* is not a "time"', "Write a time of day, such as 09:00:00Z."),
    )
]


def cut(text: object, most: int = MOST) -> str:
    told = text if isinstance(text, str) else ""
    return told if len(told) <= most else told[: most - 1] + "…"


def label(schema: dict[str, Any], name: str) -> str:
    title = schema.get("title")
    return cut(title, 200) if isinstance(title, str) and title.strip() else cut(name, 200)


def advice(text: str) -> str:
    """Return what to do about a value of which a validator says this."""
    for told, words in ADVICE:
        if found := told.fullmatch(text):
            return words.format(*found.groups())
    return text


def example(schema: dict[str, Any]) -> JSON:
    listed = schema.get("examples")
    return listed[0] if isinstance(listed, list) and listed else schema.get("example", ABSENT)


def said(value: JSON) -> str:
    """Return a value for people: a text as it is, others as JSON."""
    return cut(value if isinstance(value, str) and value.strip() else written(value), 200)


def html_pattern(pattern: str) -> str:
    """Return what an `<input pattern>` may have for a pattern, blank if browsers might read it otherwise."""
    found = PLAIN.fullmatch(pattern) if len(pattern) <= PATTERN_CHARS else None
    # Theirs is held against the whole text: what ^ and $ belong to must be all of it.
    if found is None or "|" in re.sub(r"\([^()]*\)", "", pattern):
        return ""
    return found[1]


def hints(schema: dict[str, Any], kind: Kind | None) -> tuple[str, ...]:
    """Return what fits, in short sentences without a full stop."""
    found: list[str] = []
    if kind == Kind.TEXT:
        found += [FORMATS.get(str(schema.get("format", "")), "")]
        found += [between(schema.get("minLength"), schema.get("maxLength"), "character")]
        if isinstance(pattern := schema.get("pattern"), str) and not schema.get("description"):  # which says it better
            found.append(f"It fits the pattern {cut(pattern, 200)}")
    elif kind == Kind.NUMBER:
        found += [numbers(schema), f"A multiple of {written(schema['multipleOf'])}" if "multipleOf" in schema else ""]
    elif kind == Kind.ARRAY:
        found += [between(schema.get("minItems"), schema.get("maxItems"), "item")]
        found += ["Each item once"] if schema.get("uniqueItems") is True else []
    elif kind == Kind.OBJECT:
        found += [between(schema.get("minProperties"), schema.get("maxProperties"), "field")]
    found += ["Not to be used any more"] if schema.get("deprecated") is True else []
    return tuple(one for one in found if one)


def between(least: Any, most: Any, word: str) -> str:
    if least and most is not None:
        return f"{least} {word}{'' if least == 1 else 's'}" if least == most else f"{least} to {most} {word}s"
    if most is not None:
        return f"At most {most} {word}{'' if most == 1 else 's'}"
    return f"At least {least} {word}{'' if least == 1 else 's'}" if least and least > 1 else ""


def numbers(schema: dict[str, Any]) -> str:
    whole = "A whole number" if schema.get("type") == "integer" else "A number"
    parts = [
        f"{words} {written(schema[word])}"
        for word, words in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "up to"),
            ("exclusiveMaximum", "below"),
        )
        if word in schema
    ]
    return " ".join([whole, *parts])
