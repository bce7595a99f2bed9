"""What Stripe told, and what became of it."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin.base import badge, block, chosen, code, column, newest_values, remaining_fields, utc_time
from payments import inbox
from payments.admin.base import Evidence, stripe_link
from payments.models import EventSweep, StripeEvent


@admin.register(StripeEvent)
class StripeEventAdmin(Evidence):
    purpose = "What Stripe told us of, and what came of each."
    list_display = ("received", "type", "about", "state_and_why", "swept", "repeats", "event")
    list_filter = ("state", "swept", newest_values("type", "type"), "received_at")
    sortable_by = ("received",)
    search_fields = ("id", "object_id")
    search_help_text = "By id of the event (evt_…), or of what it is about (pi_…, cus_…)."
    actions = ("apply_again",)
    known = (
        *("id", "type", "object_type", "object_id", "created", "received_at", "swept", "repeats"),
        *("state", "applied_at", "error"),
    )
    fieldsets = (
        (None, {"fields": ("event", "type", "about", "at", "received", "swept", "repeats")}),
        ("What came of it", {"fields": ("state_shown", "applied", "error_shown")}),
        ("Internal", {"fields": remaining_fields(StripeEvent, *known), "classes": ("collapse",)}),
    )

    received = column("received_at", utc_time, "received", order="received_at")
    at = column("created", utc_time, "at Stripe")
    applied = column("applied_at", utc_time, "settled")
    state_shown = column("state", badge, "state")
    error_shown = column("error", lambda error: block(error) if error else "-", "error")
    event = stripe_link("events", "id", "event")
    about = column("object_id", code, "about")

    @admin.display(description="state")
    def state_and_why(self, event: StripeEvent) -> SafeString:
        return badge(event.state, event.error[:120])

    def has_apply_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.change_stripeevent")

    @admin.action(description="Look again at what they are about", permissions=["apply"])
    def apply_again(self, request: HttpRequest, queryset: QuerySet[StripeEvent]) -> None:
        keys = chosen(queryset)
        tried = inbox.apply_again(keys)
        self.record(request, tried, "Apply again.")
        self.report(
            request, "Events to be looked at now", done=len(tried), of=len(keys), others="have been, or are just now"
        )


@admin.register(EventSweep)
class EventSweepAdmin(Evidence):
    purpose = "How far Stripe's list of events was read for those that never arrived."
    list_display = ("read", "next_at")
    fields = ("read", "next_at", "failed_steps", "failure")

    read = column("read_upto", utc_time, "read up to")
    next_at = column("due_at", utc_time, "goes on")
