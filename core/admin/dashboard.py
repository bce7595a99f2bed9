"""The admin's first page: what goes on, in numbers that lead to their lists.

Each app shows its own: `settings.DASHBOARD` names functions that return a Panel for a user, as ATTENTION names
sections.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString

from core.admin.attention import User
from core.admin.base import NOTHING

MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True)
class Panel:
    """One part of the page: charts and tables, one below the other."""

    title: str
    parts: tuple[SafeString | str, ...]
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Figure:
    """A number with its name."""

    name: str
    value: Any
    path: str = ""
    bad: bool = False


def panels(user: User) -> list[Panel]:
    """Return what this user may see."""
    found = (import_string(path)(user) for path in settings.DASHBOARD)
    return [panel for panel in found if panel is not None]


def figures(shown: Iterable[Figure]) -> SafeString:
    return format_html(
        '<dl class="dash-figures">{}</dl>',
        format_html_join(
            "",
            "<div{}><dt>{}</dt><dd>{}</dd></div>",
            (
                (SafeString(' class="dash-bad"') if one.bad else "", one.name, linked(one.path, one.value))
                for one in shown
            ),
        ),
    )


def linked(path: str, text: Any) -> SafeString | str:
    return format_html('<a href="{}">{}</a>', path, text) if path else format_html("{}", text)


def listing(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> SafeString:
    """Return a table; a row's first cell names it, and cells that are numbers stand at the right."""
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th>{}</tr>',
        (
            (row[0], format_html_join("", '<td data-head="{}">{}</td>', zip(head[1:], row[1:], strict=True)))
            for row in rows
        ),
    )
    if not body:
        return format_html('<h3>{}</h3><p class="dash-empty">{}</p>', caption, empty)
    titles = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in head))
    return format_html(
        '<div class="dash-table"><table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        caption,
        titles,
        body,
    )


def duration(seconds: float | None) -> str:
    """Return how long something took, as a person says it."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s" if seconds else "0 s"
    whole = round(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min" + (f" {whole % MINUTE} s" if whole < 10 * MINUTE and whole % MINUTE else "")
    if whole < 2 * DAY:
        return f"{whole // HOUR} h" + (f" {whole % HOUR // MINUTE} min" if whole < 10 * HOUR else "")
    return f"{whole // DAY} days"


def ago(at: dt.datetime | None) -> str:
    return NOTHING if at is None else f"{duration((timezone.now() - at).total_seconds())} ago"


def moment(at: dt.datetime | None) -> SafeString | str:
    """Return a time to the minute (UTC), without the year."""
    if at is None:
        return NOTHING
    at = at.astimezone(dt.UTC)
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{at:%a} {at.day} {at:%b %H:%M}")
