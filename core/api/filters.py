"""Filters of a list: each parameter with its description and what it means."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from core import limits
from core.api.pagination import once_each
from core.errors import BadQuery

M = TypeVar("M", bound=Model)
PAGING = [
    OpenApiParameter("cursor", str),
    OpenApiParameter("page_size", {"type": "integer", "minimum": 1, "maximum": limits.PAGE_SIZE}),
]  # pagination reads these itself


@dataclass(frozen=True)
class Filter:
    """A parameter, and what makes a condition of its name and value, or raises BadQuery.

    One that is called `data.KEY` stands for all names that begin with `data.`.
    """

    parameter: OpenApiParameter
    condition: Callable[[str, str], Q]


def parameters_of(filters: Sequence[Filter]) -> list[OpenApiParameter]:
    """Return how a list that is filtered and paged is described."""
    return [*(one.parameter for one in filters), *PAGING]


def query_time(name: str, value: str) -> dt.datetime:
    """Return a time from a query, in UTC; raise BadQuery."""
    with suppress(ValueError, OverflowError):
        # A plus sign in a query reads as a space; RFC 3339 takes t and z as well.
        at = parse_datetime(value.replace(" ", "+").upper())
        if at is not None and timezone.is_aware(at):
            return at.astimezone(dt.UTC)
    raise BadQuery(f"{name} is a time with a zone, such as 2026-11-23T10:00:00Z; not {value!r}.")


def filtered(found: QuerySet[M, Any], request: Request, filters: Sequence[Filter], *, text: bool) -> QuerySet[M, Any]:
    """Apply a query's filters; raise BadQuery, naming the parameter, for what can't be used.

    `text`: some of them take any text, of which databases take all but NUL.
    """
    conditions = {one.parameter.name: one.condition for one in filters}
    paging = [parameter.name for parameter in PAGING]
    query = once_each(request)
    if len(query) > limits.FILTERS:
        raise BadQuery(f"A list takes {limits.FILTERS} parameters at most; there are {len(query)}.")
    for name, value in query.items():
        if text and "\0" in name + value:
            raise BadQuery("A query can't hold NUL characters.")
        head, dot, _ = name.partition(".")
        condition = conditions.get(f"{head}.KEY" if dot else name)
        if condition is not None:
            found = found.filter(condition(name, value))
        elif name not in paging:
            *some, last = [*conditions, *paging]
            raise BadQuery(f"There is no filter {name!r}; use {', '.join(some)} and {last}.")
    return found
