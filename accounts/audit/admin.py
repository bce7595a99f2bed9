"""The operator's view of the audit log."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.audit.models import AuditEntry
from accounts.models import Account
from core.admin.base import NOTHING, ReadOnlyAdmin, admin_link, column, newest_values, pretty, utc_time

COLUMNS = (
    *("id", "at", "account_id", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id"),
    *("before", "after", "address", "request_id"),
)


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    purpose = "Who changed what, and from where: every change that somebody asked for is here."
    list_display = ("when", "actor_kind", "actor", "action", "object", "account", "address")
    list_display_links = ("when",)
    list_filter = ("actor_kind", newest_values("action", "action"), "at")
    search_fields = ("actor", "action", "object_id", "request_id", "address")
    search_help_text = "By who, what was done, the id of what was changed, address or request id."
    fields = (
        *("when", "account", "actor_kind", "actor_id", "actor", "action", "object", "was", "became"),
        *("address", "request_id"),
    )
    csv_columns = COLUMNS

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
