"""Whether Stripe has counted what was reported: it adds up each customer's hours, and those sums decide.

They come late, so what is missing in them may still come. What is in them has been counted. A report whose answer is
not known, or that Stripe refused after it had said yes, is sent again only if the sum says that it is missing, a day
after it was last sent.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from itertools import combinations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.money import money
from core.queue import wakeups
from payments import catalog, client
from payments.models import MESSAGE_CHARS, Customer, MeterReport, Subscription

logger = logging.getLogger(__name__)

State = MeterReport.State
HOUR = dt.timedelta(hours=1)
# Stripe says that sums come late, not how late
# (https://docs.stripe.com/api/billing/meter-event-summary: "an eventually consistent view").
SUMS_LAG = dt.timedelta(hours=24)
LOOK_EVERY = dt.timedelta(hours=1)
TRIED_TOGETHER = 12  # reports of one hour of which it is found out by their sum which are missing; else an operator


def counted_cents(customer_id: str, since: dt.datetime, until: dt.datetime) -> int:
    """Return what Stripe has added up of a customer's usage in a time. Raise what `client.errors` raises."""
    meter = catalog.price().meter_id
    with client.errors():
        found = client.client().v1.billing.meters.event_summaries.list(
            meter,
            {"customer": customer_id, "start_time": int(since.timestamp()), "end_time": int(until.timestamp())},
        )
        sums = [one.aggregated_value for one in found.auto_paging_iter()]
    if any(one != int(one) for one in sums):
        raise client.Refused(f"Stripe's sums for {customer_id} are no whole amounts: {sums}.")
    return sum(int(one) for one in sums)


def look(report: MeterReport) -> dt.datetime | None:
    """Compare the hour of a report with Stripe's sum; return when to look again. Raise what `client.errors` does."""
    customer = report.customer
    if not customer.stripe_id or report.payer_is_gone:
        logger.error("meter report of a deleted customer", extra={"report": str(report.pk)})
        report.mine().update(state=State.FAILED, message=payer_gone(report))
        return None
    counted = counted_cents(customer.stripe_id, report.hour, report.hour + HOUR)
    decide(customer, report.hour, counted)
    state = MeterReport.objects.values_list("state", flat=True).get(pk=report.pk)
    now = timezone.now()
    if state == State.NEW:
        return now
    return now + LOOK_EVERY if state in MeterReport.OPEN else None


def payer_gone(report: MeterReport) -> str:
    """Say that nobody is left at Stripe to whom a report could be counted."""
    which = report.stripe_customer or report.customer.stripe_id
    return (
        f"Customer {which} was deleted at Stripe. Have {money(report.cents)} invoiced otherwise, if it is to be paid."
    )


def decide(customer: Customer, hour: dt.datetime, counted: int) -> None:
    """Say of all reports of an hour whether they count, as far as the sum that Stripe had of it tells.

    Reports are read after the sum was: each is noted as sent before it is, so the sum holds none that is not among
    them. So if it is what they come to together, each counts.
    """
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        rows = of_payer(customer.reports.filter(hour=hour, first_sent_at__isnull=False), customer)
        sent = list(rows.order_by("pk"))
        missing = sum(report.cents for report in sent) - counted
        doubted = [report for report in sent if report.state != State.COUNTED]
        certain = rows.exclude(state=State.NEW)  # of a new one, its own step is at work
        if missing == 0:
            certain.exclude(state=State.COUNTED).update(state=State.COUNTED, message="")
            # It may have waited for this to be invoiced.
            Subscription.due_rows().filter(state=Subscription.State.ENDING).wake(customer=customer)
            transaction.on_commit(wakeups.work_is_due)
        elif missing < 0:
            _leave(certain, f"Stripe counts {-missing} more in this hour than was reported to it.")
        elif all(_is_settled(report) for report in doubted):
            _send_missing(certain, doubted, missing)


def of_payer(reports: QuerySet[MeterReport], customer: Customer) -> QuerySet[MeterReport]:
    """Return those for the customer that the account has at Stripe now, of which alone Stripe's sums tell."""
    return reports.filter(stripe_customer__in=("", customer.stripe_id or ""))


def _is_settled(report: MeterReport) -> bool:
    """Return whether a report that is missing by now is missing for good."""
    assert report.last_sent_at is not None
    return report.state != State.NEW and timezone.now() > report.last_sent_at + SUMS_LAG


def _send_missing(certain: QuerySet[MeterReport], doubted: list[MeterReport], missing: int) -> None:
    """Have those sent again, under other names, that make up what is missing. The others count."""
    again = which(doubted, missing)
    if again is None:
        _leave(certain, f"Of this hour {missing} are missing at Stripe, and no reports come to that together.")
        return
    keys = [report.pk for report in again]
    logger.warning("reports do not count, and are sent again", extra={"reports": [str(key) for key in keys]})
    for report in again:
        MeterReport.objects.filter(pk=report.pk).update(
            state=State.NEW,
            refusals=report.refusals + 1,
            first_sent_at=None,
            last_sent_at=None,
            sent_at=None,
            attempts=0,
        )
    certain.exclude(pk__in=keys).exclude(state=State.COUNTED).update(state=State.COUNTED, message="")
    MeterReport.due_rows().wake(pk__in=keys)
    transaction.on_commit(wakeups.work_is_due)


def which(doubted: Sequence[MeterReport], missing: int) -> list[MeterReport] | None:
    """Return reports that come to what is missing; None if none do. Those that are in doubt rather than sent well.

    Which of several it is makes no difference: what counts in the hour is right afterwards.
    """
    for some in ([one for one in doubted if one.state == State.DOUBTFUL], list(doubted)):
        if sum(one.cents for one in some) == missing:
            return some
        for number in range(1, len(some)) if len(some) <= TRIED_TOGETHER else ():
            for found in combinations(some, number):
                if sum(one.cents for one in found) == missing:
                    return list(found)
    return None


def _leave(certain: QuerySet[MeterReport], why: str) -> None:
    """Leave an hour to an operator."""
    left = certain.exclude(state=State.COUNTED)
    if left.update(state=State.FAILED, message=why[:MESSAGE_CHARS]):
        logger.error("an hour's reports and Stripe's sum differ", extra={"why": why})
