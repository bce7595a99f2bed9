"""Metered customers, and casts of theirs that end at a given time."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from accounts import budget, credit
from accounts.models import Account
from core.queue.due import DueRow
from core.queue.worker import Work
from payments import metering
from payments.models import Customer, MeterReport, Subscription

HOUR = dt.timedelta(hours=1)
BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Clock:
    """The time, which goes ahead for all by `ahead`, and stands still for a thread in `at`."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()
        self._thread = threading.local()

    def now(self) -> dt.datetime:
        still: dt.datetime | None = getattr(self._thread, "at", None)
        return still or dt.datetime.now(dt.UTC) + self.ahead

    @contextmanager
    def at(self, moment: dt.datetime | None) -> Iterator[None]:
        before, self._thread.at = getattr(self._thread, "at", None), moment
        try:
            yield
        finally:
            self._thread.at = before


def metered(name: str = "Vetinari", *, limit: int = 10**12, stripe_id: str | None = "cus_1", **fields: Any) -> Customer:
    """Return a customer whose subscription began long ago."""
    account = Account.objects.create(name=name)
    credit.begin_billing(account)
    credit.book(account.pk, "grant", limit, f"limit:{account.pk}:1")
    customer = Customer.objects.create(
        account=account, stripe_id=stripe_id, mode="metered", credit_limit_cents=limit, email="v@example.com"
    )
    usual = {"state": "active", "status": "active", "stripe_id": f"sub_{name}", "started_at": BEGAN}
    Subscription.objects.create(customer=customer, **{**usual, **fields})
    return customer


def captured(customer: Customer, cents: int) -> None:
    """Have a cast of a customer begin and end, and cost so much."""
    cast_id = uuid.uuid4()
    with transaction.atomic():
        budget.hold(customer.account, cast_id=cast_id, cents=cents)
    with transaction.atomic():
        budget.settle(cast_id, capture_cents=None)


def ledger(customer: Customer) -> Counter[dt.datetime]:
    """Return what was captured, by hour."""
    found: Counter[dt.datetime] = Counter()
    for moment, cents in metering.captures(customer.pk).values_list("at", "cents"):
        found[moment.replace(minute=0, second=0, microsecond=0)] += cents
    return found


def reported(customer: Customer) -> Counter[dt.datetime]:
    found: Counter[dt.datetime] = Counter()
    for hour, cents in MeterReport.objects.filter(customer=customer).values_list("hour", "cents"):
        found[hour] += cents
    return found


def work_off(work: Work, *, times: int = 1) -> int:
    """Have a worker step all rows of a kind that are due now; return how many steps those were."""
    steps = 0
    for _ in range(times):
        row: DueRow
        for row in work.rows().claim(limit=1000, lease=dt.timedelta(seconds=60)):
            row.give_back(work.step(row))
            steps += 1
    return steps
