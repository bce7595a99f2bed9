"""The operator's console, floor 3: the GitHub App's installations, and why one is left alone for now."""

from __future__ import annotations

import datetime as dt

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin.base import NOTHING, ReadOnlyAdmin, badge, chosen, column, moment
from github_integration import quota
from github_integration.attention import InstallationTroubles
from github_integration.models import PERSONAL, Installation


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    list_display = ("id", "owner", "state", "pause_message", "updated")
    list_filter = (InstallationTroubles,)
    search_fields = ("account_login",)
    fields = (
        *("id", "owner", "state", "pause_message", "paused", "unnamed_limits", "failures"),
        *("requests", "resets", "dispatches_booked", "looks_booked", "suspended", "removed", "updated"),
    )

    actions = ("resume",)

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Whoever could change installations may have them tried."""
        return request.user.has_perm("github_integration.change_installation")

    @admin.action(description="Resume: let the next call try", permissions=["resume"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Installation]) -> None:
        """Forget pauses, suspensions and removals that are no longer true."""
        keys = chosen(queryset)
        by = request.user.get_username()
        woken = {key: casts for key in keys if (casts := quota.resume(key, by=by)) is not None}
        self.record(request, list(woken), "Resume.")
        did = f"Installations resumed, with {sum(woken.values()):,} casts that waited for them"
        self.report(request, did, done=len(woken), of=len(keys), others="were not left alone")

    paused = column("paused_until", moment, "left alone until")
    resets = column("rate_reset_at", moment, "new requests from")
    dispatches_booked = column("dispatches_booked_until", moment, "dispatches booked until")
    looks_booked = column("looks_booked_until", moment, "looks booked until")
    suspended = column("suspended_at", moment, "suspended")
    removed = column("removed_at", moment, "removed")
    updated = column("updated_at", moment, "updated", order="updated_at")

    @admin.display(ordering="account_login")
    def owner(self, installation: Installation) -> str:
        """Return whose installation it is; blank until GitHub tells."""
        return "the personal token" if installation.pk == PERSONAL else installation.account_login or "not told yet"

    @admin.display
    def state(self, installation: Installation) -> SafeString:
        """Say what keeps casts from going out, the worst first."""
        if installation.removed_at:
            return badge("removed")
        if installation.suspended_at:
            return badge("suspended")
        if installation.paused_until and quota.is_paused(installation):
            words = installation.pause_reason.replace("_", " ")
            return badge(f"{words} until {installation.paused_until.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}")
        return badge("active")

    @admin.display(description="requests left this hour")
    def requests(self, installation: Installation) -> str:
        if installation.rate_limit is None:
            return NOTHING
        return f"{installation.rate_remaining:,} of {installation.rate_limit:,}"
