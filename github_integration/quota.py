"""What an installation may ask of GitHub, shared by all processes: pauses, and the pace of what is to be spread.

Sources: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api and
https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from casts.lifecycle import moves
from casts.models import Cast, CastStatus
from casts.runtime import NotNow
from github_integration import routes
from github_integration.models import PERSONAL, Installation
from github_integration.wire import RateLimit

logger = logging.getLogger(__name__)

UNNAMED_LIMIT = 60.0  # seconds, when GitHub names no end; doubled each time in a row, as GitHub asks
LONGEST_PAUSE = 3600.0
SUSPENDED_LOOK = 60.0  # seconds between tries whether a suspension is over, should its webhook be lost
FAILURES_BEFORE_PAUSE = 5  # unanswered calls in a row: one bad answer is no outage
LONGEST_OUTAGE_PAUSE = 60.0

DISPATCH_POINTS = 5  # of the points a minute; a GET costs 1
DISPATCH_SHARE, LOOK_SHARE = 2 / 3, 1 / 3  # of the points a minute
DISPATCH_BURST, LOOK_BURST = 20, 60  # calls at once, after a quiet time
BOOK_AHEAD = dt.timedelta(hours=1)  # so far ahead starts are booked
ASK_AGAIN_EVERY = dt.timedelta(milliseconds=20)
KEPT_FREE = 0.3  # of the primary limit: for what can't wait, such as dispatching and fetching artifacts

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


def suspended(installation_id: int, *, message: str) -> dt.datetime:
    """Note that an installation is suspended; return when to see whether it still is."""
    known(installation_id)
    until = timezone.now() + dt.timedelta(seconds=SUSPENDED_LOOK)
    if Installation.objects.filter(pk=installation_id, suspended_at=None).update(suspended_at=timezone.now()):
        logger.warning("installation suspended", extra={"installation": installation_id})
    pause(installation_id, until=until, reason=Installation.Pause.SUSPENDED, message=message)
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
    return len(moves.wake_all(list(waiting.values_list("pk", flat=True)), kind="installation_resumed", by=by))


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


class PacedStart(NamedTuple):
    """When a run may be started, if that time is kept for the caller; else when to ask again."""

    at: dt.datetime
    kept: bool


def book(installation_id: int) -> PacedStart:
    """Return when a run may be started, and keep that time for the caller unless the line is too long.

    Starts are as far apart as the limits need when many are asked for; after a quiet time some may go at once. Who gets
    none comes back one after the other: with a hundred thousand in line, asking again would be all that workers do.
    """
    if not settings.GITHUB_POINTS_PER_MINUTE:
        return PacedStart(timezone.now(), kept=True)
    apart = dt.timedelta(seconds=DISPATCH_POINTS * 60 / (settings.GITHUB_POINTS_PER_MINUTE * DISPATCH_SHARE))
    known(installation_id)
    with transaction.atomic():
        row = Installation.objects.select_for_update().get(pk=installation_id)
        now = timezone.now()
        until = max(row.dispatches_booked_until or now, now)
        # Not through save(): `updated_at` tells when something was noted about it.
        this = Installation.objects.filter(pk=row.pk)
        if until >= now + BOOK_AHEAD:
            again = max(row.dispatches_asked_until or now, now + BOOK_AHEAD / 2) + ASK_AGAIN_EVERY
            this.update(dispatches_asked_until=again)
            return PacedStart(again, kept=False)
        this.update(dispatches_booked_until=until + apart)
        return PacedStart(max(now, until - DISPATCH_BURST * min(apart, dt.timedelta(seconds=1))), kept=True)


def spend(installation_id: int, calls: int = 1) -> None:
    """Take so many GETs for looks from what GitHub allows; raise NotNow, with nothing taken, if they must be spared.

    Nothing is booked ahead: what is scarce now may be plenty soon, when the hour's requests are given out anew, and
    a cast that has ended has kept nobody waiting. Who is put off comes back one after the other.
    """
    if not settings.GITHUB_POINTS_PER_MINUTE:
        return
    known(installation_id)
    with transaction.atomic():
        row = Installation.objects.select_for_update().get(pk=installation_id)
        now = timezone.now()
        until, apart = max(row.looks_booked_until or now, now), between_looks(row, now)
        if row.rate_reset_at is not None and row.rate_reset_at > now:
            until = min(until, row.rate_reset_at)
        may_from = until - LOOK_BURST * min(apart, dt.timedelta(milliseconds=500))
        this = Installation.objects.filter(pk=row.pk)
        if may_from <= now:
            this.update(looks_booked_until=until + calls * apart)
            return
        again = max(row.looks_asked_until or now, may_from) + ASK_AGAIN_EVERY
        this.update(looks_asked_until=again)
    raise NotNow("Requests to GitHub are being spared.", retry_at=again, reason="")


def between_looks(row: Installation, now: dt.datetime) -> dt.timedelta:
    """Return the time between two GETs for looks: by points a minute, and more as the hour's requests run out.

    While they are plentiful nothing is spared: what counts is the square of the part that is used up.
    """
    seconds = 60 / (settings.GITHUB_POINTS_PER_MINUTE * LOOK_SHARE)
    if row.rate_limit and row.rate_remaining is not None and row.rate_reset_at and row.rate_reset_at > now:
        kept_free = KEPT_FREE * row.rate_limit
        left = max(row.rate_remaining - kept_free, 1.0)
        used = 1 - min(left / (row.rate_limit - kept_free), 1.0)
        seconds = max(seconds, used**2 * (row.rate_reset_at - now).total_seconds() / left)
    return dt.timedelta(seconds=seconds)
