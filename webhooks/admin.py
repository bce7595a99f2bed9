"""The operator's console: what GitHub told us, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import truncatechars
from django.utils.safestring import SafeString

from casts.admin import story
from casts.admin.story import Line
from casts.models import Cast
from core.admin.base import (
    NOTHING,
    ReadOnlyAdmin,
    admin_link,
    as_words,
    badge,
    block,
    chosen,
    code,
    column,
    newest_values,
    pretty,
    remaining_fields,
    run_id_in,
    utc_time,
)
from webhooks import inbox, sweep
from webhooks.attention import DeliveryTroubles
from webhooks.models import Delivery, DeliverySweep


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    purpose = "The webhooks that GitHub has sent, and what came of each."
    list_display = ("received", "what", "result_and_why", "repository", "run", "guid_shown", "repeats")
    list_filter = (
        "outcome",
        DeliveryTroubles,
        newest_values("event", "event"),
        newest_values("action", "action"),
        "swept",
        "received_at",
    )
    search_fields = ("guid", "repository")
    search_help_text = "By GUID, run id or address, or repository."
    unlisted = ("body",)
    sortable_by = ("received",)  # the others would sort the whole history without an index
    elsewhere = (
        *("id", "guid", "event", "action", "repository", "run_id", "received_at", "repeats", "happened_at", "swept"),
        *("outcome", "applied_at", "error", "body"),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "guid_shown",
                    "event",
                    "action",
                    "repository",
                    "run",
                    "happened",
                    "received",
                    "swept",
                    "repeats",
                )
            },
        ),
        ("What came of it", {"fields": ("result", "applied", "error_shown")}),
        ("Payload", {"fields": ("payload",)}),
        ("Internal", {"fields": remaining_fields(Delivery, *elsewhere), "classes": ("collapse",)}),
    )

    actions = ("apply_again",)

    def has_apply_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_delivery")

    @admin.action(description="Apply again what is pending", permissions=["apply"])
    def apply_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        keys = chosen(queryset)
        tried = inbox.apply_again(keys)
        others = "have been applied, or are being tried at this moment"
        self.record(request, tried, "Apply again.")
        self.report(request, "Deliveries to be applied now", done=len(tried), of=len(keys), others=others)

    received = column("received_at", utc_time, "received", order="id")
    happened = column("happened_at", utc_time, "happened")
    applied = column("applied_at", utc_time, "settled")
    result = column("outcome", badge, "outcome")
    guid_shown = column("guid", code, "GUID")
    error_shown = column("error", lambda error: block(error) if error else NOTHING, "error")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        if (run_id := run_id_in(search_term)) is not None:
            found |= queryset.filter(run_id=run_id)
        return found, duplicates

    @admin.display(description="event")
    def what(self, delivery: Delivery) -> str:
        return f"{delivery.event}: {as_words(delivery.action)}" if delivery.action else delivery.event

    @admin.display(description="outcome")
    def result_and_why(self, delivery: Delivery) -> SafeString:
        return badge(delivery.outcome, truncatechars(delivery.error, 120))

    @admin.display
    def run(self, delivery: Delivery) -> SafeString | str:
        if delivery.run_id is None:
            return NOTHING
        return admin_link("admin:casts_cast_changelist", delivery.run_id, q=delivery.run_id)

    @admin.display
    def payload(self, delivery: Delivery) -> SafeString | str:
        try:
            return pretty(json.loads(delivery.body))
        except (ValueError, RecursionError):
            return block(delivery.body)


def of_cast(cast: Cast) -> Iterator[Line]:
    """Tell of a cast's story the webhooks that were about its run."""
    if not (cast.run_key or "").isdecimal():
        return
    about = Delivery.of_run(cast.run_scope, int(cast.run_key or 0)).order_by("id").defer("body")
    for delivery in about[: story.MOST]:
        name = f"{delivery.event}: {as_words(delivery.action)}" if delivery.action else delivery.event
        came = as_words(delivery.outcome) + (f": {truncatechars(delivery.error, 120)}" if delivery.error else "")
        path = ("admin:webhooks_delivery_change", delivery.pk)
        yield Line(delivery.received_at, "webhook", name, who="GitHub", path=path, more=came)


story.SOURCES.append(story.Source("deliveries", "webhooks.view_delivery", of_cast))


@admin.register(DeliverySweep)
class DeliverySweepAdmin(ReadOnlyAdmin):
    purpose = "How far GitHub's log was read for webhooks that never arrived."
    list_display = ("finished", "swept", "recovered", "unreadable", "error", "next_at")
    fields = (
        *("finished", "swept", "recovered", "unreadable", "error_shown", "failures", "next_at"),
        *("failed_steps", "failure", "under_way"),
    )
    actions = ("sweep_again",)

    def has_sweep_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_deliverysweep")

    @admin.action(description="Sweep again", permissions=["sweep"])
    def sweep_again(self, request: HttpRequest, queryset: QuerySet[DeliverySweep]) -> None:
        keys = chosen(queryset)
        woken = keys if sweep.sweep_again() else []
        self.record(request, woken, "Sweep again.")
        self.report(request, "Sweeps that go on now", done=len(woken), of=len(keys), others="are under way")

    finished = column("finished_at", utc_time, "last finished")
    swept = column("swept_to", utc_time, "swept up to")
    next_at = column("due_at", utc_time, "goes on")
    error_shown = column("error", lambda error: block(error) if error else NOTHING, "error")
    under_way = column("progress", pretty, "under way")
