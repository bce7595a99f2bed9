"""Our copies of what runs leave behind: stream in, compare the digest, keep, and delete when retention ends."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import secrets
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from casts.execution import contents
from casts.lifecycle import operators
from casts.models import Artifact, ArtifactContents, Cast, Kept, LooseFile
from casts.retention import rules
from casts.runtime import AccessLost, ArtifactGone, NotNow, runtime_of, words_of
from casts.versions import as_accepted
from core import storage
from core.queue import wakeups
from core.queue.due import DueQuerySet, batches
from core.queue.poison import how_often
from core.telemetry.tracing import describe, joined, spanned

logger = logging.getLogger(__name__)

State = Artifact.State
NAME_CHARS = 300
SPOOL_BYTES = 1024 * 1024  # larger artifacts go to a temporary file while their digest is taken
RETRY_SECONDS = (5, 30, 120, 600, 3600)


class ArtifactWork:
    """Copies artifacts that their cast's end did not wait for, and gives up copies whose retention is over."""

    thread_share = 0.5  # of the worker's threads at most: a storage may be slow, casts must go on

    def rows(self) -> DueQuerySet:
        return Artifact.due_rows()

    def step(self, row: Artifact) -> dt.datetime | None:
        if row.state == State.STORED:
            if row.expires_at is not None and row.expires_at > timezone.now():
                return row.expires_at
            expire(row)
            return None
        if row.state != State.PENDING:
            return None
        try:
            as_accepted(row.cast)
            with joined(row.cast.traceparent):
                copy(row)
        except AccessLost as exc:
            fail(row, str(exc))
            return None
        except NotNow as exc:
            wait = RETRY_SECONDS[min(row.attempts, len(RETRY_SECONDS)) - 1]
            return exc.retry_at or timezone.now() + dt.timedelta(seconds=wait)
        row.refresh_from_db(fields=["expires_at"])
        return row.expires_at

    def give_up(self, row: Artifact) -> None:
        fail(row, how_often(row, "Copying it"))


def register_artifacts(cast: Cast) -> None:
    """Note what a claimed cast's run has left, to be copied. Raise NotNow when the runtime can't tell."""
    for remote in runtime_of(cast).artifacts(cast):
        if remote.expired:
            continue
        about: dict[str, object] = {"remote_id": remote.id, "remote_digest": remote.digest}
        if len(remote.name) > NAME_CHARS:  # Postgres would refuse it, and with it all the others
            about |= {"state": State.FAILED, "error": f"Its name is longer than {NAME_CHARS} characters."}
        Artifact.objects.get_or_create(cast=cast, name=remote.name[:NAME_CHARS], defaults=about)


def copy_pending(cast: Cast) -> bool:
    """Copy what was registered; return whether nothing is left to copy. Raise NotNow when the runtime can't."""
    trouble: NotNow | None = None
    for artifact in cast.artifacts.filter(state=State.PENDING):
        try:
            copy(artifact)
        except NotNow as exc:  # raised at the end: the other artifacts are copied first
            trouble = exc
            if isinstance(exc.__cause__, storage.StorageAway):  # which they would only find as well
                break
    if trouble is not None:
        raise trouble
    return not cast.artifacts.filter(state=State.PENDING).exists()


def schedule_rest(cast: Cast) -> None:
    # ArtifactWork goes on with them after the cast has ended.
    cast.artifacts.filter(state=State.PENDING, due_at=None, lease_until=None).update(due_at=timezone.now())


def copy_again(artifact_ids: Sequence[uuid.UUID], *, by: str = "") -> list[uuid.UUID]:
    """Have ArtifactWork copy these now, also ones that failed for good; return which.

    What is stored or expired stays as it is. So does a cast that has ended: it gets its copies, but no output.
    `by`: the operator who asks for it, for the casts' histories.
    """
    woken: list[uuid.UUID] = []
    for some in batches(artifact_ids):
        with transaction.atomic():
            chosen = Artifact.due_rows().filter(state__in=(State.PENDING, State.FAILED)).locked(some)
            found = dict(chosen.values_list("pk", "cast_id"))
            chosen.forgive()
            chosen.filter(state=State.FAILED).update(state=State.PENDING, error="")
            chosen.filter(lease_until=None).update(attempts=0)  # the waits between tries begin anew
            chosen.wake()
            if by:
                operators.note_operator(sorted(set(found.values())), "artifacts_copied_again", by=by)
            transaction.on_commit(wakeups.work_is_due)
        woken += found
    return woken


@spanned("artifact copy", lambda artifact: {"spell.artifact.id": str(artifact.pk)})
def copy(artifact: Artifact) -> None:
    """Copy one pending artifact into our storage, or mark it failed if it can never be copied. Raise NotNow."""
    with storing(artifact):
        storage.expect()  # before it is downloaded for nothing
    try:
        download = runtime_of(artifact.cast).download(artifact)
    except ArtifactGone:
        fail(artifact, words_of(artifact.cast).artifact_gone)
        return
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        digest, size = hashlib.sha256(), 0
        for chunk in download.chunks:
            size += len(chunk)
            if size > settings.ARTIFACT_MAX_BYTES:
                fail(artifact, f"It is larger than {settings.ARTIFACT_MAX_BYTES} bytes, the cap for one artifact.")
                return
            digest.update(chunk)
            with storing(artifact):
                spool.write(chunk)
        found = f"sha256:{digest.hexdigest()}"
        if artifact.remote_digest.startswith("sha256:") and artifact.remote_digest != found:
            raise NotNow(f"artifact {artifact.name} arrived damaged: {found}, not {artifact.remote_digest}")
        spool.seek(0)
        zipped = spool.read(4) in (b"PK\x03\x04", b"PK\x05\x06")  # by content: an unzipped upload has the same URL
        inside = contents.look(spool)
        spool.seek(0)
        stored = store(artifact, File(spool))
    describe({"spell.artifact.bytes": size})
    now = timezone.now()
    with transaction.atomic():
        if not LooseFile.take(stored):
            raise NotNow(f"artifact {artifact.name} took too long to store")
        kept = Artifact.objects.filter(pk=artifact.pk, state=State.PENDING).update(
            state=State.STORED,
            file=stored,
            file_name=f"{artifact.name}.zip" if zipped else artifact.name,
            size_bytes=size,
            sha256=digest.hexdigest(),
            stored_at=now,
            expires_at=(expires_at := now + kept_for(artifact.cast)),
            due_at=expires_at,
            error="",
        )
        if kept:
            ArtifactContents.objects.update_or_create(artifact=artifact, defaults=inside)
        else:  # somebody else's copy was first
            LooseFile.drop([stored])


def kept_for(cast: Cast) -> dt.timedelta:
    days = rules.load_for(cast.account_id, [cast.spell]).days(Kept.ARTIFACT, cast.account_id, cast.spell_id)
    assert days is not None  # each spell says for how long its artifacts are kept
    return dt.timedelta(days=days)


@contextmanager
def storing(artifact: Artifact) -> Iterator[None]:
    try:
        yield
    except OSError as exc:  # a full disk, or storage that is away: it may pass
        raise NotNow(f"artifact {artifact.name} could not be stored: {exc.strerror or type(exc).__name__}") from exc


def store(artifact: Artifact, content: File[bytes]) -> str:
    # A name of its own for each try: a worker that comes too late does not overwrite the copy that counts.
    name = f"{artifact.cast_id}/{artifact.pk}-{secrets.token_hex(8)}"
    LooseFile.announce(name)
    with storing(artifact):
        try:
            saved = default_storage.save(name, content)
            assert saved == name, "a name that was taken"
            return saved
        except BaseException:  # what a try that fails has left there is deleted
            LooseFile.drop([name])
            raise


def fail(artifact: Artifact, why: str) -> None:
    Artifact.objects.filter(pk=artifact.pk, state=State.PENDING).update(
        state=State.FAILED, error=why[:500], due_at=None
    )
    logger.warning(
        "artifact not copied", extra={"cast_id": str(artifact.cast_id), "artifact": artifact.name, "why": why}
    )


def expire(artifact: Artifact) -> None:
    # The row stays, for downloads to answer 410. It goes first: no row may name a file that is gone.
    name = artifact.file.name
    with transaction.atomic():
        expired = Artifact.objects.filter(pk=artifact.pk, state=State.STORED).update(state=State.EXPIRED, file="")
        ArtifactContents.objects.filter(artifact=artifact).delete()
        if expired and name:
            LooseFile.drop([name])
