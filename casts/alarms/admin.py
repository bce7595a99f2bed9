"""The operator's console for alarms: what is on, what was, and what was told by which way."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib import messages as said
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from casts.alarms import messages, texts
from casts.models import Alarm, AlarmMessage
from core.admin.base import NOTHING, ReadOnlyAdmin, badge, block, chosen, column, utc_time


class OnFilter(admin.SimpleListFilter):
    """On, or over."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("on", "on"), ("over", "over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(over_at__isnull=self.value() == "on")


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    purpose = "What operators were alarmed of: troubles that are on, and those that are over."
    list_display = ("what", "state", "section", "since_shown", "began", "over", "returns")
    list_filter = (OnFilter, "section")
    search_fields = ("what",)
    sortable_by = ("began",)
    fields = (
        *("what", "state", "section", "count", "since_shown", "advice", "rows"),
        *("began", "last_seen", "told", "over", "returns", "source", "key"),
    )

    began = column("began_at", utc_time, "began", order="id")
    since_shown = column("since", utc_time, "since")
    last_seen = column("seen_at", utc_time, "last seen")
    told = column("told_at", utc_time, "last told")
    over = column("over_at", utc_time, "over")

    @admin.display
    def state(self, alarm: Alarm) -> str:
        return badge("on" if alarm.over_at is None else "over")

    @admin.display(description="its rows")
    def rows(self, alarm: Alarm) -> str:
        return format_html('<a href="{0}">{0}</a>', alarm.path) if alarm.path.startswith("/") else NOTHING


@admin.register(AlarmMessage)
class AlarmMessageAdmin(ReadOnlyAdmin):
    purpose = "The mails and calls by which operators are alarmed, and what became of each."
    list_display = ("id", "created", "type", "channel", "state_shown", "attempts", "last_error", "next_at")
    list_filter = ("state", "channel", "type")
    sortable_by = ("created",)
    fields = (*list_display, "delivered", "text")
    actions = ("send_again",)
    change_list_template = "admin/casts/alarmmessage/change_list.html"

    created = column("created_at", utc_time, "made", order="id")
    delivered = column("delivered_at", utc_time, "delivered")
    next_at = column("due_at", utc_time, "next try")
    state_shown = column("state", badge, "state")

    @admin.display(description="what it says")
    def text(self, message: AlarmMessage) -> str:
        return block(f"{texts.subject(message.type, message.news)}\n\n{texts.mail(message.type, message.news)}")

    def has_send_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_alarmmessage")

    @admin.action(description="Send again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[AlarmMessage]) -> None:
        keys = chosen(queryset)
        sent = messages.send_again(keys)
        self.record(request, keys, "Send again.")
        self.report(request, "Messages that are sent again", done=sent, of=len(keys), others="are being sent just now")

    def get_urls(self) -> Any:
        testing = self.admin_site.admin_view(self.send_test)
        return [path("test/", testing, name="casts_alarmmessage_test"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(
            request, {"may_test": self.has_send_permission(request), **(extra_context or {})}
        )

    def send_test(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_send_permission(request):
            raise PermissionDenied
        made = messages.test(request.user.get_username())
        self._tell(request, "test", ("alarmmessage", ""), after={"messages": [one.pk for one in made]})
        if made:
            self.message_user(request, "A worker sends the test now: look at the list again in a moment.", said.SUCCESS)
        else:
            self.message_user(request, "Nobody is to be told: set ALARM_MAIL or ALARM_URL.", said.WARNING)
        return HttpResponseRedirect(reverse("admin:casts_alarmmessage_changelist"))
