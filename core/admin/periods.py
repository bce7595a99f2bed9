"""Filtering an admin list by time, as links of the dashboard do: `?period=2026-11-26T04:00..2026-11-26T05:00` (UTC)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

LATELY = {
    "1h": ("The last hour", dt.timedelta(hours=1)),
    "24h": ("The last 24 hours", dt.timedelta(days=1)),
    "7d": ("The last 7 days", dt.timedelta(days=7)),
    "31d": ("The last 31 days", dt.timedelta(days=31)),
}
Pick = Callable[[QuerySet[Any], dt.datetime, dt.datetime], QuerySet[Any]]


def written(first: dt.datetime, last: dt.datetime) -> str:
    """Return the value of the filter for the time from `first` on and before `last`, whole minutes."""
    return "..".join(f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M}" for at in (first, last))


def read(value: str) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the time that a value of the filter names, None if it can't be read."""
    now = timezone.now()
    if value in LATELY:
        return now - LATELY[value][1], now + dt.timedelta(minutes=1)
    try:
        first, last = (dt.datetime.fromisoformat(part).replace(tzinfo=dt.UTC) for part in value.split(".."))
    except ValueError:
        return None
    return first, last


class PeriodFilter(admin.SimpleListFilter):
    """The last hours or days, and any other time that a link names."""

    title, parameter_name = "time (UTC)", "period"
    pick: Pick

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in LATELY.items()]

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield from super().choices(changelist)
        value = str(self.value() or "")
        if value and value not in LATELY:
            said = value.replace("T", " ").replace("..", " to ") if read(value) else "Unreadable: nothing is shown"
            yield {
                "selected": True,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": said,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        named = read(str(value))
        # Nothing for what can't be read: actions work on whatever this finds.
        return type(self).pick(queryset, *named) if named else queryset.none()


def period_filter(pick: Pick) -> type[PeriodFilter]:
    return type("Period", (PeriodFilter,), {"pick": staticmethod(pick)})
