"""A queue without a broker: rows that say when they must be looked at next.

`due_at` is when; `lease_until` is until when a worker holds the row; `claim_number` grows with every claim, and every
write of a step is filtered by the number it was given, so that a stopped worker that wakes up late changes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Self

from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from core.db.compiled import OneOf, Param, Params, Select, Update

ALONE_FROM = 2  # failed steps in a row: see core.queue.poison
GIVE_UP_AFTER = 5
FAILURE_CHARS = 200


class Statements:
    """The statements that every claim and every step runs on one model's rows, compiled once."""

    def __init__(self, model: type[DueRow]) -> None:
        some = OneOf("pk", Params(model, model._meta.pk.name, "keys"))
        self.rows: Select[Any] = Select(lambda: model._base_manager.filter(some).order_by())
        lease = Param(model, "lease_until")
        again = {"attempts": F("attempts") + 1, "due_at": None}
        well = {"failed_steps": 0, "failure": ""}  # its step has returned
        self.claim = Update(
            lambda: model._base_manager.filter(some), lease_until=lease, claim_number=F("claim_number") + 1, **again
        )
        self.hold_on = Update(model.claimed, lease_until=Param(model, "lease_until", "until"), **again, **well)
        at = Param(model, "due_at", "at")
        undue = Q(due_at=None) | Q(due_at__gt=Param(model, "due_at", "now"))
        earliest = Coalesce(Least(F("due_at"), at), at)
        self.give_back = Update(model.claimed, lease_until=None, **well)
        self.give_back_until = Update(model.claimed, lease_until=None, due_at=earliest, **well)
        self.rest = Update(lambda: model.claimed().filter(undue), lease_until=None, **well)
        self.rest_until = Update(lambda: model.claimed().filter(undue), lease_until=None, due_at=earliest, **well)


@cache
def statements(model: type[DueRow]) -> Statements:
    return Statements(model)


class DueQuerySet(models.QuerySet[Any]):
    """Claiming rows and giving them back."""

    def claimable(self) -> Self:
        """Return the rows that may be claimed when they are due; a subclass may hold some back."""
        return self.filter(lease_until=None)

    def claim(self, *, limit: int, lease: dt.timedelta, newest: bool = False, failing: bool | None = None) -> list[Any]:
        """Claim up to `limit` due rows for `lease`, those that are due longest (or `newest`) first.

        No other worker gets them meanwhile. `failing`: only those whose last step failed, or only the others.
        """
        now, due = timezone.now(), self.claimable()
        if failing is not None:
            due = due.filter(failed_steps__gt=0) if failing else due.filter(failed_steps=0)
        due = due.filter(due_at__lte=now).order_by("-due_at" if newest else "due_at")
        with transaction.atomic(using=self.db):
            # Workers that claim at the same moment get different rows. On SQLite the write lock does that.
            if connections[self.db].features.has_select_for_update_skip_locked:
                due = due.select_for_update(skip_locked=True)
            keys = list(due.values_list("pk", flat=True)[:limit])
            if not keys:
                return []
            model: Any = self.model
            statements(model).claim.run(keys=keys, lease_until=now + lease)
        return statements(model).rows.all(keys=keys)

    def next_due(self) -> models.QuerySet[Any, Any]:
        """Return when free rows are due, in order: also of those that `claimable` holds back or whose step failed."""
        return self.filter(lease_until=None, due_at__isnull=False).order_by("due_at").values_list("due_at")

    def next_ends(self) -> models.QuerySet[Any, Any]:
        """Return when the leases of rows end, in order."""
        return self.filter(lease_until__isnull=False).order_by("lease_until").values_list("lease_until")

    def recover(self) -> int:
        """Take rows back from workers that have let their lease run out; return how many."""
        now = timezone.now()
        late = self.filter(lease_until__lte=now)
        if not late.exists():
            return 0
        with transaction.atomic(using=self.db):
            if connections[self.db].features.has_select_for_update_skip_locked:
                # What somebody writes just now is left for the next look: waiting here, with others of these rows
                # locked, would be a deadlock with whoever wakes several.
                late = late.select_for_update(skip_locked=True, no_key=True)
            keys = list(late.values_list("pk", flat=True))
            # The holder died or hangs. A new number keeps it from writing, should it wake up.
            return self.filter(pk__in=keys).update(
                due_at=now,
                lease_until=None,
                claim_number=F("claim_number") + 1,
                failed_steps=F("failed_steps") + 1,
                failure="its worker died, or stood still",
            )

    def forgive(self) -> int:
        """Forget how often these failed: somebody wants them tried again."""
        return self.exclude(failed_steps=0).update(failed_steps=0, failure="")

    def parked(self) -> Self:
        """Return the rows that failed so often, even while they were given up, that nobody looks at them."""
        return self.filter(failed_steps__gt=GIVE_UP_AFTER, lease_until=None, due_at=None)

    def seconds_until_due(self) -> float | None:
        """Return how long until the next free row is due (negative: overdue), None if there is none.

        Rows whose last step failed don't count.
        """
        first = (
            self.claimable()
            .filter(due_at__isnull=False, failed_steps=0)
            .order_by("due_at")
            .values_list("due_at", flat=True)
        )
        due_at: dt.datetime | None = first.first()
        return None if due_at is None else (due_at - timezone.now()).total_seconds()

    def unclaimed(self, *, since: dt.datetime) -> Self:
        """Return the rows that were due, or whose lease ended, before `since`, and that no worker has claimed."""
        return self.claimable().filter(due_at__lte=since) | self.filter(lease_until__lte=since)

    def locked(self, keys: list[Any]) -> Self:
        # Always in this order, so that transactions that lock many rows never wait for each other in a circle.
        list(self.filter(pk__in=keys).order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
        return self.filter(pk__in=keys)

    def wake(self, **which: object) -> int:
        """Make these rows due now; one that is held becomes due when its holder gives it back."""
        return self.filter(**which).update(due_at=Coalesce(Least(F("due_at"), timezone.now()), timezone.now()))


def batches(keys: Sequence[Any], size: int = 500) -> Iterator[list[Any]]:
    # Some at a time: one transaction over ten thousand rows would hold up the workers that move them.
    ordered = sorted(keys)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


class DueRow(models.Model):
    """A row that a worker must look at again at `due_at` (null: never)."""

    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    claim_number = models.PositiveBigIntegerField(default=0, editable=False)
    # In a row; see core.queue.poison. With defaults in the database, so that processes of the release before can go on
    # while an update is under way.
    failed_steps = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    failure = models.CharField(max_length=FAILURE_CHARS, blank=True, default="", db_default="", editable=False)

    class Meta:
        abstract = True
        indexes = [
            models.Index("due_at", name="%(class)s_due", condition=Q(due_at__isnull=False)),
            models.Index("lease_until", name="%(class)s_leased", condition=Q(lease_until__isnull=False)),
            models.Index("due_at", name="%(class)s_failing", condition=Q(failed_steps__gt=0)),
        ]

    def log_ids(self) -> dict[str, str]:
        """Return what every line carries that is logged while this row is stepped."""
        return {}

    @classmethod
    def due_rows(cls) -> DueQuerySet:
        return DueQuerySet(cls)

    @classmethod
    def claimed(cls) -> models.QuerySet[Self]:
        """Return, for a compiled statement, what `mine` returns for the row with `id` and `claim_number`."""
        key, number = Param(cls, cls._meta.pk.name, "id"), Param(cls, "claim_number")
        return cls._base_manager.filter(pk=key, claim_number=number, lease_until__isnull=False)

    def mine(self) -> models.QuerySet[Self]:
        """Return this row if the claim that loaded it still holds, else nothing. Every write goes through this."""
        return type(self)._base_manager.filter(pk=self.pk, claim_number=self.claim_number, lease_until__isnull=False)

    def extend(self, lease: dt.timedelta) -> bool:
        """Hold on for `lease` more; False if another worker has taken over."""
        return bool(self.mine().update(lease_until=timezone.now() + lease))

    def give_back(self, due_at: dt.datetime | None) -> bool:
        """End the claim and come back at `due_at`, or earlier if someone woke the row meanwhile (None: only then)."""
        ask, claim = statements(type(self)), {"id": self.pk, "claim_number": self.claim_number}
        if due_at is None:
            return bool(ask.give_back.run(**claim))
        return bool(ask.give_back_until.run(at=due_at, **claim))

    def fail(self, how: str, due_at: dt.datetime, *, counted: bool = True) -> bool:
        """End the claim after a step that failed, and come back at `due_at`, or earlier if someone woke the row."""
        earliest = Coalesce(Least(F("due_at"), due_at), due_at)
        count = F("failed_steps") + (1 if counted else 0)
        changes: dict[str, Any] = {"failed_steps": count, "failure": how[:FAILURE_CHARS], "due_at": earliest}
        return bool(self.mine().update(lease_until=None, **changes))

    def put_aside(self, due_at: dt.datetime | None) -> bool:
        """End the claim as if there had been none, and come back at `due_at` (None: when woken)."""
        return bool(self.mine().update(lease_until=None, due_at=due_at, attempts=F("attempts") - 1))

    def park(self) -> bool:
        """End the claim for good: nobody looks at the row until an operator wants it."""
        return bool(self.mine().update(lease_until=None, due_at=None, failed_steps=GIVE_UP_AFTER + 1))

    def rest(self, due_at: dt.datetime | None, *, lease: dt.timedelta) -> Self | None:
        """Do as `give_back` does, unless the row is due again by now: then keep the claim, and return the row anew.

        A claim that is kept lasts for `lease` from now, as every step may count on.
        """
        now = timezone.now()
        ask, claim = statements(type(self)), {"id": self.pk, "claim_number": self.claim_number}
        if due_at is None and ask.rest.run(now=now, **claim):
            return None
        if due_at is not None and due_at > now and ask.rest_until.run(now=now, at=due_at, **claim):
            return None
        if not ask.hold_on.run(until=now + lease, **claim):
            return None  # another worker has taken over
        kept: Self | None = ask.rows.first(keys=[self.pk])
        return kept
