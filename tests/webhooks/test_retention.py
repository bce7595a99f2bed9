"""The inbox does not grow for ever: settled deliveries go, and none that would come back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.utils import timezone

from core.db import purging
from webhooks import inbox, sweep
from webhooks.models import Delivery

pytestmark = pytest.mark.django_db


def held_guids() -> list[str]:
    return list(Delivery.objects.order_by("id").values_list("guid", flat=True))


@pytest.fixture
def make_delivery() -> Callable[..., Delivery]:
    def make(*, days: float = 31, **fields: Any) -> Delivery:
        at = timezone.now() - dt.timedelta(days=days)
        number = Delivery.objects.count()
        known = {"guid": f"g{number}", "event": "ping", "body": "{}", "received_at": at, "applied_at": at}
        return Delivery.objects.create(**known | {"outcome": Delivery.Outcome.NOTHING_NEW} | fields)

    return make


def test_settled_deliveries_go_after_their_days_and_others_stay(make_delivery: Callable[..., Delivery]) -> None:
    pending = Delivery.Outcome.PENDING
    kept = {
        make_delivery(days=29).guid,
        make_delivery(applied_at=None, outcome=pending, due_at=timezone.now()).guid,
        make_delivery(applied_at=None, outcome=pending, error="KeyError").guid,
        make_delivery(lease_until=timezone.now()).guid,
        make_delivery(due_at=timezone.now()).guid,
    }
    make_delivery()
    make_delivery(outcome=pending)  # given up: no cast ever turned out to own its run
    assert inbox.purge() == 2
    assert set(held_guids()) == kept
    assert inbox.purge() == 0


def test_what_was_emptied_is_not_tried_again(make_delivery: Callable[..., Delivery]) -> None:
    refused = Delivery.Outcome.REFUSED
    emptied, whole = make_delivery(body="", outcome=refused), make_delivery(outcome=refused)
    assert inbox.apply_again([emptied.pk, whole.pk]) == [whole.pk]
    emptied.refresh_from_db()
    assert (emptied.outcome, emptied.due_at) == (refused, None)


def test_many_go_in_chunks_and_not_all_at_once(
    make_delivery: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "CHUNK", 3)
    monkeypatch.setattr(purging, "CHUNKS", 2)
    guids = [make_delivery(days=50 - n).guid for n in range(8)]
    assert inbox.purge() == 6
    assert held_guids() == guids[6:]
    assert inbox.purge() == 2


@pytest.mark.parametrize("days", [0, 1, 3])
def test_nothing_goes_that_the_sweep_would_receive_again(
    make_delivery: Callable[..., Delivery], settings: Any, days: int
) -> None:
    settings.DELIVERY_RETENTION_DAYS = days
    make_delivery(days=3.5)
    assert inbox.purge() == 0
    assert dt.timedelta(days=inbox.LEAST_DAYS) > sweep.LOG_REACH + sweep.OVERLAP
    assert [m.id for m in run_checks() if m.id == "spell.E020"] == ["spell.E020"]


def test_every_worker_purges(settings: Any) -> None:
    assert "webhooks.inbox.purge" in settings.PURGES
