"""The operator's view of the audit log."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.safestring import SafeString

from accounts.audit.models import AuditEntry
from accounts.models import Account
from core.admin.base import NOTHING, ReadOnlyAdmin, admin_link, column, newest_values, pretty, utc_time

COLUMNS = (
    *("id", "at", "account_id", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id"),
    *("before", "after", "address", "request_id"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would compute


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("when", "actor_kind", "actor", "action", "object", "account", "address")
    list_display_links = ("when",)
    list_filter = ("actor_kind", newest_values("action", "action"), "at")
    search_fields = ("actor", "action", "object_id", "request_id", "address")
    search_help_text = "By who, what was done, the id of what was changed, address or request id."
    fields = (
        *("when", "account", "actor_kind", "actor_id", "actor", "action", "object", "was", "became"),
        *("address", "request_id"),
    )
    actions = ("as_csv",)

    when = column("at", utc_time, "at", order="id")
    was = column("before", pretty, "before")
    became = column("after", pretty, "after")

    @admin.display(description="of")
    def object(self, entry: AuditEntry) -> str:
        return f"{entry.object_kind} {entry.object_id}".strip() or NOTHING

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        named = Account.objects.filter(pk=OuterRef("account_id")).values("name")[:1]
        entries: QuerySet[AuditEntry] = super().get_queryset(request).annotate(account_name=Subquery(named))
        return entries

    @admin.display(description="account", ordering="account_name")
    def account(self, entry: AuditEntry) -> SafeString | str:
        if entry.account_id is None:
            return NOTHING
        name = getattr(entry, "account_name", None) or str(entry.account_id)
        return admin_link("admin:accounts_account_change", name, entry.account_id)

    @admin.action(description="Download as CSV", permissions=["view"])
    def as_csv(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> StreamingHttpResponse:
        headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
        return StreamingHttpResponse(lines(queryset), content_type="text/csv; charset=utf-8", headers=headers)


class Line:
    """What csv writes to: it returns the line."""

    def write(self, text: str) -> str:
        return text


def lines(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    writer: Any = csv.writer(Line())
    yield writer.writerow(COLUMNS)
    for entry in entries.iterator(chunk_size=500):
        yield writer.writerow([cell(getattr(entry, name)) for name in COLUMNS])


def cell(value: Any) -> str:
    """Return a value as text that no spreadsheet takes for a formula: a caller chose some of it."""
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return "'" + text if text.startswith(FORMULA) else text
