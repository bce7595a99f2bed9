"""The operator's view of trouble: what is stuck, since when, why, and the buttons that fix it.

Each app reports its own trouble: `settings.ATTENTION` names functions that return a Section, as WORK names queues. A
button runs an action of the admin's own lists, for the rows that the list's filter finds at that moment: there is one
way to do each thing, with its permission and its report, and rows that have moved on meanwhile are left alone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.module_loading import import_string
from django.views.decorators.http import require_safe

from core.admin.base import admin_link
from core.brief import Brief

OLDEST = 3  # rows that are shown of each trouble
LINES = 40  # troubles that are shown of each section
RECENT = dt.timedelta(days=7)  # what was given up before is only in the lists

Values = dict[str, Any]  # of one row, by column


class Everything:
    """Who may see all: sections are functions of a user, and alarms are for all operators."""

    is_superuser = True

    def has_perm(self, permission: str) -> bool:
        return True


User = AbstractBaseUser | AnonymousUser | PermissionsMixin | Everything


@dataclass(frozen=True)
class Button:
    """The fix: an action of an admin list, for the rows that the list shows at `path`."""

    label: str
    action: str
    path: str


@dataclass(frozen=True)
class Row:
    """One of the rows in trouble."""

    what: str  # text, or a link made by core.admin.base
    since: dt.datetime | None
    why: str = ""
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong, with however many rows."""

    what: str
    count: int = 1
    since: dt.datetime | None = None
    why: str = ""  # what we or others said about it, as text
    advice: str = ""
    path: str = ""  # the list of its rows
    buttons: tuple[Button, ...] = ()
    oldest: tuple[Row, ...] = ()
    mild: bool = False  # worth a look, but nothing is broken
    key: str = ""  # the same as long as it is the same trouble, where the list alone does not say that

    @property
    def identity(self) -> str:
        """What tells it from other troubles of its section, however many rows it has and whatever time it is."""
        return self.key or self.path or re.sub(r"[\d:,.]+", "#", self.what)

    @property
    def counted(self) -> str:
        return f"{self.count:,}" if self.count > 1 else ""


@dataclass(frozen=True)
class Section:
    """One kind of trouble; without any, it says so in a line."""

    title: str
    troubles: tuple[Trouble, ...] = ()
    alarm: str = ""  # said at the top of the page

    @property
    def shown(self) -> list[Trouble]:
        """The first of its troubles: broken ones before mild ones, and those with many rows first."""
        return sorted(self.troubles, key=lambda trouble: (trouble.mild, -trouble.count))[:LINES]

    @property
    def left_out(self) -> int:
        return max(0, len(self.troubles) - LINES)


COUNTS: Brief[Any, int] = Brief(seconds=0)


def sections_for(user: User) -> list[Section]:
    """Return what this user may see."""
    return [found for path in settings.ATTENTION if (found := import_string(path)(user)) is not None]


def broken(sections: Iterable[Section]) -> int:
    return sum(not trouble.mild for section in sections for trouble in section.troubles)


def count(user: Any) -> int | None:
    """Return how many things need attention as far as this user may see, some seconds old; None: not counted."""
    if settings.ATTENTION_COUNT_SECONDS <= 0:
        return None
    COUNTS.seconds = settings.ATTENTION_COUNT_SECONDS
    return COUNTS.get(user.pk, lambda: broken(sections_for(user)))


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show everything that needs an operator, as far as this user may see it."""
    sections = sections_for(request.user)
    troubles = [trouble for section in sections for trouble in section.troubles]
    worst = broken(sections)
    context = {
        **admin.site.each_context(request),
        "title": f"Needs attention ({worst})" if worst else "Needs attention",
        "now": timezone.now(),
        "broken": worst,
        "mild": len(troubles) - worst,
        "alarms": [section.alarm for section in sections if section.alarm],
        "sections": sections,
        "troubled": [section for section in sections if section.troubles],
        "fine": [section for section in sections if not section.troubles],
        "hidden": len(settings.ATTENTION) - len(sections),
    }
    return TemplateResponse(request, "admin/attention.html", context)


def may(user: Any, permission: str) -> bool:
    return bool(user.has_perm(permission))


def listed(model: str, **query: Any) -> str:
    """Return the path of the admin's list of a model (app_name), with filters."""
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(query)}"


def buttons(allowed: bool, path: str, **labels: str) -> tuple[Button, ...]:
    """Return a button for each action of the list at `path`, none for a user who may not use them."""
    assert "?" in path, "a button without a filter would act on every row there is"
    return tuple(Button(label, action, path) for action, label in labels.items()) if allowed else ()


def grouped(rows: QuerySet[Any], *by: str, show: Iterable[str]) -> list[list[Values]]:
    """Return the oldest few rows of each group, with how many the group has as `counted`; in one query.

    The rows are annotated with `since`.
    """
    group = [F(name) for name in by]
    placed = rows.order_by().annotate(
        place=Window(RowNumber(), partition_by=group, order_by=[F("since"), F("pk")]),
        counted=Window(Count("pk"), partition_by=group),
    )
    found = placed.filter(place__lte=OLDEST).order_by("since", "pk").values(*by, "since", "counted", "pk", *show)
    groups: dict[tuple[Any, ...], list[Values]] = {}
    for row in found:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    return list(groups.values())


@dataclass(frozen=True)
class Report:
    """What the page says about one model's rows in trouble: a line for each group of them, a line for its oldest rows.

    `rows` annotates each row in trouble with its `trouble`, a word, and with `since` when, and leaves out the others.
    The texts are made from a group's oldest row, which also has `counted`.
    """

    model: str  # app_name, as in the names of the admin's pages; decides the permissions, too
    rows: Callable[[], QuerySet[Any]]
    by: Sequence[str]  # the columns that a group shares beside its trouble
    filters: Callable[[Values], Mapping[str, Any]]  # of the admin's list, for a group: parameters and values
    show: Sequence[str]  # the columns that the texts are made of
    what: Callable[[Values], str]
    advice: Callable[[Values], str]
    line: Callable[[Values, Values], tuple[str, str]]  # from a row and its group's first: the link's text, and why
    action: tuple[str, str, str]  # of the admin's list: its name, and its label for one row and for all
    why: Callable[[Values], str] = lambda first: ""
    mild: Callable[[Values], bool] = lambda first: False
    more_actions: Callable[[Values], Mapping[str, str]] = lambda first: {}  # for one row: names and labels

    def section(self, title: str, user: User) -> Section | None:
        """Return what this user may see of it, None if that is nothing at all."""
        app, _, name = self.model.partition("_")
        if not may(user, f"{app}.view_{name}"):
            return None
        allowed = may(user, f"{app}.change_{name}")
        groups = grouped(self.rows(), "trouble", *self.by, show=self.show)
        return Section(title, tuple(self._trouble(group, allowed=allowed) for group in groups))

    def _trouble(self, group: list[Values], *, allowed: bool) -> Trouble:
        first = group[0]
        count, (action, _, label) = first["counted"], self.action
        path = listed(self.model, trouble=first["trouble"], **self.filters(first))
        return Trouble(
            self.what(first),
            count,
            first["since"],
            why=self.why(first),
            advice=self.advice(first),
            path=path,
            buttons=buttons(allowed and count > 1, path, **{action: label}),
            oldest=tuple(self._row(row, first, allowed=allowed) for row in group),
            mild=self.mild(first),
        )

    def _row(self, row: Values, first: Values, *, allowed: bool) -> Row:
        text, why = self.line(row, first)
        action, label, _ = self.action
        path = listed(self.model, id__exact=row["pk"])
        pressed = buttons(allowed, path, **{action: label}, **self.more_actions(first))
        return Row(admin_link(f"admin:{self.model}_change", text, row["pk"]), row["since"], why, pressed)


class TroubleFilter(admin.SimpleListFilter):
    """Filters a list by what is wrong; what the page links to."""

    title, parameter_name = "needs attention", "trouble"
    words: Mapping[str, str] = {}
    pick: Callable[[QuerySet[Any], str], QuerySet[Any]]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, str]]:
        return list(self.words.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in the chosen trouble, all without one."""
        word = self.value()
        if word is None:
            return queryset
        # None for an unknown word: buttons act on whatever this finds.
        return type(self).pick(queryset, str(word)) if word in self.words else queryset.none()


def trouble_filter(
    words: Mapping[str, str], pick: Callable[[QuerySet[Any], str], QuerySet[Any]]
) -> type[TroubleFilter]:
    return type("Trouble", (TroubleFilter,), {"words": words, "pick": staticmethod(pick)})
