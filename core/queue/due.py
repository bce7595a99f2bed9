"""The queue without a queue: rows that say when somebody must look at them next.

`due_at` is when; `lease_until` is until when somebody is; `token` grows with every claim, and whatever a step writes
is filtered by the token it was given, so that a stopped worker that wakes up late changes nothing.
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

from core.db.compiled import OneOf, Param, Params, Select


@cache
def by_key(model: type[models.Model]) -> Select[Any]:
    """Return what reads rows of a model by their keys."""
    keys = Params(model, model._meta.pk.name, "keys")
    return Select(lambda: model._base_manager.filter(OneOf("pk", keys)).order_by())


class DueQuerySet(models.QuerySet[Any]):
    """Claiming and giving back."""

    def claimable(self) -> Self:
        """Return the rows that may be claimed when they are due; a kind of row may hold some back."""
        return self.filter(lease_until=None)

    def claim(self, *, limit: int, lease: dt.timedelta, newest: bool = False) -> list[Any]:
        """Take up to `limit` due rows, those that are due longest (or `newest`) first, for `lease`.

        Nobody else gets them meanwhile.
        """
        now = timezone.now()
        due = self.claimable().filter(due_at__lte=now).order_by("-due_at" if newest else "due_at")
        with transaction.atomic(using=self.db):
            if connections[self.db].features.has_select_for_update_skip_locked:
                due = due.select_for_update(skip_locked=True)
            keys = list(due.values_list("pk", flat=True)[:limit])
            if not keys:
                return []
            self.filter(pk__in=keys).update(
                due_at=None, lease_until=now + lease, attempts=F("attempts") + 1, token=F("token") + 1
            )
        model: Any = self.model
        return by_key(model).all(keys=keys)

    def recover(self) -> int:
        """Make rows due again whose holder let the lease run out; return how many. They died, or are stopped."""
        now = timezone.now()
        return self.filter(lease_until__lte=now).update(due_at=now, lease_until=None, token=F("token") + 1)

    def seconds_until_due(self) -> float | None:
        """Return how long until the next free row is due (negative: overdue), None if there is none."""
        first = self.claimable().filter(due_at__isnull=False).order_by("due_at").values_list("due_at", flat=True)
        due_at: dt.datetime | None = first.first()
        return None if due_at is None else (due_at - timezone.now()).total_seconds()

    def unclaimed(self, *, since: dt.datetime) -> Self:
        """Return the rows that were due before `since`, or whose holder's lease ended before, and nobody took over."""
        return self.claimable().filter(due_at__lte=since) | self.filter(lease_until__lte=since)

    def locked(self, keys: list[Any]) -> Self:
        """Return these rows, locked in one order: two who write many rows at once must not wait for each other."""
        list(self.filter(pk__in=keys).order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
        return self.filter(pk__in=keys)

    def wake(self, **which: object) -> int:
        """Make these rows due now; one that is held becomes due when its holder gives it back."""
        return self.filter(**which).update(due_at=Coalesce(Least(F("due_at"), timezone.now()), timezone.now()))


def batches(keys: Sequence[Any], size: int = 500) -> Iterator[list[Any]]:
    """Yield keys in order, some at a time: a transaction over ten thousand rows would hold up those who move them."""
    ordered = sorted(keys)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


class DueRow(models.Model):
    """A row that somebody must look at again at `due_at` (null: never)."""

    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0, editable=False)
    token = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        abstract = True
        indexes = [
            models.Index("due_at", name="%(class)s_due", condition=Q(due_at__isnull=False)),
            models.Index("lease_until", name="%(class)s_leased", condition=Q(lease_until__isnull=False)),
        ]

    @classmethod
    def due_rows(cls) -> DueQuerySet:
        """Return the queue that this model's rows form."""
        return DueQuerySet(cls)

    @classmethod
    def claimed(cls) -> models.QuerySet[Self]:
        """Return, for a compiled statement, what `mine` returns of a row that has `id` and `token`."""
        key, token = Param(cls, cls._meta.pk.name, "id"), Param(cls, "token")
        return cls._base_manager.filter(pk=key, token=token, lease_until__isnull=False)

    def mine(self) -> models.QuerySet[Self]:
        """Return this row if the claim that loaded it still holds, else nothing: what every write goes through."""
        return type(self)._base_manager.filter(pk=self.pk, token=self.token, lease_until__isnull=False)

    def extend(self, lease: dt.timedelta) -> bool:
        """Hold on for `lease` more; False if somebody else has taken over."""
        return bool(self.mine().update(lease_until=timezone.now() + lease))

    def give_back(self, due_at: dt.datetime | None) -> bool:
        """End the claim and come back at `due_at`, or earlier if someone woke the row meanwhile (None: only then)."""
        if due_at is not None:
            return bool(self.mine().update(lease_until=None, due_at=Coalesce(Least(F("due_at"), due_at), due_at)))
        return bool(self.mine().update(lease_until=None))
