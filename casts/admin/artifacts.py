"""Artifacts, for operators: our copies, and what could not be copied."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from casts.attention import ArtifactTroubles
from casts.execution import artifacts
from casts.models import Artifact
from core.admin.base import (
    NOTHING,
    ReadOnlyAdmin,
    admin_link,
    badge,
    chosen,
    code,
    column,
    remaining_fields,
    utc_time,
    uuid_in,
)

COLLAPSED = ("collapse",)
NOT_MISSING = "are here already, or were kept for as long as was promised"


def size(artifact: Artifact) -> str:
    return NOTHING if artifact.size_bytes is None else filesizeformat(artifact.size_bytes)


def download(artifact: Artifact) -> SafeString | str:
    if artifact.state != Artifact.State.STORED:
        return artifact.name
    try:
        path = reverse("api:cast-artifact", args=[artifact.cast_id, artifact.name])
    except NoReverseMatch:  # the name holds what a path can't
        return artifact.name
    return format_html('<a href="{}">{}</a>', path, artifact.name)


@admin.register(Artifact)
class ArtifactAdmin(ReadOnlyAdmin):
    purpose = "The files that runs left behind, as they were copied."
    list_display = ("name", "of_cast", "state_shown", "size_shown", "stored", "expires", "error")
    list_filter = ("state", ArtifactTroubles, "stored_at")
    search_fields = ("name", "sha256")
    search_help_text = "By cast id, name or SHA-256."
    ordering = ("-cast_id", "name")
    sortable_by = ()
    shown = (
        *("id", "cast", "name", "remote_id", "remote_digest", "state", "error", "file", "file_name"),
        *("size_bytes", "sha256", "stored_at", "expires_at"),
    )
    fieldsets = (
        (
            None,
            {"fields": ("file_link", "of_cast", "state_shown", "error", "size_shown", "digest", "stored", "expires")},
        ),
        ("On GitHub", {"fields": ("remote_id", "remote_digest")}),
        ("Internal", {"fields": ("path", "file_name", *remaining_fields(Artifact, *shown)), "classes": COLLAPSED}),
    )

    actions = ("copy_again",)

    def has_copy_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("casts.change_artifact")

    @admin.action(description="Copy again what is missing", permissions=["copy"])
    def copy_again(self, request: HttpRequest, queryset: QuerySet[Artifact]) -> None:
        keys = chosen(queryset)
        copied = artifacts.copy_again(keys, by=request.user.get_username())
        self.record(request, copied, "Copy again.")
        self.report(request, "Artifacts to be copied now", done=len(copied), of=len(keys), others=NOT_MISSING)

    state_shown = column("state", badge, "state")
    path = column("file", lambda file: file.name or NOTHING, "file")
    digest = column("sha256", code, "SHA-256")
    stored = column("stored_at", utc_time, "stored")
    expires = column("expires_at", utc_time, "expires")

    @admin.display(description="size")
    def size_shown(self, artifact: Artifact) -> str:
        return size(artifact)

    @admin.display(description="name")
    def file_link(self, artifact: Artifact) -> SafeString | str:
        return download(artifact)

    @admin.display(description="cast")
    def of_cast(self, artifact: Artifact) -> SafeString:
        return admin_link("admin:casts_cast_change", code(artifact.cast_id), artifact.cast_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if cast_id := uuid_in(search_term):
            return queryset.filter(cast_id=cast_id), False
        return super().get_search_results(request, queryset, search_term)
