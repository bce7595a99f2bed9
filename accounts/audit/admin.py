"""The operator's view of the audit log."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.audit import words
from accounts.audit.models import AuditEntry
from accounts.models import Account
from core.admin.base import NOTHING, ReadOnlyAdmin, admin_link, column, newest_values, pretty, two_lines, utc_time

COLUMNS = (
    *("id", "at", "account_id", "actor_kind", "actor_id", "actor", "action", "object_kind", "object_id"),
    *("before", "after", "address", "request_id"),
)
SHOWN, SHORT = 3, 40  # facts of a change in the list, and characters of a value


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    purpose = "Who changed what, and from where: every change that somebody asked for is here."
    list_display = ("when", "who", "action", "object", "change", "account", "address")
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

    @admin.display(description="actor")
    def who(self, entry: AuditEntry) -> SafeString:
        return two_lines(entry.actor, entry.actor_kind)

    @admin.display(description="change")
    def change(self, entry: AuditEntry) -> SafeString | str:
        """Return what became of that which had a value before, as in "cap cents: 1000 → 2000"."""
        facts = [(name, was, became) for name, was, became in words.changed(entry, SHORT) if was and was != became]
        if not facts:
            return NOTHING
        return format_html_join(
            "", "{}: {} → {}<br>", ((n, was, became or NOTHING) for n, was, became in facts[:SHOWN])
        )

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
