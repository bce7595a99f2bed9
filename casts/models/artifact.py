"""What runs leave."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.utils import timezone

from casts.models.cast import Cast
from core.db.documents import DocumentField
from core.queue.due import DueRow

UPLOAD = dt.timedelta(hours=6)  # that writing a file may take; after it, its worker counts as dead


class Artifact(DueRow):
    """Our copy of one artifact of a cast's run."""

    class State(models.TextChoices):
        PENDING = "pending"  # still to be copied
        STORED = "stored"
        FAILED = "failed"  # can't be copied; `error` says why
        EXPIRED = "expired"  # our retention has passed; the bytes are gone

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    cast = models.ForeignKey(Cast, on_delete=models.CASCADE, related_name="artifacts", db_index=False)
    name = models.CharField(max_length=300)
    remote_id = models.BigIntegerField()
    remote_digest = models.CharField(max_length=80, blank=True)  # "sha256:<hex>", as the runtime gives it
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    error = models.CharField(max_length=500, blank=True)
    file = models.FileField(max_length=300, blank=True)
    file_name = models.CharField(max_length=310, blank=True)  # what a download is called
    size_bytes = models.PositiveBigIntegerField(null=True)
    sha256 = models.CharField(max_length=64, blank=True)
    stored_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta(DueRow.Meta):
        ordering = ("name",)
        indexes = [
            *DueRow.Meta.indexes,
            models.Index("cast", name="artifact_missing", condition=Q(state__in=["pending", "failed"])),
        ]
        constraints = [models.UniqueConstraint(fields=["cast", "name"], name="one_artifact_per_name")]

    def log_ids(self) -> dict[str, str]:
        return {"cast_id": str(self.cast_id)}

    def __str__(self) -> str:
        return self.name


class ArtifactContents(models.Model):
    """What is in a stored artifact, found when it was copied; see `casts.execution.contents`.

    A table of its own, as only pages read it.
    """

    artifact = models.OneToOneField(Artifact, primary_key=True, on_delete=models.CASCADE, related_name="contents")
    files = models.PositiveIntegerField(null=True)  # of a zip that can be read
    members = DocumentField(default=list)  # some of them: name, size, and of what is shown: type, width, height

    def __str__(self) -> str:
        return str(self.artifact_id)


class LooseFile(DueRow):
    """A file in our storage that no artifact has yet, or any more: `casts.execution.files` deletes it when it is due.

    It is noted before the file is written, and in the transaction in which an artifact gives it up. So a process that
    is killed in between leaves nothing that nobody knows of.
    """

    name = models.CharField(max_length=300, primary_key=True)
    doomed = models.BooleanField(default=True, db_default=True)  # it is being deleted: no artifact may have it any more

    def __str__(self) -> str:
        return self.name

    @classmethod
    def announce(cls, name: str) -> None:
        """Note a file before it is written."""
        cls.objects.create(name=name, doomed=False, due_at=timezone.now() + UPLOAD)

    @classmethod
    def take(cls, name: str) -> bool:
        """Make a written file an artifact's own, in the transaction that says which; False if it is being deleted."""
        return bool(cls.objects.filter(name=name, doomed=False).delete()[0])

    @classmethod
    def drop(cls, names: Iterable[str]) -> None:
        """Have these files deleted, once the transaction in which artifacts give them up is committed."""
        now = timezone.now()
        rows = [LooseFile(name=name, doomed=True, due_at=now) for name in names]
        fresh = ["doomed", "due_at"]
        LooseFile.objects.bulk_create(rows, update_conflicts=True, update_fields=fresh, unique_fields=["name"])
