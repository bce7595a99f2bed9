"""Invitations for operators: who was invited to what, and taking it back. No token is stored that could be shown."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.members import invitations
from accounts.members.models import Invitation
from core.admin.base import ReadOnlyAdmin, badge, chosen, column, utc_time


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    purpose = "Who was asked by mail to join an account, by whom, and whether they did."
    list_display = ("email", "account", "role", "by", "state", "sent", "sends", "expires")
    list_filter = ("role", "account")
    list_select_related = ("account", "by", "accepted_by")
    search_fields = ("email", "account__name", "by__username")
    search_help_text = "By mail address, account, or who invited."
    secret_fields = ("digest",)
    fields = (
        *("email", "account", "role", "by", "state", "created", "sent", "sends", "expires"),
        *("accepted", "accepted_by", "revoked"),
    )
    actions = ("revoke",)

    created = column("created_at", utc_time, "created")
    sent = column("sent_at", utc_time, "sent", order="sent_at")
    expires = column("expires_at", utc_time, "expires", order="expires_at")
    accepted = column("accepted_at", utc_time, "accepted")
    revoked = column("revoked_at", utc_time, "revoked")

    @admin.display(description="state")
    def state(self, invitation: Invitation) -> str:
        return badge(invitations.state_of(invitation))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_invitation")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        rows = list(Invitation.objects.filter(pk__in=chosen(queryset)))
        done = [row.pk for row in rows if invitations.end(row)]
        self.record(request, done, "Revoked.")
        self.report(request, "Revoked", done=len(done), of=len(rows), others="had been accepted or revoked before")
