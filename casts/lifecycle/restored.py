"""After a restore: what was still to be dispatched when the backup was made may have been dispatched since."""

from __future__ import annotations

from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from casts.models import OPEN, Cast, CastStatus


def look_for_runs_first() -> str:
    """Have all open casts looked at, and the run of each that has none looked for before it is dispatched.

    Such a cast is as one whose answer to its dispatch was lost: its run is looked for since it was accepted, for
    CAST_LOST_SECONDS, and dispatched only if there is none and its runs are known to carry its tag.
    """
    now = timezone.now()
    opened = Cast.objects.filter(status__in=OPEN)
    runless = opened.filter(status=CastStatus.QUEUED, run_key=None)
    looked_for = runless.update(
        # Not a later one: what was announced may have been taken back since, and announced anew.
        dispatch_started_at=F("created_at"),
        dispatch_attempts=Greatest(F("dispatch_attempts"), 1),
        dispatched_at=None,
        answer_lost_at=now,
        searched_since=None,
        pace_at=None,
        line_at=None,
    )
    opened.update(due_at=now)
    return f"{opened.count()} casts are open, and are looked at; of {looked_for} the run is looked for."
