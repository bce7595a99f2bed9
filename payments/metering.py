"""What metered customers' casts come to, reported to Stripe's meter hour by hour: each capture once.

`seal` puts what was captured since the last time into reports, which are sent under names that Stripe counts once.
Whether Stripe has counted a report is not taken from its answer: `payments.counting` compares with what it adds up.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import uuid
from typing import Any

from django.db import transaction
from django.db.models import Max, QuerySet, Sum, Value
from django.db.models.functions import Greatest, TruncHour
from django.utils import timezone

from accounts.models import LedgerEntry
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from payments import catalog, client, counting, keys
from payments.models import MESSAGE_CHARS, MeterReport, Subscription

logger = logging.getLogger(__name__)

State = MeterReport.State
# Stripe's words for a name that it has counted. Some say that the code is missing.
DUPLICATE, DUPLICATE_TEXT = "duplicate_meter_event", "already exists with identifier"
CONFIRM_AFTER = dt.timedelta(minutes=10)  # from Stripe's yes until its sums are looked at
# Stripe takes what is 35 days old at most (https://docs.stripe.com/api/billing/meter-event/create, "timestamp").
UNSENT_MOST = dt.timedelta(days=30)
MOST_WAIT = 3600  # seconds, between tries
NAME = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-([0-9]{1,5}))?\Z")


# --- what was captured -----------------------------------------------------------------------------------------------


def captures(account_id: int) -> QuerySet[LedgerEntry]:
    """Return what was taken of an account's credit."""
    return LedgerEntry.objects.filter(
        period__account=account_id, kind=LedgerEntry.Kind.CAPTURE, on_credit=True
    ).order_by()


def newest_capture(account_id: int, *, after: int = 0) -> int:
    """Return the number up to which the account's captures are all there, and stay as they are: `after` or a later one.

    Every settlement locks the counter of credit before it numbers its entry, and until its commit. So an account's
    entries are committed in the order of their numbers: whoever sees one sees all before it, without any lock.
    """
    newest: int | None = captures(account_id).filter(id__gt=after).aggregate(newest=Max("id"))["newest"]
    return newest or after


def by_hour(subscription: Subscription, *, after: int, upto: int) -> QuerySet[LedgerEntry, Any]:
    """Return a row for each hour (UTC): `hour`, the `total` of its captures, and when the `last` of them was.

    What is earlier than the subscription's start at Stripe, by another clock than Stripe's, counts as of its start.
    """
    assert subscription.started_at is not None  # nothing is captured for it before
    moment = Greatest("at", Value(subscription.started_at))
    return (
        captures(subscription.customer_id)
        .filter(id__gt=after, id__lte=upto)
        .values(hour=TruncHour(moment, tzinfo=dt.UTC))
        .annotate(total=Sum("cents"), last=Max(moment))
    )


def seal(subscription: Subscription) -> int:
    """Put what was captured since the last time into reports, one for each hour; return how many. Safe to repeat."""
    if subscription.started_at is None:
        return 0
    with transaction.atomic():
        own = Subscription.objects.select_for_update(no_key=True).get(pk=subscription.pk)
        after = own.sealed_upto_entry
        upto = newest_capture(own.customer_id, after=after) if own.upto_entry is None else own.upto_entry
        if upto <= after:
            return 0
        now = timezone.now()
        reports = [
            MeterReport(
                customer_id=own.customer_id,
                stripe_customer=own.stripe_customer,
                after_entry=after,
                upto_entry=upto,
                hour=row["hour"],
                happened_at=row["last"],
                cents=row["total"],
                due_at=now,
            )
            for row in by_hour(own, after=after, upto=upto)
        ]
        MeterReport.objects.bulk_create(reports, batch_size=500)
        Subscription.objects.filter(pk=own.pk).update(sealed_upto_entry=upto)
        transaction.on_commit(wakeups.work_is_due)
    return len(reports)


# --- sending ---------------------------------------------------------------------------------------------------------


class ReportWork:
    """Reports that are to be sent, or of which is to be seen whether they count."""

    lane, thread_share = client.LANE, client.THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return MeterReport.due_rows()

    def step(self, row: MeterReport) -> dt.datetime | None:
        report = row.mine().select_related("customer").first()
        if report is None or report.state not in MeterReport.OPEN:
            return None
        if report.state == State.NEW:
            return send(report)
        try:
            again = counting.look(report)
        except client.Unavailable as exc:
            return wait(report, exc)
        except client.Refused as exc:
            report.mine().update(message=str(exc)[:MESSAGE_CHARS])
            return timezone.now() + dt.timedelta(seconds=MOST_WAIT)
        return again

    def give_up(self, row: MeterReport) -> None:
        """Leave a report to an operator."""
        row.mine().filter(state__in=MeterReport.OPEN).update(
            state=State.FAILED, message=how_often(row, "Reporting it")[:MESSAGE_CHARS]
        )


def send(report: MeterReport) -> dt.datetime | None:
    """Send a report that is not known to have been received; return when to look at it again."""
    now = timezone.now()
    if why := hopeless(report, now):
        fail(report, why)
        return None
    if report.first_sent_at is not None and now > report.first_sent_at + client.KEY_LASTS:
        # Stripe may have forgotten the name by now, and count it twice.
        return doubt(report, "Stripe never said whether it counted this.")
    if not report.customer.stripe_id:
        return now + dt.timedelta(minutes=1)
    if report.happened_at > now:
        return report.happened_at  # a clock was set back; Stripe refuses what is to come
    if not report.mine().update(first_sent_at=report.first_sent_at or now, last_sent_at=now):
        return None  # another worker has taken over
    try:
        keys.renew(report, keys.NO_REST)  # Stripe counts its name once, under whatever key
        create_event(report)
    except (client.Unavailable, client.Unauthorized) as exc:
        return wait(report, exc)
    except client.KeyReused as exc:  # what was sent under this key before may count
        return doubt(report, str(exc))
    except client.Refused as exc:
        if exc.code != DUPLICATE and DUPLICATE_TEXT not in str(exc):
            return refused(report, exc)
    report.mine().update(state=State.SENT, sent_at=now, message="", attempts=0)
    return now + CONFIRM_AFTER


def create_event(report: MeterReport) -> None:
    """Raise what `client.errors` raises."""
    payer = report.stripe_customer or str(report.customer.stripe_id)
    payload = {catalog.CUSTOMER_KEY: payer, catalog.VALUE_KEY: str(report.cents)}
    with keys.asking(report) as options:
        client.client().v1.billing.meter_events.create(
            {
                "event_name": catalog.EVENT_NAME,
                "identifier": report.name,
                "timestamp": int(report.happened_at.timestamp()),
                "payload": payload,
            },
            options,
        )


def hopeless(report: MeterReport, now: dt.datetime) -> str:
    """Say why a report can't be sent any more; blank if it can."""
    if report.payer_is_gone:
        return counting.payer_gone(report)
    if now - report.happened_at > UNSENT_MOST:
        return f"It could not be sent for {UNSENT_MOST.days} days. Have Stripe invoice {report.cents} otherwise."
    return ""


def doubt(report: MeterReport, why: str) -> dt.datetime:
    logger.warning("meter report in doubt", extra={"report": str(report.pk), "why": why})
    report.mine().update(state=State.DOUBTFUL, message=why[:MESSAGE_CHARS], attempts=0)
    return timezone.now()


def wait(report: MeterReport, exc: client.StripeTrouble) -> dt.datetime:
    report.mine().update(message=str(exc)[:MESSAGE_CHARS])
    return timezone.now() + dt.timedelta(seconds=min(2 ** min(report.attempts - 1, 20), MOST_WAIT))


def refused(report: MeterReport, exc: client.Refused) -> dt.datetime:
    """Note that Stripe refused a report, so it does not count. It is sent again: what is wrong may be put right."""
    level = logging.INFO if report.message else logging.ERROR
    logger.log(level, "meter report refused", extra={"report": str(report.pk), "code": exc.code, "why": str(exc)})
    report.mine().update(
        first_sent_at=None, last_sent_at=None, refusals=report.refusals + 1, message=str(exc)[:MESSAGE_CHARS]
    )
    return timezone.now() + dt.timedelta(seconds=min(60 * 2 ** min(report.refusals, 20), MOST_WAIT))


def fail(report: MeterReport, why: str) -> None:
    logger.error("meter report failed", extra={"report": str(report.pk), "why": why})
    report.mine().update(state=State.FAILED, message=why[:MESSAGE_CHARS])


# --- what Stripe finds wrong afterwards ------------------------------------------------------------------------------


def fold_error_report(event: Any) -> bool:
    """Put the reports that an error report names in doubt; return whether it names any of ours.

    It holds samples, not all: the others are found by their sums. A sample's identifier is the request's idempotency
    key, which ends in the report's name.
    Source: https://docs.stripe.com/api/v2/core/events/event-types, "v1.billing.meter.error_report_triggered"
    """
    ours = False
    reason = client.plain(event).get("data", {}).get("reason") or {}
    for kind in reason.get("error_types") or []:
        for sample in kind.get("sample_errors") or []:
            named = NAME.search((sample.get("request") or {}).get("identifier") or "")
            if named is None:
                continue
            found = MeterReport.objects.filter(pk=uuid.UUID(named[1]), refusals=int(named[2] or 0))
            ours |= found.exists()
            why = f"{kind.get('code')}: {sample.get('error_message')}"
            if found.filter(state__in=(State.SENT, State.COUNTED, State.DOUBTFUL)).update(
                state=State.DOUBTFUL, message=why[:MESSAGE_CHARS], attempts=0
            ):
                logger.error("meter report refused afterwards", extra={"report": named[0], "code": kind.get("code")})
                MeterReport.due_rows().wake(pk=uuid.UUID(named[1]))
                wakeups.work_is_due()
    return ours


def look_again(reports: QuerySet[MeterReport]) -> int:
    """Have failed reports sent, or looked up if they may count, once more, for an operator; return how many."""
    failed = reports.filter(state=State.FAILED)
    keys = list(failed.values_list("pk", flat=True))
    of_these = MeterReport.objects.filter(pk__in=keys, state=State.FAILED)
    again = of_these.filter(first_sent_at=None).update(state=State.NEW, attempts=0, message="")
    again += of_these.filter(first_sent_at__isnull=False).update(state=State.DOUBTFUL, attempts=0, message="")
    rows = MeterReport.due_rows().filter(pk__in=keys)
    rows.forgive()
    rows.wake()
    wakeups.work_is_due()
    return again


# --- what an operator should look at ---------------------------------------------------------------------------------


def unsent() -> QuerySet[MeterReport]:
    """Return reports that have been waiting for an hour to be sent, or are in doubt."""
    hour_ago = timezone.now() - dt.timedelta(hours=1)
    return MeterReport.objects.filter(state=State.NEW, created_at__lt=hour_ago) | MeterReport.objects.filter(
        state=State.DOUBTFUL
    )


def failed() -> QuerySet[MeterReport]:
    return MeterReport.objects.filter(state=State.FAILED)
