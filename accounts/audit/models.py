"""What the database holds of the audit log."""

from __future__ import annotations

from django.db import models

from accounts.principals import Kind
from core.db.append_only import History
from core.ids import uuid7


class AuditEntry(History):
    """One change that somebody asked for. Append-only: the admin, the model and a database trigger refuse changes.

    It names accounts, keys, users and what was changed by their ids and not by foreign keys: it outlives them.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField()
    account_id = models.BigIntegerField(null=True)  # whose it is about; null: nobody's in particular
    actor_kind = models.CharField(max_length=7, choices=[(kind.value, kind.value) for kind in Kind])
    actor_id = models.CharField(max_length=40, blank=True)  # of a key or a user
    actor = models.CharField(max_length=200)  # for people: a key's prefix, a user's name, a command
    action = models.CharField(max_length=60)
    object_kind = models.CharField(max_length=60, blank=True)
    object_id = models.CharField(max_length=100, blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta(History.Meta):
        abstract = False
        verbose_name = "entry of the audit log"
        verbose_name_plural = "audit log"
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["account_id", "-id"], name="audit_by_account"),
            models.Index(fields=["object_kind", "object_id", "-id"], name="audit_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"


class AuditPurge(models.Model):
    """A row for as long as a transaction of accounts.audit.retention deletes entries from before this moment.

    The log's trigger lets none be deleted without one; nobody else sees it, as it is gone before the commit.
    """

    before = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"before {self.before}"
