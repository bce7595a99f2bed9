"""Casts at any time of the last weeks, and what they come to, computed slowly."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from django.utils import timezone

from casts.models import OPEN, Cast, CastStatus
from core import brief
from core.ids import first_id, uuid7

REASONS = {
    "succeeded": ["succeeded"],
    "cancelled": ["cancelled_by_caller"],
    "queued": ["accepted"],
    "running": ["running"],
}
REASONS["failed"] = ["run_failed", "timed_out", "expired"]


@pytest.fixture(autouse=True)
def _nothing_is_kept():
    brief.forget_all()
    yield
    brief.forget_all()


@pytest.fixture
def make_cast(account, spell):
    """Make a cast that was accepted at a time; `wait` and `run` are seconds, None: it did not begin, or is open."""

    def make(at, status="succeeded", *, spell=spell, wait=2.0, run=30.0, reason=None, **columns):
        # Whole milliseconds: SQLite's functions know no others.
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        wait, run = wait and round(wait, 3), run and round(run, 3)
        started = None if wait is None or status == "queued" else at + dt.timedelta(seconds=wait)
        finished = None if status in OPEN else (started or at) + dt.timedelta(seconds=run)
        cast = Cast(
            id=uuid7_at(at), account=account, spell=spell, input={}, cost_cents=5, run_scope="demo/spells",
            status=status, status_reason=reason or REASONS[status][0], created_at=at, started_at=started,
            finished_at=finished, expires_at=at + dt.timedelta(days=1), **columns,
        )  # fmt: skip
        cast.save(force_insert=True)
        return cast

    return make


def uuid7_at(at):
    """Return an id as one is made at a time."""
    return type(uuid7())(int=first_id(at).int | uuid7().int & (1 << 80) - 1)


@pytest.fixture
def many_casts(make_cast, make_spell, spell):
    """Make casts of three spells all over sixteen days, most of them lately."""
    chance = random.Random(15)
    spells = [spell, make_spell("second"), make_spell("third")]
    now = timezone.now()
    for _ in range(250):
        age = chance.choice([chance.uniform(0, 2 * 86_400), chance.uniform(0, 16 * 86_400)])
        status = chance.choice([*CastStatus.values, "succeeded", "failed"])
        make_cast(
            now - dt.timedelta(seconds=age),
            status,
            spell=chance.choice(spells),
            wait=chance.choice([None, 0.0, 0.05, chance.expovariate(0.1), chance.expovariate(0.0001)]),
            run=chance.choice([0.0, chance.expovariate(0.01), chance.expovariate(0.0001)]),
            reason=chance.choice(REASONS[status]),
        )
    return spells
