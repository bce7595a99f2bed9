"""What operators do to casts whatever state they are in, with a line in the history of each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from casts.lifecycle import events
from casts.models import Cast
from core.queue.due import batches


def note_operator(cast_ids: Sequence[uuid.UUID], kind: str, *, by: str) -> None:
    """Note in the histories of these casts, ended ones too, what an operator did to them."""
    with transaction.atomic():
        Cast.due_rows().locked(list(cast_ids)).update(last_seq=F("last_seq") + 1)
        noted = Cast.objects.filter(pk__in=cast_ids).order_by("pk").select_related("spell")
        events.append_to_each(noted.prefetch_related("artifacts"), kind, at=timezone.now(), by=by)


def leave_uncharged(cast_ids: Sequence[uuid.UUID], *, by: str) -> list[uuid.UUID]:
    """Note that an operator knows of casts whose runs did not report what they cost; return which of these did not."""
    known: list[uuid.UUID] = []
    for some in batches(cast_ids):
        with transaction.atomic():
            found = list(Cast.due_rows().filter(charge_unknown=True).locked(some).values_list("pk", flat=True))
            Cast.objects.filter(pk__in=found).update(charge_unknown=False)
            note_operator(found, "left_uncharged", by=by)
        known += found
    return known


def revoke_links(cast_id: uuid.UUID, *, by: str = "") -> None:
    """Have all links to a cast that were handed out open nothing any more. New ones do. `by`: an operator."""
    with transaction.atomic():
        Cast.objects.filter(pk=cast_id).update(links_epoch=F("links_epoch") + 1)
        if by:
            note_operator([cast_id], "links_revoked", by=by)
