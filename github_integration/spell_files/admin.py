"""The operator's view of repositories that define spells: what became of their files, and why."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.utils.safestring import SafeString

from casts.admin.spells import SpellAdmin
from casts.models import Spell
from core.admin.base import (
    NOTHING,
    ReadOnlyAdmin,
    admin_link,
    badge,
    chosen,
    column,
    external_link,
    remaining_fields,
    table,
    utc_time,
)
from github_integration import wire
from github_integration.api import github
from github_integration.models import RepositoryList, SpellRepository
from github_integration.spell_files import work
from github_integration.spell_files.attention import RepositoryTroubles
from github_integration.spell_files.handing_over import hand_over

PROBLEMS_SHOWN = 100
State = SpellRepository.State


def commit_link(row: SpellRepository, commit: str) -> SafeString | str:
    if not commit:
        return NOTHING
    return external_link(f"{wire.web_url(github().api_url)}/{row.name}/commit/{commit}", commit[:12])


@admin.register(SpellRepository)
class SpellRepositoryAdmin(ReadOnlyAdmin):
    purpose = "The repositories that define spells of their own, and how their files were last read."
    list_display = ("name", "outcome", "spells", "head", "looked", "through")
    list_filter = (RepositoryTroubles, "state")
    search_fields = ("name",)
    list_select_related = ("installation",)
    elsewhere = (
        *("id", "number", "name", "installation", "default_branch", "state", "problems", "trouble", "commit"),
        *("applied_commit", "applied_at", "looked_at", "reported", "check_run", "report"),
    )
    fieldsets = (
        (None, {"fields": ("name", "number", "through", "default_branch", "spells")}),
        ("What became of its files", {"fields": ("outcome", "mistakes", "head", "looked", "applied", "applied_on")}),
        ("What the commit was told", {"fields": ("told", "check_run", "reported_text")}),
        ("Internal", {"fields": remaining_fields(SpellRepository, *elsewhere), "classes": ("collapse",)}),
    )
    actions = ("look_now",)

    looked = column("looked_at", utc_time, "looked at", order="looked_at")
    applied_on = column("applied_at", utc_time, "applied at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SpellRepository]:
        rows: QuerySet[SpellRepository] = super().get_queryset(request)
        active = Count("targets", filter=Q(targets__spell__active=True))
        return rows.annotate(spells_counted=active)

    def has_look_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("github_integration.change_spellrepository")

    @admin.action(description="Look now, as if for the first time", permissions=["look"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[SpellRepository]) -> None:
        keys = chosen(queryset)
        work.look_anew(SpellRepository.due_rows().filter(pk__in=keys))
        self.record(request, keys, "Look now.")
        self.report(request, "Repositories to be looked at now", done=len(keys), of=len(keys), others="")

    @admin.display(description="outcome", ordering="state")
    def outcome(self, row: SpellRepository) -> SafeString:
        if row.trouble:
            return badge("GitHub did not tell", row.trouble)
        why = (
            f"{row.problems[0]['file']}, line {row.problems[0]['line']}: {row.problems[0]['message']}"[:300]
            if (row.problems)
            else ""
        )
        return badge(row.get_state_display(), truncatechars(why, 160))

    @admin.display(description="active spells", ordering="spells_counted")
    def spells(self, row: SpellRepository) -> SafeString | str:
        counted = getattr(row, "spells_counted", 0)
        return admin_link("admin:casts_spell_changelist", counted, q=row.name) if counted else "0"

    @admin.display(description="head")
    def head(self, row: SpellRepository) -> SafeString | str:
        return commit_link(row, row.commit)

    @admin.display(description="applied commit")
    def applied(self, row: SpellRepository) -> SafeString | str:
        return commit_link(row, row.applied_commit)

    @admin.display(description="installation", ordering="installation")
    def through(self, row: SpellRepository) -> SafeString:
        return admin_link("admin:github_integration_installation_change", row.installation, row.installation_id)

    @admin.display
    def mistakes(self, row: SpellRepository) -> SafeString | str:
        some = row.problems[:PROBLEMS_SHOWN]
        return table(("file", "line", "mistake"), ((one["file"], one["line"], one["message"]) for one in some))

    @admin.display(description="told")
    def told(self, row: SpellRepository) -> str:
        return row.get_reported_display()

    @admin.display(description="title")
    def reported_text(self, row: SpellRepository) -> str:
        return str((row.report or {}).get("title", NOTHING))


@admin.register(RepositoryList)
class RepositoryListAdmin(ReadOnlyAdmin):
    purpose = "When each installation's repositories were last listed."
    list_display = ("installation", "listed", "repositories", "error", "next_at")
    fields = ("installation", "listed", "repositories", "error", "failures", "next_at", "failed_steps", "failure")

    listed = column("listed_at", utc_time, "last listed")
    next_at = column("due_at", utc_time, "listed again")


@admin.action(description="Hand over to the files of its repository", permissions=["change"])
def hand_over_to_files(where: SpellAdmin, request: HttpRequest, queryset: QuerySet[Spell]) -> HttpResponse | None:
    spells = list(queryset.order_by("pk"))
    done = [spell.pk for spell in spells if hand_over(spell)]
    where.record(request, done, "Handed over to the files of its repository.")
    others = "are not waited for: files of their repository must have been refused because of their keys"
    where.report(request, "Spells handed over", done=len(done), of=len(spells), others=others)
    return None


SpellAdmin.runtime_actions.append(hand_over_to_files)
