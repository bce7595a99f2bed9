"""What the database holds of invitations."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Account, Role


class Invitation(models.Model):
    """Somebody was invited by mail to be a member. Only the SHA-256 of the link's token is stored.

    Sending it again makes a new token, and the link before opens no more.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = models.CharField(max_length=254)  # as it was typed
    alike = models.CharField(max_length=254)  # what addresses that are written differently have in common
    role = models.CharField(max_length=6, choices=Role)
    # Who sent it last: it opens only for as long as that is an owner of the account.
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    sends = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["alike", "sent_at"], name="invitation_by_address")]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "alike"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="one_invitation_per_address",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.account_id}, {self.role}"
