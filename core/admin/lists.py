"""What all lists of the admin share: a count that is bounded, CSV, and a word on what the list is for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import path, reverse

from core.admin import export
from core.admin.recorded import Recorded

MOST_COUNTED = 10_000  # rows; counting a whole history would take longer than showing its newest


class Number(int):
    """A count that pages show with thousand separators."""

    def __str__(self) -> str:
        return f"{int(self):,}"


class AtLeast(Number):
    """A number of rows that was not counted to its end."""

    def __str__(self) -> str:
        return f"more than {MOST_COUNTED:,}"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of a list, of which the first MOST_COUNTED rows can be leafed through; filters find the others."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows.order_by()[: MOST_COUNTED + 1].count() if hasattr(rows, "order_by") else len(rows)
        return AtLeast(MOST_COUNTED) if found > MOST_COUNTED else Number(found)


class ShortList(ChangeList):
    """A list that does not read what its admin says is unlisted."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        admin: Any = self.model_admin
        return found.defer(*admin.unlisted)


class Listed(Recorded):
    """A list with a bounded count, an export, and words for an empty one."""

    paginator = BoundedPaginator
    purpose = ""  # what the list is for, where it is empty
    csv_columns: Sequence[str] = ()  # attributes; else what the list shows
    unlisted: Sequence[str] = ()  # big columns, which lists show nothing of

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_csv"
        return [path("csv/", self.admin_site.admin_view(self.csv_view), name=name), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ShortList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        asked = request.GET.copy()
        asked.pop(PAGE_VAR, None)
        query = f"?{asked.urlencode()}" if asked else ""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_csv"
        shown = {"csv_path": reverse(name) + query, "purpose": self.purpose, "most_rows": export.MOST_ROWS}
        return super().changelist_view(request, shown | (extra_context or {}))

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send the rows that the list shows for this query, on all its pages, and note that in the audit log."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        try:
            shown = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            return HttpResponseRedirect(f"{back}?e=1")
        keys = list(shown.queryset.values_list("pk", flat=True)[: export.MOST_ROWS + 1])
        cut = len(keys) > export.MOST_ROWS
        columns = self._csv_columns(request)
        facts = {"rows": min(len(keys), export.MOST_ROWS), "query": request.GET.urlencode()}
        self._tell(request, "export", (str(self.opts.model_name), ""), after=facts)
        name = f"{self.opts.model_name}s" + (f"-first-{export.MOST_ROWS}" if cut else "")
        return export.answer(name, keys[: export.MOST_ROWS], self._csv_rows(request), columns)

    def _csv_columns(self, request: HttpRequest) -> dict[str, export.Value]:
        names = [name for name in self.get_list_display(request) if name != "action_checkbox"]
        return (
            export.attributes(self.csv_columns) if self.csv_columns else export.values_of(self, [str(n) for n in names])
        )

    def _csv_rows(self, request: HttpRequest) -> Any:
        related = self.get_list_select_related(request)
        rows = self.get_queryset(request).defer(*self.unlisted)
        return rows.select_related(*related) if isinstance(related, list | tuple) and related else rows
