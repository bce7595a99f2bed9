"""The operator's console for callbacks: who is called, what was sent, what came back, and sending again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from casts.callbacks import outbox
from casts.callbacks.attention import CallbackTroubles
from casts.callbacks.endpoints import disable, enable
from casts.lifecycle import operators
from casts.models import Callback, CallbackAttempt, CallbackEndpoint
from core.admin.base import ReadOnlyAdmin, chosen
from core.errors import SpellError

if TYPE_CHECKING:
    TriesInline = admin.TabularInline[CallbackAttempt, Callback]
else:
    TriesInline = admin.TabularInline

SENT_AT_ONCE = 1000  # each is a transaction of its own, and somebody waits for the page


class Tries(TriesInline):
    """Every try of one callback."""

    model = CallbackAttempt
    extra = 0
    can_delete = False
    fields = readonly_fields = ("at", "url", "status_code", "error", "duration_ms", "response_excerpt")

    def has_add_permission(self, request: HttpRequest, obj: Callback | None = None) -> bool:
        return False


@admin.register(Callback)
class CallbackAdmin(ReadOnlyAdmin):
    purpose = "The messages that tell receivers how casts ended, with each try."
    list_display = ("id", "type", "account", "cast", "url", "state", "attempts", "last_status", "last_error", "due_at")
    list_filter = ("state", CallbackTroubles, "type", "last_status", "account")
    list_select_related = ("account", "cast", "event", "endpoint")
    search_fields = ("id", "url", "cast__id__startswith")
    search_help_text = "A webhook-id (msg_...), a cast's id, or a part of an address."
    fields = (
        ("id", "type", "state"),
        ("account", "cast", "event", "endpoint", "url"),
        ("attempts", "due_at", "lease_until"),
        ("last_status", "last_error"),
        ("created_at", "delivered_at"),
    )
    inlines = (Tries,)
    actions = ("send_again",)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_callback")

    @admin.action(description="Send again", permissions=["replay"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Callback]) -> None:
        keys = chosen(queryset)
        now = Callback.objects.filter(pk__in=keys[:SENT_AT_ONCE]).select_related("endpoint")
        refused = act(partial(send_again, by=request.user.get_username()), now)
        self.record(request, [key for key in keys[:SENT_AT_ONCE] if key not in refused], "Send again.")
        left = f" {len(keys) - SENT_AT_ONCE:,} more are left: press again." if len(keys) > SENT_AT_ONCE else ""
        tell(self, request, f"{len(keys[:SENT_AT_ONCE]) - len(refused):,} will be sent again.{left}", refused)


@admin.register(CallbackEndpoint)
class CallbackEndpointAdmin(ReadOnlyAdmin):
    purpose = "The addresses that accounts want called when their casts end."
    list_display = ("id", "account", "url", "active", "disabled_reason", "deleted_at", "created_at")
    list_filter = ("active", "account")
    list_select_related = ("account",)
    search_fields = ("id", "url", "description")
    secret_fields = ("sealed_secrets",)
    # Not the secrets: an operator has no use for them.
    fields = (
        ("id", "account"),
        ("url", "description", "types"),
        ("contents", "spell_keys"),
        ("active", "disabled_at", "disabled_reason"),
        ("created_at", "deleted_at"),
    )
    actions = ("enable", "disable")

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_callbackendpoint")

    @admin.action(description="Enable", permissions=["switch"])
    def enable(self, request: HttpRequest, queryset: QuerySet[CallbackEndpoint]) -> None:
        endpoints = CallbackEndpoint.objects.filter(pk__in=chosen(queryset))
        off = list(endpoints.filter(active=False).values_list("pk", flat=True))
        for endpoint in endpoints:
            enable(endpoint)
        self.record(request, chosen(endpoints.filter(pk__in=off, active=True)), "Enable.")
        tell(self, request, f"Enabled {endpoints.filter(active=True).count()} endpoints.")

    @admin.action(description="Disable", permissions=["switch"])
    def disable(self, request: HttpRequest, queryset: QuerySet[CallbackEndpoint]) -> None:
        endpoints = CallbackEndpoint.objects.filter(pk__in=chosen(queryset))
        self.record(request, chosen(endpoints.filter(active=True)), "Disable.")
        for endpoint in endpoints:
            disable(endpoint, why="Switched off by an operator.")
        tell(self, request, f"Disabled {endpoints.filter(active=False).count()} endpoints.")


def send_again(callback: Callback, *, by: str) -> None:
    """Have one callback sent again, and note that in its cast's history if it has one; raise SpellError if refused."""
    with transaction.atomic():
        outbox.send_again(callback)
        if callback.cast_id is not None:
            operators.note_operator([callback.cast_id], "callback_sent_again", by=by)


def act(move: Callable[[Any], object], rows: QuerySet[Any]) -> dict[Any, str]:
    """Call `move` with each row; return the keys of those that it refused, each with its reason."""
    refused = {}
    for row in rows:
        try:
            move(row)
        except SpellError as exc:
            refused[row.pk] = str(exc)
    return refused


def tell(console: Any, request: HttpRequest, done: str, refused: dict[Any, str] | None = None) -> None:
    console.message_user(request, done)
    for key, why in list((refused or {}).items())[:5]:
        console.message_user(request, f"{key}: {why}", messages.WARNING)
