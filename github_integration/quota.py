"""Whether an installation may ask anything of GitHub now, shared by all processes: pauses.

Sources: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import datetime as dt
import logging

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from casts.lifecycle import waking
from casts.models import Cast, CastStatus
from github_integration import routes
from github_integration.models import PERSONAL, Installation
from github_integration.wire import RateLimit

logger = logging.getLogger(__name__)

UNNAMED_LIMIT = 60.0  # seconds, when GitHub names no end; doubled each time in a row, as GitHub asks
LONGEST_PAUSE = 3600.0
SUSPENDED_LOOK = 60.0  # seconds between tries whether a suspension is over, should its webhook be lost
FAILURES_BEFORE_PAUSE = 5  # unanswered calls in a row: one bad answer is no outage
LONGEST_OUTAGE_PAUSE = 60.0

HEALTHY: dict[str, object] = {
    **{"suspended_at": None, "removed_at": None, "unnamed_limits": 0, "failures": 0},
    **{"paused_until": None, "pause_reason": "", "pause_message": ""},
}


def known(installation_id: int) -> Installation:
    """Return what is known of an installation; it is made on first sight."""
    found = Installation.objects.filter(pk=installation_id).first()
    return found or Installation.objects.get_or_create(pk=installation_id)[0]


def is_paused(installation: Installation) -> bool:
    return installation.paused_until is not None and installation.paused_until > timezone.now()


def pause(installation_id: int, *, until: dt.datetime, reason: Installation.Pause, message: str) -> None:
    """Have every process leave this installation alone until then; an earlier end never shortens a later one."""
    known(installation_id)
    Installation.objects.filter(Q(paused_until=None) | Q(paused_until__lt=until), pk=installation_id).update(
        paused_until=until, pause_reason=reason, pause_message=message[:500], updated_at=timezone.now()
    )


def rate_limited(installation_id: int, *, until: dt.datetime | None, message: str) -> dt.datetime:
    """Pause for a rate limit and return its end. Without a named one: a minute, and twice as long each time in a row.

    Calls that were under way together count as one.
    """
    now = timezone.now()
    if until is None:
        row = known(installation_id)
        if is_paused(row):
            assert row.paused_until is not None
            return row.paused_until
        until = now + dt.timedelta(seconds=min(UNNAMED_LIMIT * 2**row.unnamed_limits, LONGEST_PAUSE))
        Installation.objects.filter(pk=row.pk, unnamed_limits=row.unnamed_limits).update(
            unnamed_limits=F("unnamed_limits") + 1
        )
    logger.warning("rate limited", extra={"installation": installation_id, "until": str(until), "why": message})
    pause(installation_id, until=until, reason=Installation.Pause.RATE_LIMITED, message=message)
    return until


def suspended(before: Installation, *, message: str) -> dt.datetime:
    """Note that an installation is suspended; return when to see whether it still is.

    What was noted after `before` was read, which was before GitHub was asked, is newer and stays: perhaps that the
    suspension is over. Then it may be asked again at once, or at the end of the pause that was noted.
    """
    now = timezone.now()
    until = now + dt.timedelta(seconds=SUSPENDED_LOOK)
    changes = {"paused_until": until, "pause_reason": Installation.Pause.SUSPENDED, "pause_message": message[:500]}
    unchanged = Installation.objects.filter(pk=before.pk, updated_at=before.updated_at)
    if not unchanged.update(**changes, suspended_at=before.suspended_at or now, updated_at=now):
        return known(before.pk).paused_until or now
    if before.suspended_at is None:
        logger.warning("installation suspended", extra={"installation": before.pk})
    return until


def removed(installation_id: int) -> dt.datetime:
    """Note that GitHub knows no such installation; return since when."""
    known(installation_id)
    if Installation.objects.filter(pk=installation_id, removed_at=None).update(removed_at=timezone.now()):
        logger.warning("installation removed", extra={"installation": installation_id})
    since = Installation.objects.values_list("removed_at", flat=True).get(pk=installation_id)
    return since or timezone.now()


def unanswered(installation_id: int, *, message: str) -> None:
    """Count a call that got no answer, or a 5xx; after several in a row everybody waits, a little longer each time.

    Else each of ten thousand casts would find out for itself that GitHub is away.
    """
    known(installation_id)
    Installation.objects.filter(pk=installation_id, failures__lt=1000).update(failures=F("failures") + 1)
    excess = known(installation_id).failures - FAILURES_BEFORE_PAUSE
    if excess >= 0:
        seconds = min(2.0 ** min(excess, 10), LONGEST_OUTAGE_PAUSE)
        until = timezone.now() + dt.timedelta(seconds=seconds)
        pause(installation_id, until=until, reason=Installation.Pause.UNAVAILABLE, message=message)


def resume(installation_id: int, *, by: str) -> int | None:
    """Forget why an installation is left alone, for an operator who knows better, and wake the casts that wait for it.

    GitHub is not asked: the next call tries, and if the trouble is not over, it says so again. Return how many casts
    were woken, None if nothing kept the installation back. `by`: who that operator is, for the casts' histories.
    """
    kept_back = ~Q(pause_reason="") | Q(paused_until__isnull=False) | Q(failures__gt=0) | Q(unnamed_limits__gt=0)
    kept_back |= Q(suspended_at__isnull=False) | Q(removed_at__isnull=False)
    held = Installation.objects.filter(kept_back, pk=installation_id)
    if not held.update(**HEALTHY, updated_at=timezone.now()):
        return None
    logger.warning("installation resumed by an operator", extra={"installation": installation_id, "by": by})
    return wake_waiting(installation_id, by=by)


def suspension_ended(installation_id: int) -> None:
    """Note GitHub's word that an installation is no longer suspended; other reasons to leave it alone stay."""
    Installation.objects.filter(pk=installation_id, pause_reason=Installation.Pause.SUSPENDED).update(
        **HEALTHY, updated_at=timezone.now()
    )
    wake_waiting(installation_id)


def wake_waiting(installation_id: int, *, by: str = "") -> int:
    """Wake the casts that wait for an installation; return how many. If it is still kept back, they say so again."""
    waiting: QuerySet[Cast] = Cast.objects.filter(status=CastStatus.QUEUED, status_reason__in=Installation.Pause.values)
    if installation_id != PERSONAL:  # the personal token serves every spell, whatever installation it names
        waiting = routes.through(waiting, installation_id)
    return len(waking.wake_all(list(waiting.values_list("pk", flat=True)), kind="installation_resumed", by=by))


def answered(before: Installation, latest: RateLimit | None) -> None:
    """Note that a call succeeded: what kept us away is over. Writes nothing while all goes well and little changes."""
    changes: dict[str, object] = {}
    if before.suspended_at or before.removed_at or before.unnamed_limits or before.failures or before.pause_reason:
        changes = dict(HEALTHY)
    if latest is not None and differs_enough(before, latest):
        changes |= {"rate_limit": latest.limit, "rate_remaining": latest.remaining, "rate_reset_at": latest.reset_at}
    if changes:
        # What was noted meanwhile is newer than our answer: it stays.
        Installation.objects.filter(pk=before.pk, updated_at=before.updated_at).update(
            **changes, updated_at=timezone.now()
        )


def differs_enough(before: Installation, latest: RateLimit) -> bool:
    """Whether a rate limit is another one, or differs by a hundredth of it or more from what is stored."""
    if before.rate_limit != latest.limit or before.rate_remaining is None or before.rate_reset_at != latest.reset_at:
        return True
    return abs(before.rate_remaining - latest.remaining) * 100 >= latest.limit
