"""Holding documents against schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, islice
from typing import Any

import jsonschema_rs

from core import limits
from core.json_schema import work
from core.json_schema.parts import pointer, refuse

# A pattern takes a time proportional to text and pattern, and needs no limit on backtracking.
LINEAR = jsonschema_rs.RegexOptions(size_limit=limits.PATTERN_BYTES)
# For schemas that were stored before patterns had to be so: looking around and back, with a bound on each match.
BOUNDED = jsonschema_rs.FancyRegexOptions(backtrack_limit=limits.PATTERN_STEPS)
GIVEN_CHARS = 80  # of what was given instead of a choice
TOO_MUCH = "Checking this against the schema would take too much work. Give fewer parts, or less nested ones."
OTHER_CHOICES = re.compile(r" or \d+ other candidates$")  # how the library ends what it says of more than three
TOO_MANY = "There are too many mistakes, or too large ones, to list them. This is one:"


def compiled(schema: Any) -> jsonschema_rs.Draft202012Validator:
    """Return a schema's validator; raise ValueError or ReferencingError for what is none, or has a slow pattern."""
    return jsonschema_rs.Draft202012Validator(schema, retriever=refuse, validate_formats=True, pattern_options=LINEAR)


@lru_cache(maxsize=512)
def _stored(text: str) -> jsonschema_rs.Draft202012Validator:
    schema = json.loads(text)
    try:
        return compiled(schema)
    except ValueError:
        return jsonschema_rs.Draft202012Validator(
            schema, retriever=refuse, validate_formats=True, pattern_options=BOUNDED
        )


def violations(schema: dict[str, Any], document: Any, *, at: str) -> list[dict[str, str]]:
    """Return in which ways `document` breaks `schema`, as {pointer, detail}; pointers begin with `at`.

    As many as limits.VIOLATIONS, or fewer where their list would be too large to make: one at least.
    """
    text = json.dumps(schema)
    return list(islice(_violations(_stored(text), schema, text, document, at), limits.VIOLATIONS))


def _violations(
    validator: jsonschema_rs.Draft202012Validator, schema: Any, text: str, document: Any, at: str
) -> Iterator[dict[str, str]]:
    effort: work.Work | None = None
    try:
        if work.at_most(text) * len(json.dumps(document)) > limits.SCHEMA_WORK:
            effort = work.of(schema, document)
        if effort is not None and effort.valid > limits.SCHEMA_WORK:
            raise work.TooMuchWork
        if validator.is_valid(document):
            return
        for message, path in errors(validator, effort or work.of(schema, document), document):
            yield {"pointer": limits.cut(at + pointer(path)), "detail": limits.cut(message)}
    except work.TooMuchWork:
        yield {"pointer": at, "detail": TOO_MUCH}


def errors(
    validator: jsonschema_rs.Draft202012Validator, effort: work.Work, document: Any
) -> Iterator[tuple[str, list[str | int]]]:
    """Yield what is wrong with a document that does not fit: all of it, one thing, or that it is too much to tell."""
    if effort.every <= limits.SCHEMA_ERROR_WORK:
        for error in validator.iter_errors(document):
            yield said_of(error), error.instance_path
        return
    if effort.one > limits.SCHEMA_ERROR_WORK:
        yield "It does not fit, and what is wrong is too much to tell.", []
        return
    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        yield f"{TOO_MANY} {said_of(error)}", error.instance_path


def said_of(error: jsonschema_rs.ValidationError) -> str:
    """Return what is wrong; of something chosen all choices, as far as there is room: the library names two of many."""
    if not isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Enum) or not OTHER_CHOICES.search(error.message):
        return error.message
    given, *choices = (json.dumps(one, ensure_ascii=False) for one in (error.instance, *error.kind.options))
    said = f"{given if len(given) <= GIVEN_CHARS else given[: GIVEN_CHARS - 1] + '…'} is not one of "
    room = limits.VIOLATION_CHARS - len(said) - len(" or 12345 others")
    shown = sum(end <= room for end in accumulate(len(choice) + len(", ") for choice in choices))
    if not shown:
        return error.message
    if shown >= len(choices) - 1:  # the last needs no comma
        return f"{said}{', '.join(choices[:-1])} or {choices[-1]}"
    return f"{said}{', '.join(choices[:shown])} or {len(choices) - shown} others"
