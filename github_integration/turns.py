"""Whose turn it is at GitHub: the pace of what is to be spread, shared fairly by the accounts, in all processes.

What GitHub allows an installation is given out exactly, in its row. Of an account at most one turn is given out ahead
of its time, so those who want one go round: who comes alone waits for one turn of each other account, however long
their lines are. Within an account the casts stand in line by a clock of their account's own, which falls behind while
others have turns too; so a cast asks again a few times until its turn comes, and no step looks through the line.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from casts.runtime import NotNow, Turn
from github_integration.models import AccountTurns, Installation
from github_integration.quota import known

DISPATCH_POINTS = 5  # of the points a minute; a GET costs 1
DISPATCH_SHARE, LOOK_SHARE = 2 / 3, 1 / 3  # of the points a minute
DISPATCH_BURST, LOOK_BURST = 20, 60  # calls at once, after a quiet time
LINE_LASTS = dt.timedelta(hours=1)  # so long a line an account may have; who comes later asks again
ASK_AGAIN_EVERY = dt.timedelta(milliseconds=20)
KEPT_FREE = 0.3  # of the primary limit: for what can't wait, such as dispatching and fetching artifacts


class Booked(NamedTuple):
    """A turn, or a place in line; with neither, `turn.at` says when to ask again."""

    turn: Turn
    in_line: bool = True


@contextmanager
def shares(installation_id: int, account_id: int) -> Iterator[tuple[Installation, AccountTurns]]:
    """Yield an installation's row and an account's share of it, which nobody else changes meanwhile; store them."""
    known(installation_id)
    with transaction.atomic():
        row = Installation.objects.select_for_update().get(pk=installation_id)
        mine = AccountTurns.objects.filter(installation=row, account=account_id).first()
        mine = mine or AccountTurns(installation=row, account_id=account_id)
        yield row, mine
        mine.save()
        # Not through save(): `updated_at` tells when something was noted about it.
        Installation.objects.filter(pk=row.pk).update(
            dispatches_booked_until=row.dispatches_booked_until, looks_booked_until=row.looks_booked_until
        )


def book(installation_id: int, account_id: int, *, place: dt.datetime | None = None) -> Booked:
    """Return when a cast may be started, or its place in its account's line and when to ask again with it.

    Starts are as far apart as the limits need when many are asked for; after a quiet time some may go at once. An
    account's line lasts an hour at most; who comes later has no place and asks again, one after the other: with a
    hundred thousand in line, asking would be all that workers do.
    """
    if not settings.GITHUB_POINTS_PER_MINUTE:
        return Booked(Turn(timezone.now()))
    apart = dt.timedelta(seconds=DISPATCH_POINTS * 60 / (settings.GITHUB_POINTS_PER_MINUTE * DISPATCH_SHARE))
    with shares(installation_id, account_id) as (row, mine):
        now = timezone.now()
        behind = dt.timedelta(seconds=mine.behind_seconds)
        begins = now if mine.turn_at is None else max(mine.turn_at, now)  # when the account may have its next turn
        if place is None:
            if mine.line_until is None or mine.line_until + behind <= now:  # nobody is in line
                mine.line_until, behind, mine.behind_seconds = None, dt.timedelta(), 0.0
            if mine.line_until is not None or begins > now:
                # Where the account would have its next turn if it were alone.
                place = max(mine.line_until or begins + apart, begins + apart - behind)
                if place + behind >= now + LINE_LASTS:
                    mine.asked_until = max(mine.asked_until or now, now + LINE_LASTS / 2) + ASK_AGAIN_EVERY
                    return Booked(Turn(mine.asked_until), in_line=False)
                mine.line_until = place + apart
                return Booked(Turn(max(place + behind, begins), place=place))
        if place is not None and max(place + behind, begins) > now:  # others of the account come before
            return Booked(Turn(max(place + behind, begins), place=place))
        until = max(row.dispatches_booked_until or now, now)
        row.dispatches_booked_until = until + apart
        # In the past as long as there is a burst to use up, or if the cast asks later than it could have.
        free_at = until - DISPATCH_BURST * min(apart, dt.timedelta(seconds=1))
        mine.turn_at = max(now, free_at)
        if place is not None:
            mine.behind_seconds = max(0.0, (free_at - place).total_seconds())
        return Booked(Turn(mine.turn_at))


def spend(installation_id: int, account_id: int, calls: int = 1) -> None:
    """Take so many GETs for looks from what GitHub allows; raise NotNow, with nothing taken, if they must be spared.

    Nothing is booked ahead but one look of each account that had to wait: what is scarce now may be plenty soon, when
    the hour's requests are given out anew, and a cast that has ended has kept nobody waiting. Who is put off comes back
    one after the other.
    """
    if not settings.GITHUB_POINTS_PER_MINUTE:
        return
    with shares(installation_id, account_id) as (row, mine):
        now = timezone.now()
        until, apart = max(row.looks_booked_until or now, now), between_looks(row, now)
        reset_at = row.rate_reset_at if row.rate_reset_at is not None and row.rate_reset_at > now else None
        until = min(until, reset_at) if reset_at else until
        free_at = until - LOOK_BURST * min(apart, dt.timedelta(milliseconds=500))
        taken = calls
        if again := _look_again(mine, now, free_at):
            taken = 0
            if mine.look_at is None:
                mine.look_at, mine.look_calls, taken = again, calls, calls
        elif mine.look_at is not None and mine.look_at <= now:
            taken = calls - mine.look_calls
            mine.look_at, mine.look_calls = None, 0
        if taken:
            booked = until + taken * apart
            row.looks_booked_until = min(booked, reset_at) if reset_at else booked
    if again:
        raise NotNow("Requests to GitHub are being spared.", retry_at=again, reason="")


def _look_again(mine: AccountTurns, now: dt.datetime, free_at: dt.datetime) -> dt.datetime | None:
    """Return when to ask again for a look, None if it may be now."""
    if free_at <= now or (mine.look_at is not None and mine.look_at <= now):
        return None
    if mine.look_at is None:
        return free_at
    mine.looks_asked_until = max(mine.looks_asked_until or now, mine.look_at, now) + ASK_AGAIN_EVERY
    return mine.looks_asked_until


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
