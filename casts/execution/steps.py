"""What is done with a due cast: look at the world, compare, move. Every step may be repeated, interrupted or late."""

from __future__ import annotations

import datetime as dt
import logging
import random

from django.conf import settings
from django.utils import timezone

from casts.execution import artifacts, finish
from casts.lifecycle import binding, dispatching, ending, moves, observing, slots
from casts.metrics import DISPATCHES
from casts.models import Cast, CastStatus
from casts.runtime import (
    AccessLost,
    DispatchRefused,
    NotNow,
    OutcomeUnknown,
    RunGone,
    Turn,
    runtime_of,
    target_relations,
    words_of,
)
from casts.versions import as_accepted
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from core.telemetry.tracing import joined, spanned

logger = logging.getLogger(__name__)

MAX_DISPATCHES = 3
SEARCH_EVERY = dt.timedelta(seconds=2)
SLOT_LOOK = dt.timedelta(seconds=60)  # the end of a cast wakes the next in line; this is in case that fails
RETRY_SOON = dt.timedelta(seconds=5)
PACE_KEPT = dt.timedelta(seconds=60)  # a turn that was not taken so long after its time is lost
GONE_SECONDS = 15.0  # a new run may be unknown to some of the runtime's servers
CLOSE_LOOK_EVERY = 4  # looks
# The columns that a look may change. Not the claim's.
SEEN = (
    *("status", "run_key", "observation", "jobs", "started_at", "run_finished_at"),
    *("cancel_requested_at", "cancel_reason"),
)
CONFIRM_SECONDS = 10.0  # how long past a deadline to try for an answer whether the run began, or ended, in time
WORTH_TELLING = dt.timedelta(seconds=2)  # a shorter wait for a turn is not told to the caller


class CastWork:
    """The queue of due casts, for the worker."""

    def rows(self) -> DueQuerySet:
        return Cast.due_rows()

    def step(self, row: Cast) -> dt.datetime | None:
        cast = claimed(row)
        try:
            with joined(cast.traceparent):
                again = step(cast)
        except AccessLost as exc:
            end_failed(cast, exc.reason, str(exc))
            return None
        except NotNow as exc:
            if exc.reason:
                dispatching.wait_for(cast, reason=exc.reason, message=str(exc))
            again = exc.retry_at or timezone.now() + RETRY_SOON
        # A rate limit may last an hour; our own deadline is kept all the same.
        limit = deadline(cast)
        return min(again, limit) if again and limit and limit > timezone.now() else again

    def give_up(self, row: Cast) -> None:
        """End a cast that we can't go on with: our fault, so it costs nothing. Its run is asked to end."""
        cast = claimed(row)
        with joined(cast.traceparent):
            self.end_given_up(cast, row)

    def end_given_up(self, cast: Cast, row: Cast) -> None:
        if cast.final:
            return
        end_failed(cast, "internal_error", how_often(row, "Working on this cast"))
        artifacts.schedule_rest(cast)
        if cast.run_key is not None and cast.run_finished_at is None:
            try:
                runtime_of(cast).cancel(cast, force=False)
            except (NotNow, RunGone) as exc:
                logger.warning("could not cancel the run", extra={"cast_id": str(cast.pk), "why": str(exc)})


def claimed(row: Cast) -> Cast:
    """Return a claimed row with all that its step needs of others, as it was accepted."""
    cast = Cast.objects.select_related("spell", "account", *target_relations("spell__")).get(pk=row.pk)
    cast.claim_number, cast.lease_until = row.claim_number, row.lease_until
    return as_accepted(cast)


def step(cast: Cast) -> dt.datetime | None:
    """Move a claimed cast on by what is known of it; return when to look again (None: never)."""
    if cast.final:
        return None
    if cast.run_finished_at is not None:
        return finish.collect(cast)
    if (reason := overdue(cast)) is not None:
        return give_up(cast, reason) if cast.cancel_requested_at is not None else run_out(cast)
    if cast.run_key is not None:
        return look(cast)
    if cast.dispatch_started_at is not None:
        return search(cast)
    return dispatch(cast)


@spanned("cast dispatch", moves.facts_of)
def dispatch(cast: Cast) -> dt.datetime | None:
    """Start the cast's run, once: commit the intent, then call, then note the answer."""
    if (turn := wait_for_pace(cast)) is not None:
        if turn > timezone.now() + WORTH_TELLING:
            message = words_of(cast).waiting_for_turn.format(at=f"{turn:%H:%M:%S}")
            dispatching.wait_for(cast, reason="waiting_for_turn", message=message)
        return turn
    # If we stop here, whoever takes over when the lease is out looks for the run until long after this.
    before = timezone.now() + dt.timedelta(seconds=settings.WORKER_LEASE_SECONDS)
    intended = dispatching.intend_dispatch(cast)
    if isinstance(intended, slots.Wait):
        message = (
            f"Waiting for a free slot: {intended.max_running} may run at once, and it is number {intended.position}."
        )
        dispatching.wait_for(cast, reason="waiting_for_slot", message=message)
        return timezone.now() + SLOT_LOOK
    if intended is dispatching.Intent.LOST:
        return timezone.now() + RETRY_SOON
    runtime = cast.spell.runtime
    try:
        run = runtime_of(cast).start(cast, before=before)
    except DispatchRefused as exc:
        DISPATCHES.labels(runtime, "refused").inc()
        end_failed(cast, "dispatch_refused", str(exc), message=words_of(cast).refused.format(why=exc))
        return None
    except NotNow:
        DISPATCHES.labels(runtime, "not_now").inc()
        dispatching.take_back_intent(cast, tried=False)
        raise
    except OutcomeUnknown as exc:
        DISPATCHES.labels(runtime, "unknown").inc()
        logger.warning("dispatch outcome unknown", extra={"cast_id": str(cast.pk), "why": str(exc)})
        dispatching.lose_answer(cast)
        dispatching.wait_for(cast, reason="confirming_dispatch", message=words_of(cast).answer_lost)
        return timezone.now()
    DISPATCHES.labels(runtime, "started" if run else "taken").inc()
    dispatching.dispatched(cast, run)
    cast.refresh_from_db(fields=["watched_until"])  # somebody may have begun to follow it since it was claimed
    return timezone.now() + (look_interval(cast) if run else SEARCH_EVERY)


def wait_for_pace(cast: Cast) -> dt.datetime | None:
    """Return when this cast's turn to start comes, None if it is now. A turn that was booked is kept."""
    if cast.pace_at is not None and cast.pace_at + PACE_KEPT >= timezone.now():
        turn = Turn(cast.pace_at)
    else:
        turn = runtime_of(cast).book(cast)
    if turn.place is not None or turn.at > timezone.now():
        if (turn.kept_at, turn.place) != (cast.pace_at, cast.line_at):
            dispatching.note_pace(cast, turn)
        return turn.at
    if (cast.pace_at, cast.line_at) != (None, None):
        dispatching.note_pace(cast, None)
    return None


@spanned("cast search", moves.facts_of)
def search(cast: Cast) -> dt.datetime | None:
    """Look for the run of a cast that was, or may have been, dispatched without the answer naming it.

    Only looks that were answered prove that there is none: while nobody answers, nothing is known.
    """
    if found_run(cast):
        return timezone.now()
    now = timezone.now()
    if cast.searched_since is None:
        if cast.dispatched_at is None:  # also where a worker was killed in between, and nobody has said so yet
            dispatching.wait_for(cast, reason="confirming_dispatch", message=words_of(cast).answer_lost)
        dispatching.note_search_began(cast, now)
        return now + SEARCH_EVERY
    waited, enough = now - cast.searched_since, dt.timedelta(seconds=settings.CAST_LOST_SECONDS)
    if waited < enough:
        return now + min(max(SEARCH_EVERY, waited / 2), enough / 5)
    accepted = cast.dispatched_at is not None
    if not accepted and cast.spell.tags_runs and cast.dispatch_attempts < MAX_DISPATCHES:
        # Its runs can be told apart and none was seen in all this time: the dispatch started nothing.
        dispatching.take_back_intent(cast, tried=True)
        return now
    words = words_of(cast)
    message = words.no_run_appeared.format(run_tag=cast.run_tag) if accepted else words.lost
    end_failed(cast, "dispatch_lost", message)
    return None


def found_run(cast: Cast) -> bool:
    """Look for the run of a cast that was dispatched and has none, and bind it. Raise NotNow if that can't be told."""
    dispatching.lose_answer(cast)  # whoever dispatched it has lost the claim: no answer is waited for any longer
    seen = runtime_of(cast).find(cast)
    if seen is None or not binding.take_run(cast, seen):
        return False
    observing.observe(cast.pk, seen)
    return True


@spanned("cast look", moves.facts_of)
def look(cast: Cast) -> dt.datetime | None:
    try:
        # Closely while somebody follows its steps, and every few looks anyway: a list of runs may lag for long.
        seen = runtime_of(cast).observe(cast, closely=followed(cast) or cast.attempts % CLOSE_LOOK_EVERY == 0)
    except RunGone:
        return end_deleted(cast)
    observing.observe(cast.pk, seen)
    return timezone.now() + look_interval(cast)


def end_deleted(cast: Cast) -> dt.datetime | None:
    """End a cast whose run the runtime does not know, unless it may be too new for some of its servers.

    A run that was seen before is known to all of them once it is a few seconds old.
    """
    patience = GONE_SECONDS if cast.observation is not None else settings.CAST_LOST_SECONDS
    if cast.dispatch_started_at is not None and age(cast) < patience:
        return timezone.now() + RETRY_SOON
    end_failed(cast, "run_deleted", words_of(cast).deleted)
    return None


def end_failed(cast: Cast, reason: str, why: str, *, message: str = "") -> None:
    """End a cast that failed through no fault of its run, and charge nothing."""
    error = {"reason": reason, "message": why}
    ending.end(cast, CastStatus.FAILED, reason=reason, message=message or why, error=error, charge=False)


def age(cast: Cast) -> float:
    """Return the seconds since the cast's dispatch began."""
    return (timezone.now() - (cast.dispatch_started_at or cast.created_at)).total_seconds()


def look_interval(cast: Cast) -> dt.timedelta:
    """Return how long to wait between looks: a quarter of the run's age, so that long runs cost few looks.

    Less while somebody follows the cast live or wants it to end.
    """
    seconds = min(max(age(cast) / 4, settings.CAST_LOOK_MIN_SECONDS), settings.CAST_LOOK_MAX_SECONDS)
    if followed(cast) or cast.cancel_requested_at is not None:
        seconds = min(seconds, settings.CAST_LOOK_WATCHED_SECONDS)
    # By chance a little less, so that casts that started together are not looked at together for ever.
    return dt.timedelta(seconds=seconds * random.uniform(0.8, 1.0))  # noqa: S311 - to spread, not to hide


def followed(cast: Cast) -> bool:
    return cast.watched_until is not None and cast.watched_until > timezone.now()


def overdue(cast: Cast) -> str | None:
    """Return the reason to end the cast now: a deadline of ours has passed, or somebody asked; else None."""
    if cast.cancel_requested_at is not None:
        return cast.cancel_reason
    limit = deadline(cast)
    if limit is None or timezone.now() < limit:
        return None
    return "expired" if cast.started_at is None else "timed_out"


def deadline(cast: Cast) -> dt.datetime | None:
    """Return by when the cast must have started, or ended, by our own rules; None once its run has ended."""
    if cast.run_finished_at is not None:
        return None
    if cast.started_at is not None:
        return cast.started_at + dt.timedelta(seconds=cast.spell.timeout_seconds)
    return cast.expires_at


@spanned("cast run out", moves.facts_of)
def run_out(cast: Cast) -> dt.datetime | None:
    """End a cast whose time is up, unless a last look shows that its run began, or ended, in time."""
    limit = deadline(cast)
    try:
        if cast.run_key is not None:
            observing.observe(cast.pk, runtime_of(cast).observe(cast, closely=True))
        elif cast.dispatch_started_at is not None:
            found_run(cast)
    except RunGone:
        return end_deleted(cast)
    except NotNow as exc:
        soon = timezone.now() + RETRY_SOON
        if limit is not None and soon < limit + dt.timedelta(seconds=CONFIRM_SECONDS):
            return min(exc.retry_at or soon, soon)
    cast.refresh_from_db(fields=SEEN)  # what the look may have changed; the claim stays the one we have
    if cast.final or cast.run_finished_at is not None:
        return timezone.now()
    reason = overdue(cast)
    return timezone.now() if reason is None else give_up(cast, reason)


@spanned("cast give up", lambda cast, reason: moves.facts_of(cast))
def give_up(cast: Cast, reason: str) -> dt.datetime | None:
    """End a cast before its run has ended: ask the runtime to cancel, then force it, then end without it."""
    now = timezone.now()
    grace = dt.timedelta(seconds=settings.CAST_CANCEL_GRACE_SECONDS)
    ending.request_cancel(cast, reason=reason)
    asked_at = cast.cancel_requested_at or now
    if cast.dispatch_started_at is None or now - asked_at > 2 * grace:
        finish.end_cancelled(cast, reason)
        return None
    force = now - asked_at > grace
    try:
        if cast.run_key is None:
            if found_run(cast):
                return now
        else:
            if (cast.cancel_forced_at if force else cast.cancel_asked_at) is None:
                runtime_of(cast).cancel(cast, force=force)
                ending.note_cancel_asked(cast, forced=force)
            observing.observe(cast.pk, runtime_of(cast).observe(cast, closely=True))
    except RunGone:
        if cast.observation is None and age(cast) < GONE_SECONDS:
            return now + RETRY_SOON
        if reason == "timed_out":
            return end_deleted(cast)
        finish.end_cancelled(cast, reason)
        return None
    except NotNow as exc:
        logger.warning("could not cancel the run", extra={"cast_id": str(cast.pk), "why": str(exc)})
        if exc.retry_at is not None:  # when it may be asked again, but no later than our end
            return min(exc.retry_at, asked_at + 2 * grace)
    return now + min(RETRY_SOON, grace / 4)
