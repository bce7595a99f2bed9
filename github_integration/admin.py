"""The operator's console: the App's installations, why one is left alone for now, and spells' workflows."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from casts.admin.casts import CastAdmin
from casts.admin.spells import SpellAdmin, TargetInline
from casts.models import Cast
from core.admin.base import NOTHING, ConsoleAdmin, admin_link, badge, chosen, column, utc_time
from github_integration import (
    admin_check,  # noqa: F401 - adds the button
    quota,
    routes,
)
from github_integration.attention import InstallationTroubles
from github_integration.models import PERSONAL, Installation, SpellRepository, WorkflowTarget
from github_integration.spell_files import admin as spell_files_admin  # noqa: F401 - found by Django as this is
from github_integration.spell_files import work

INSTALLATIONS_SHOWN = 30
CHOICES = ("account", "prices_from_repository", "limits_from_repository", "new_spell_price_cents")
A_NUMBER = re.compile(r"[0-9]{1,18}")


class WorkflowInline(TargetInline):
    model = WorkflowTarget


class ThroughInstallation(admin.SimpleListFilter):
    """Filters casts by the App's installation that they go through."""

    title, parameter_name = "installation", routes.ROUTE.parameter

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Cast]) -> list[tuple[str, str]]:
        """Return the choices: those that spells name, the setting's, and none."""
        named = (
            WorkflowTarget.objects.exclude(installation_id=None).order_by().values_list("installation_id", flat=True)
        )
        known = {settings.GITHUB_APP_INSTALLATION_ID, *named.distinct()[:INSTALLATIONS_SHOWN]}
        return [(str(number), str(number or "none")) for number in sorted(filter(None, known))] + [("0", "none")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the casts that go through the chosen one."""
        if (word := self.value()) is None:
            return queryset
        return routes.through(queryset, int(word)) if A_NUMBER.fullmatch(word) else queryset.none()


SpellAdmin.inlines.append(WorkflowInline)
CastAdmin.runtime_filters.append(ThroughInstallation)


@admin.register(Installation)
class InstallationAdmin(ConsoleAdmin):
    purpose = "The accounts on GitHub that have installed the App; one is here once a cast has gone through it."
    list_display = ("id", "owner", "state", "pause_message", "account", "updated")
    list_select_related = ("account",)
    list_filter = (InstallationTroubles,)
    search_fields = ("account_login",)
    fieldsets = (
        (None, {"fields": ("id", "owner", "state", "pause_message", "paused", "unnamed_limits", "failures")}),
        ("Spells in its repositories", {"fields": (*CHOICES, "repositories")}),
        (
            "GitHub's limits",
            {"fields": ("requests", "resets", "dispatches_booked", "looks_booked", "suspended", "removed", "updated")},
        ),
    )

    actions = ("resume",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [name for _, part in self.fieldsets for name in part["fields"] if name not in CHOICES]

    def save_model(self, request: HttpRequest, obj: Installation, form: Any, change: bool) -> None:
        """Save the operator's choices alone, and have the files applied anew: the rest changes with every call."""
        obj.save(update_fields=[*CHOICES, "updated_at"])
        work.look_anew(SpellRepository.due_rows().filter(installation=obj))

    @admin.display
    def repositories(self, installation: Installation) -> SafeString | str:
        counted = installation.spell_repositories.filter(targets__isnull=False).distinct().count()
        said = f"{counted} with spells of their own"
        path = "admin:github_integration_spellrepository_changelist"
        return admin_link(path, said, installation__id__exact=installation.pk)

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

    paused = column("paused_until", utc_time, "left alone until")
    resets = column("rate_reset_at", utc_time, "new requests from")
    dispatches_booked = column("dispatches_booked_until", utc_time, "dispatches booked until")
    looks_booked = column("looks_booked_until", utc_time, "looks booked until")
    suspended = column("suspended_at", utc_time, "suspended")
    removed = column("removed_at", utc_time, "removed")
    updated = column("updated_at", utc_time, "updated", order="updated_at")

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
