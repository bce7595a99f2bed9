"""The end of a cast, for good and with its money; and asking for it."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts import budget
from casts import metrics, pricing
from casts.lifecycle import events, moves, waking
from casts.models import OPEN, Cast, CastStatus
from casts.runtime import words_of
from core.db.commits import once_committed
from core.db.compiled import Param, Update
from core.telemetry import tracing

logger = logging.getLogger(__name__)

ENDED: dict[str, Any] = {
    "last_seq": F("last_seq") + 1,
    "progress": 100,
    "step_name": "",
    # Clocks may differ: an end is never before the start.
    "finished_at": Greatest(Param(Cast, "finished_at", "now"), Coalesce("started_at", "created_at")),
    "due_at": None,
    "lease_until": None,
}
# OPEN is what each final status has in moves.ALLOWED_FROM.
END_CLAIMED = Update(lambda: Cast.claimed().filter(status__in=OPEN), **ENDED)
END_UNSENT = Update(
    lambda: Cast.objects.filter(pk=Param(Cast, "id"), dispatch_started_at=None, status__in=OPEN), **ENDED
)


@dataclass(frozen=True)
class Left:
    """What a run left behind that its cast keeps; see the columns of these names.

    `report`: what its result says that it costs; None: nothing was to be expected of it.
    """

    output: Any = None
    summary: str = ""
    annotations: list[dict[str, Any]] | None = None
    report: pricing.Report | None = None


NOTHING_LEFT = Left()


def request_cancel(cast: Cast, *, reason: str) -> bool:
    """Commit, before its run is cancelled, that this cast is to be and why; False if that was settled before."""
    return bool(
        cast.mine()
        .filter(status__in=OPEN, cancel_requested_at=None)
        .update(cancel_requested_at=timezone.now(), cancel_reason=reason)
    )


def note_cancel_asked(cast: Cast, *, forced: bool) -> None:
    message = words_of(cast).forcing if forced else words_of(cast).cancelling
    noted: dict[str, Any] = {"cancel_forced_at" if forced else "cancel_asked_at": timezone.now()}
    with transaction.atomic():
        moves.move(cast.mine(), "cancel_asked", None, status_reason="cancelling", message=message, **noted)


def cancel(cast_id: uuid.UUID, *, by: str = "") -> Cast:
    """Cancel a cast for its caller, or for the operator `by`.

    At once if nothing was dispatched yet, else the runtime is asked and has the last word. May be repeated; a cast that
    has ended stays as it ended.
    """
    now = timezone.now()
    reason = "cancelled_by_operator" if by else "cancelled_by_caller"
    with transaction.atomic():
        asked = Cast.objects.filter(pk=cast_id, status__in=OPEN, cancel_requested_at=None, run_finished_at=None).update(
            cancel_requested_at=now, cancel_reason=reason
        )
        if asked:
            # The update above holds the row: a worker that would dispatch it now waits, and then sees the request.
            ended = _end(
                END_UNSENT,
                {"id": cast_id},
                CastStatus.CANCELLED,
                reason=reason,
                message="Cancelled by the operator." if by else "Cancelled, as asked.",
                charge=pricing.Charge(0),
                by=by,
            )
            if not ended:
                moves.move(
                    Cast.objects.filter(pk=cast_id),
                    "cancel_requested",
                    None,
                    by=by,
                    status_reason="cancelling",
                    message="Cancelling, as the operator asked." if by else "Cancelling, as asked.",
                )
                waking.wake(cast_id)
    return Cast.objects.select_related("spell").get(pk=cast_id)


def end(
    cast: Cast,
    status: CastStatus,
    *,
    reason: str,
    message: str,
    error: dict[str, Any] | None = None,
    charge: bool,
    left: Left = NOTHING_LEFT,
) -> bool:
    """End a claimed cast for good and settle its money; False if the claim no longer holds or it has already ended.

    `charge`: whether an end like this is paid for; what it comes to, the cast's price says.
    """
    with transaction.atomic():
        return _end(
            END_CLAIMED,
            {"id": cast.pk, "claim_number": cast.claim_number},
            status,
            read=cast,
            reason=reason,
            message=message,
            error=error,
            left=left,
            charge=pricing.charge(cast, due=charge, report=left.report),
        )


def _end(
    guarded: Update[Cast],
    which: dict[str, Any],
    status: CastStatus,
    *,
    reason: str,
    message: str,
    error: dict[str, Any] | None = None,
    left: Left = NOTHING_LEFT,
    charge: pricing.Charge,
    by: str = "",
    read: Cast | None = None,
) -> bool:
    """End the cast that `guarded` finds by `which`, in its caller's transaction; False if it finds none.

    `read`: the cast as it was read before, with its spell and its account.
    """
    now = timezone.now()
    changes = {
        "status": status,
        "status_reason": reason,
        "message": message[: moves.MESSAGE_CHARS],
        "error": error,
        "output": left.output,
        "summary": left.summary,
        "annotations": left.annotations,
        "charged_cents": charge.cents,
        "charge": charge.how,
        "charge_unknown": charge.unknown,
        # Its step can't say any more that it went well: the claim ends with the cast.
        **({} if reason == "internal_error" else {"failed_steps": 0, "failure": ""}),
    }
    ended = next(iter(guarded.rows(changes, now=now, **which)), None)
    if ended is None:
        return False
    if read is not None:
        ended.spell, ended.account = read.spell, read.account
    events.append(ended, events.ENDED_BY, at=now, by=by)
    budget.settle(ended.pk, capture_cents=charge.cents)
    # In this transaction: whoever is owed news of the end is owed it exactly if the cast has ended.
    for path in settings.CAST_ENDED:
        import_string(path)(ended)
    # After the commit: within it, two casts that end could wait for each other's rows.
    once_committed(waking.offer_slot, ended)
    facts = {"cast_id": str(ended.pk), "status": status, "reason": reason}
    once_committed(logger.info, "cast ended", extra=facts)
    once_committed(metrics.ended, ended)
    once_committed(_trace_end, ended, now)
    return True


def _trace_end(cast: Cast, began: dt.datetime) -> None:
    about: tracing.Facts = {"spell.cast.id": str(cast.pk)}
    ended = {"spell.cast.status": cast.status, "spell.cast.status_reason": cast.status_reason}
    if cast.started_at is not None and cast.run_finished_at is not None:
        tracing.over("cast run", about, under=cast.traceparent, began=cast.started_at, ended=cast.run_finished_at)
    tracing.over("cast end", {**about, **ended}, under=cast.traceparent, began=began, ended=timezone.now())
