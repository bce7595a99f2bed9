"""Sending a cast: that it is about to be sent, that it was, or that nobody knows."""

from __future__ import annotations

import datetime as dt
from enum import Enum

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from casts.lifecycle import binding, moves, slots, waking
from casts.models import Cast, CastStatus
from casts.runtime import Run, Turn, words_of
from core.db.commits import once_committed


class Intent(Enum):
    """Whether a dispatch may go on."""

    COMMITTED = "committed"
    LOST = "lost"  # the claim no longer holds, or the cast is to be dispatched no more


def intend_dispatch(cast: Cast) -> Intent | slots.Wait:
    """Commit, before the call, that this attempt is about to dispatch, and take a slot for it.

    Return a Wait if a limit on running casts is reached.
    """
    with transaction.atomic():
        limited = slots.lock(cast)
        if limited and (wait := slots.wait_of(cast)) is not None:
            return wait
        changed = cast.mine().filter(status=CastStatus.QUEUED, run_key=None, cancel_requested_at=None)
        done = changed.update(
            dispatch_started_at=timezone.now(),
            dispatched_at=None,
            answer_lost_at=None,
            searched_since=None,
            pace_at=None,
            line_at=None,
            dispatch_attempts=F("dispatch_attempts") + 1,
        )
        if limited and done:
            slots.took(cast)
            # A turn taken out of order changes who is next: with a slot left, it may be a cast that sleeps.
            once_committed(waking.offer_slot, cast)
        return Intent.COMMITTED if done else Intent.LOST


def take_back_intent(cast: Cast, *, tried: bool) -> None:
    """Note that the announced dispatch certainly started nothing, so that it may be tried again later.

    `tried`: it may have reached the runtime, and counts as one of the cast's dispatches.
    """
    attempts = F("dispatch_attempts") - (0 if tried else 1)
    cast.mine().filter(run_key=None).update(dispatch_started_at=None, dispatch_attempts=attempts)


def dispatched(cast: Cast, run: Run | None) -> None:
    """Note that the runtime has accepted the dispatch, and the run if its answer named it."""
    now = timezone.now()
    with transaction.atomic():
        cast.mine().filter(dispatched_at=None).update(dispatched_at=now)
        if run is None:
            binding.tell_run_known(cast.run_scope, None, cast.run_tag)
        # A run that the answer names is the cast's, whatever a title said before.
        elif not binding.bind(cast, cast.run_scope, run.key, run.url):
            binding.correct_run(cast.pk, run)
        moves.move(
            cast.mine().filter(status=CastStatus.QUEUED, progress__lt=10),
            "dispatched",
            CastStatus.QUEUED,
            status_reason="waiting_for_runner",
            message=words_of(cast).sent,
            progress=10,
        )


def note_pace(cast: Cast, turn: Turn | None) -> None:
    """Note when this cast's turn to start comes, or its place in the line for one; None once the turn is taken."""
    at, place = (None, None) if turn is None else (turn.kept_at, turn.place)
    cast.mine().update(pace_at=at, line_at=place)


def note_search_began(cast: Cast, at: dt.datetime) -> None:
    cast.mine().update(searched_since=at)


def lose_answer(cast: Cast) -> None:
    """Note that no answer to the dispatch can come any more: from now on a title may tell which run is the cast's."""
    silent = cast.mine().filter(binding.RUNLESS, dispatched_at=None, answer_lost_at=None)
    with transaction.atomic():
        if silent.update(answer_lost_at=timezone.now()):
            binding.tell_run_known(cast.run_scope, None, cast.run_tag)


def wait_for(cast: Cast, *, reason: str, message: str) -> None:
    # Said once: a step that finds nothing new adds no event.
    queued = (
        cast.mine()
        .filter(status=CastStatus.QUEUED)
        .exclude(status_reason=reason, message=message[: moves.MESSAGE_CHARS])
    )
    with transaction.atomic():
        moves.move(queued, "waiting", CastStatus.QUEUED, status_reason=reason, message=message[: moves.MESSAGE_CHARS])
