"""The operator's list of who was refused."""

from __future__ import annotations

from django.contrib import admin

from accounts.rationing.attention import WHAT, whose
from accounts.rationing.models import Refusal
from core.admin.base import ReadOnlyAdmin, column, utc_time


@admin.register(Refusal)
class RefusalAdmin(ReadOnlyAdmin):
    purpose = "Who was refused lately for asking too often."
    list_display = ("who", "what", "first", "last", "count")
    list_filter = ("allowance",)
    search_fields = ("subject",)
    search_help_text = "By address, or by the id of a key, an account or a cast."
    list_display_links = None
    first = column("first_at", utc_time, "first", order="first_at")
    last = column("last_at", utc_time, "last", order="last_at")

    @admin.display(description="who")
    def who(self, refusal: Refusal) -> str:
        return whose(refusal)

    @admin.display(description="refused as", ordering="allowance")
    def what(self, refusal: Refusal) -> str:
        return WHAT.get(refusal.allowance, refusal.allowance)
