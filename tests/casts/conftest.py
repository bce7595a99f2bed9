"""A fake runtime, a clock, a client, and hands to move casts with."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, BudgetPeriod, LedgerEntry
from casts import runtime as runtimes
from casts.execution.steps import CastWork
from casts.lifecycle import accepting
from casts.models import Cast, CastEvent, Spell
from tests.casts.client import Api
from tests.casts.fake import FakeRuntime

LEASE = dt.timedelta(seconds=30)


@pytest.fixture
def runtime(settings: Any, db: None) -> Iterator[FakeRuntime]:
    """The fake that runs workflow_dispatch spells in this test."""
    kinds = {
        "workflow_dispatch": "tests.casts.fake.FakeRuntime",
        "repository_dispatch": "tests.casts.fake.OtherRuntime",
    }
    settings.SPELL_RUNTIMES = kinds
    runtimes._instance.cache_clear()
    both = [fake for path in kinds.values() if isinstance(fake := runtimes._instance(path), FakeRuntime)]
    yield both[0]
    runtimes._instance.cache_clear()
    assert not any(fake.inside_transaction for fake in both), "a network call would have been made in a transaction"


class Clock:
    """Django's clock, held by hand."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += dt.timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    held = Clock()
    monkeypatch.setattr(timezone, "now", held)
    return held


@pytest.fixture
def api(secret: str) -> Api:
    return Api(secret)


def accept_cast(**order: Any) -> Cast:
    """Take on a cast as the API does, unchecked; any of accepting.new_cast's arguments may be given."""
    if (key := order.get("api_key")) is not None:
        order.setdefault("account", key.account)
    cast = accepting.new_cast(**order)
    with transaction.atomic():
        accepting.accept([cast])
    return cast


@pytest.fixture
def make_cast(api_key: ApiKey, spell: Spell) -> Callable[..., Cast]:
    """Accept a cast; any of accepting.new_cast's arguments may be given."""

    def make(**given: Any) -> Cast:
        defaults: dict[str, Any] = {"api_key": api_key, "spell": spell, "input": {"name": "Ada"}}
        return accept_cast(**defaults | given)

    return make


@pytest.fixture
def cast(make_cast: Callable[..., Cast]) -> Cast:
    return make_cast()


def claim(cast: Cast) -> Cast:
    """Take a cast as a worker would, due or not; whoever held it has died."""
    for _ in range(100):
        Cast.objects.filter(pk=cast.pk).update(due_at=timezone.now(), lease_until=None)
        for row in Cast.due_rows().filter(pk=cast.pk).claim(limit=1, lease=LEASE):
            return row
        time.sleep(0.01)  # a hub notes just now that somebody watches it; a worker comes back as well
    raise AssertionError(f"{cast.pk} can't be claimed")


def step(cast: Cast) -> dt.timedelta | None:
    """Step a cast once, as a worker would; return in what time it is to be looked at again. Refreshes `cast`."""
    row = claim(cast)
    again = CastWork().step(row)
    row.give_back(again)
    cast.refresh_from_db()
    return None if again is None else again - timezone.now()


def wait(cast: Cast) -> dt.timedelta:
    """Step a cast that stays under way; return in what time it is to be looked at again."""
    again = step(cast)
    assert again is not None
    return again


def ledger(cast: Cast) -> list[tuple[str, int]]:
    """Return what a cast moved, in order."""
    return list(LedgerEntry.objects.filter(cast_id=cast.pk).order_by("id").values_list("kind", "cents"))


def history(cast: Cast) -> list[str]:
    """Return the kinds of a cast's events, having checked that their numbers have no gap."""
    events = list(CastEvent.objects.filter(cast=cast).order_by("seq").values_list("seq", "kind"))
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    assert Cast.objects.get(pk=cast.pk).last_seq == len(events)
    return [kind for _, kind in events]


def everything() -> tuple[int, ...]:
    """Count what a refused request must not leave behind."""
    return tuple(model.objects.count() for model in (Cast, CastEvent, LedgerEntry, BudgetPeriod, ApiKey))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that what happens inside adds no row."""
    before = everything()
    yield
    assert everything() == before
