"""While Stripe hangs, a worker goes on with casts: all that waits for Stripe has a part of its threads."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts.models import ApiKey
from casts.execution.steps import CastWork
from casts.models import Cast
from core.queue.due import DueQuerySet, DueRow
from core.queue.worker import Worker
from payments.inbox import StripeEventWork
from payments.metering import ReportWork
from payments.models import MeterReport, Refund, StripeEvent, Subscription, TopUp
from payments.topup_work import TopUpWork
from tests.casts.conftest import accept_cast
from tests.core.test_worker import until
from tests.stripes import Stripe

PAYING = [
    "payments.topup_work.TopUpWork",
    "payments.refunds.RefundWork",
    "payments.inbox.StripeEventWork",
    "payments.sweep.SweepWork",
    "payments.metering.ReportWork",
    "payments.subscriptions.SubscriptionWork",
]


def hold(worker: Worker, *rows: DueRow) -> None:
    for row in rows:
        worker.held[Future()] = (row, 0.0)


def test_what_waits_for_stripe_has_half_of_the_threads_all_kinds_together(settings: Any) -> None:
    settings.WORK = ["casts.execution.steps.CastWork", *PAYING]
    worker = Worker(threads=8, lease_seconds=30)
    hold(worker, StripeEvent(), TopUp(), Refund())
    assert [worker.room(kind) for kind in worker.kinds] == [5, *[1] * len(PAYING)]
    hold(worker, MeterReport(), Subscription())
    assert [worker.room(kind) for kind in (CastWork(), StripeEventWork(), TopUpWork(), ReportWork())] == [3, -1, -1, -1]


class Casts:
    """Casts whose step takes no time, beside what waits for Stripe."""

    stepped = threading.Event()

    def rows(self) -> DueQuerySet:
        return Cast.due_rows()

    def step(self, row: Cast) -> dt.datetime | None:
        self.stepped.set()
        return None

    def give_up(self, row: Cast) -> None: ...


@pytest.mark.django_db(transaction=True)
def test_a_cast_is_stepped_while_every_question_to_stripe_hangs(
    stripe: Stripe, settings: Any, api_key: ApiKey, make_spell: Any
) -> None:
    accept_cast(api_key=api_key, spell=make_spell("greet"), input={"name": "Ada"})
    Cast.objects.update(due_at=None)
    now = timezone.now()
    StripeEvent.objects.bulk_create(
        StripeEvent(
            id=f"evt_{number}",
            type="customer.updated",
            object_type="customer",
            object_id="cus_none",
            created=now,
            received_at=now,
            due_at=now,
        )
        for number in range(8)
    )
    stripe.faults(api={"latency_ms": [1500, 1500]})
    settings.WORK = ["payments.inbox.StripeEventWork", f"{__name__}.Casts"]
    Casts.stepped.clear()
    worker = Worker(threads=4, lease_seconds=30)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        until(lambda: StripeEvent.objects.filter(lease_until__isnull=False).count() == 2)
        Cast.objects.update(due_at=timezone.now())
        assert Casts.stepped.wait(30)
        # Before Stripe has answered everything that was due earlier.
        assert StripeEvent.objects.filter(state="pending").count() > 2
    finally:
        stripe.faults(api={"latency_ms": [0, 0]})
        worker.stop()
        thread.join(30)
        connections.close_all()
