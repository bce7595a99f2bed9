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
from django.utils import timezone

from accounts import budget, credit
from accounts.models import Account
from core.queue.due import DueRow
from core.queue.worker import Work
from payments import metering
from payments.metering import ReportWork
from payments.models import Customer, MeterReport, Subscription
from payments.subscriptions import SubscriptionWork
from tests.stripes import Stripe

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
    usual = {
        "state": "active",
        "status": "active",
        "stripe_id": f"sub_{name}",
        "started_at": BEGAN,
        "stripe_customer": stripe_id or "",
    }
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


class Both:
    """Our clock and Stripe's, which go ahead together, and the only customer."""

    def __init__(self, stripe: Stripe, clock: Clock, customer: Customer) -> None:
        self.stripe, self.clock, self.customer = stripe, clock, customer

    def later(self, by: dt.timedelta) -> None:
        self.clock.ahead += by
        self.stripe.advance(by.total_seconds())

    def cast(self, cents: int) -> MeterReport:
        """Have a cast end, and be sealed."""
        captured(self.customer, cents)
        assert metering.seal(Subscription.objects.get()) == 1
        return MeterReport.objects.latest("id")

    def rounds(self, number: int, every: dt.timedelta = HOUR) -> None:
        for _ in range(number):
            work_off(ReportWork())
            self.later(every)

    def events(self) -> list[tuple[str, int]]:
        """Return what the meter has taken: names and values."""
        taken = self.stripe.local("GET", "state")["usage"]
        return [(one["identifier"], int(one["value"])) for one in taken]

    def until_next_month(self, days: int = 0) -> None:
        """Go on until the month is over, and its invoice made."""
        now = timezone.now()
        first = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(days=32)).replace(day=1)
        self.later(first - now)
        self.later(dt.timedelta(days=days, hours=2))

    def rounds_of_hours(self, number: int) -> None:
        for _ in range(number):
            self.later(HOUR)
            self.work()

    def work(self) -> None:
        """Have workers do what is due now."""
        for _ in range(3):
            work_off(SubscriptionWork())
            work_off(ReportWork())

    def total(self) -> int:
        return sum(cents for _, cents in self.events())
