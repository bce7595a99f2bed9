"""What is reported counts at Stripe once, whatever becomes of requests, answers and processes."""

from __future__ import annotations

import datetime as dt
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from payments import catalog, counting, customers, metering, restored
from payments.client import client, errors
from payments.folding import fold
from payments.metering import ReportWork
from payments.models import MeterReport, Subscription
from tests.payments.metered import HOUR, ledger, reported, work_off

pytestmark = pytest.mark.django_db
DAY = dt.timedelta(days=1)
LOST: dict[str, Any] = {"api": {"reset_after": 1.0, "paths": "meter_events"}}
AWAY: dict[str, Any] = {"api": {"reset_before": 1.0, "paths": "meter_events"}}
KEPT: dict[str, Any] = {"api": {"error_500_kept_after": 1.0, "paths": "meter_events"}}  # counted, and never said so
WELL: dict[str, Any] = {"reset": True}


def states() -> list[str]:
    return list(MeterReport.objects.order_by("id").values_list("state", flat=True))


def test_a_report_is_sent_and_counts_when_stripes_sum_has_it(both):
    report = both.cast(1234)
    work_off(ReportWork())
    assert (states(), both.events()) == (["sent"], [(str(report.pk), 1234)])
    [sent] = both.stripe.record("/v1/billing/meter_events")
    assert sent["idempotency_key"] == f"meterreport-{report.pk}"
    assert sent["params"]["payload"] == {"stripe_customer_id": both.customer.stripe_id, "value": "1234"}
    told = dt.datetime.fromtimestamp(int(sent["params"]["timestamp"]), dt.UTC)
    assert report.hour <= told < report.hour + HOUR
    assert told <= timezone.now()
    both.later(metering.CONFIRM_AFTER)
    work_off(ReportWork())
    assert states() == ["counted"]
    both.rounds(3)
    assert len(both.stripe.record("/v1/billing/meter_events")) == 1


@pytest.mark.parametrize("trouble", [LOST, AWAY, {"api": {"rate_limit": 1.0}}, {"api": {"error_5xx": 1.0}}])
def test_in_trouble_the_same_is_asked_under_the_same_name_until_it_is_known(both, trouble):
    report = both.cast(50)
    both.stripe.faults(**trouble)
    both.rounds(4)
    assert states() == ["new"]
    asked = both.stripe.record("/v1/billing/meter_events")
    assert len(asked) > 2
    assert {one["idempotency_key"] for one in asked} == {f"meterreport-{report.pk}"}
    both.stripe.faults(**WELL)
    both.rounds(30)
    assert (states(), both.total()) == (["counted"], 50)


@pytest.mark.parametrize("counted", [True, False])
def test_a_failure_that_stripe_keeps_is_gone_round_by_another_key_for_the_same_name(both, counted):
    report = both.cast(50)
    fault = "error_500_kept_after" if counted else "error_500_kept"
    both.stripe.faults(api={fault: 1.0, "times": 1, "paths": "meter_events"})
    both.rounds(12, dt.timedelta(minutes=5))
    assert (states(), both.events()) == (["counted"], [(str(report.pk), 50)])
    asked = [one["idempotency_key"] for one in both.stripe.record("/v1/billing/meter_events")]
    assert asked == [f"meterreport-{report.pk}"] * 2 + [f"meterreport-2-{report.pk}"]


@pytest.mark.parametrize(("trouble", "counted"), [(LOST, True), (AWAY, False)])
def test_after_the_day_for_which_names_are_known_the_sum_decides(both, trouble, counted):
    """Stripe would count the same name again by then: sent once more, it would be paid twice."""
    report = both.cast(50)
    both.stripe.faults(**trouble)
    both.rounds(25)
    assert states() == ["counted" if counted else "doubtful"]
    both.stripe.faults(**WELL)
    both.rounds(28)
    assert states() == ["counted"]
    assert both.events() == [(str(report.pk) if counted else f"{report.pk}-1", 50)]


def test_what_stripe_refuses_after_its_yes_is_found_out_and_sent_again(both):
    both.stripe.faults(meter={"async_errors": 1.0})
    lost = both.cast(50)
    work_off(ReportWork())
    both.stripe.faults(**WELL)
    other = both.cast(70)
    work_off(ReportWork())
    assert states() == ["sent", "sent"]
    both.later(dt.timedelta(minutes=20))
    [told] = both.stripe.objects("v2.core.event")
    assert fold("v2.core.event", told["id"])
    lost.refresh_from_db()
    assert (lost.state, lost.message[:31]) == ("doubtful", "meter_event_customer_not_found:")
    both.rounds(30)
    assert states() == ["counted", "counted"]
    assert both.events() == [(str(other.pk), 70), (f"{lost.pk}-1", 50)]


def test_without_its_error_report_it_is_found_out_too(both):
    both.stripe.faults(meter={"async_errors": 1.0})
    lost = both.cast(50)
    work_off(ReportWork())
    both.stripe.faults(**WELL)
    both.rounds(30)
    assert (states(), both.events()) == (["counted"], [(f"{lost.pk}-1", 50)])


def test_an_error_report_about_others_changes_nothing(both):
    both.cast(50)
    work_off(ReportWork())
    with errors():
        client().v1.billing.meter_events.create(
            {"event_name": catalog.EVENT_NAME, "identifier": "somebody's", "payload": {"value": "1"}}
        )
    both.later(dt.timedelta(minutes=1))
    [told] = both.stripe.objects("v2.core.event")
    assert not fold("v2.core.event", told["id"])
    assert states() == ["sent"]


@pytest.mark.parametrize(("sent", "names"), [(True, [""]), (False, ["-1"])])
def test_after_a_restore_the_sum_decides_what_was_told_since_the_backup(both, sent, names):
    """The report is as it was in the backup: not sent, as far as anybody knows."""
    report = both.cast(50)
    if sent:
        metering.create_event(report)
    assert "Of 1 meter reports" in restored.doubt_reports()
    both.rounds(30)
    assert states() == ["counted"]
    assert both.events() == [(f"{report.pk}{name}", 50) for name in names]


@pytest.mark.parametrize("at_what", ["before", "after"])
def test_who_is_killed_leaves_what_the_next_ends(both, at_what):
    report, send = both.cast(50), metering.create_event

    def killed(row: MeterReport) -> None:
        if at_what == "after":
            send(row)
        raise SystemExit

    [row] = ReportWork().rows().claim(limit=1, lease=dt.timedelta(seconds=1))
    with mock.patch.object(metering, "create_event", killed), pytest.raises(SystemExit):
        ReportWork().step(row)
    both.later(HOUR)
    ReportWork().rows().recover()
    both.rounds(3)
    assert (states(), both.events()) == (["counted"], [(str(report.pk), 50)])


def test_a_worker_that_wakes_up_late_sends_nothing(both):
    both.cast(50)
    [late] = ReportWork().rows().claim(limit=1, lease=dt.timedelta(seconds=1))
    stale = MeterReport.objects.select_related("customer").get()
    both.later(HOUR)
    ReportWork().rows().recover()
    both.rounds(2)
    assert metering.send(stale) is None
    assert ReportWork().step(late) is None
    assert len(both.stripe.record("/v1/billing/meter_events")) == 1


@pytest.mark.parametrize("extra", [0, 7])
def test_stripe_counting_more_than_was_told_is_left_to_an_operator(both, extra):
    report = both.cast(50)
    work_off(ReportWork())
    if extra:
        payload = {"stripe_customer_id": both.customer.stripe_id, "value": str(extra)}
        at = int(report.happened_at.timestamp())
        with errors():
            client().v1.billing.meter_events.create(
                {"event_name": catalog.EVENT_NAME, "payload": payload, "timestamp": at}
            )
    both.rounds(2)
    assert states() == ["failed" if extra else "counted"]
    assert [one.message for one in metering.failed()] == (
        ["Stripe counts 7 more in this hour than was reported to it."] if extra else []
    )


def test_without_a_meter_it_waits_for_one_and_is_sent_under_another_name(both):
    meter = catalog.price().meter_id
    with errors():
        client().v1.billing.meters.deactivate(meter)
    report = both.cast(50)
    both.rounds(2)
    report.refresh_from_db()
    assert (report.state, report.message) == ("new", 'No active meter found for event name "spell_platform_usage".')
    assert metering.unsent().get() == report
    with errors():
        client().v1.billing.meters.reactivate(meter)
    both.rounds(3)
    [(name, cents)] = both.events()
    assert (states(), name[:37], cents) == (["counted"], f"{report.pk}-", 50)


def test_what_can_not_be_sent_for_thirty_days_is_left_to_an_operator(both):
    report = both.cast(50)
    both.stripe.faults(unreachable=True)
    both.rounds(2)
    both.clock.ahead += 31 * DAY
    report.refresh_from_db()
    MeterReport.objects.update(first_sent_at=None)
    work_off(ReportWork())
    assert states() == ["failed"]
    assert "could not be sent for 30 days" in metering.failed().get().message
    assert metering.look_again(metering.failed()) == 1
    assert states() == ["new"]


def test_a_report_is_for_the_customer_at_stripe_in_whose_time_it_was_and_for_no_later_one(both):
    customer = both.customer
    both.cast(30)
    both.rounds(2)
    sent, waiting = MeterReport.objects.get(), both.cast(50)
    both.stripe.client().v1.customers.delete(customer.stripe_id)
    customers.note_deleted(customer, str(customer.stripe_id))
    assert customers.at_stripe(customer) not in ("", sent.stripe_customer)
    sealed_later = both.cast(7)
    MeterReport.objects.filter(pk=sent.pk).update(state="doubtful", due_at=timezone.now())
    work_off(ReportWork())
    assert states() == ["failed"] * 3
    assert both.total() == 30
    for report in (sent, waiting, sealed_later):
        report.refresh_from_db()
        assert f"Customer {sent.stripe_customer} was deleted at Stripe. Have " in report.message
    # What the customer made since is told of is its own, and what it has is compared with that alone.
    Subscription.objects.update(stripe_customer=customer.stripe_id)
    own = both.cast(11)
    both.rounds(2)
    own.refresh_from_db()
    assert own.state == "counted"
    with pytest.raises(CommandError) as found:
        call_command("verifybilling", "--month", f"{own.hour:%Y-%m}")
    assert [line for line in str(found.value).splitlines()[1:] if "was deleted at Stripe" not in line] == []


def test_nothing_is_dated_in_the_future(both):
    report = both.cast(50)
    both.clock.ahead -= DAY  # it was sealed by a process whose clock is ahead
    MeterReport.objects.update(due_at=timezone.now())
    work_off(ReportWork())
    assert not both.stripe.record("/v1/billing/meter_events")
    assert MeterReport.objects.get().due_at == report.happened_at


def of(*rows: tuple[int, str]) -> list[MeterReport]:
    return [MeterReport(cents=cents, state=state) for cents, state in rows]


@pytest.mark.parametrize(
    ("doubted", "missing", "found"),
    [
        ([(5, "doubtful")], 5, [5]),
        ([(5, "doubtful"), (7, "sent")], 5, [5]),
        ([(5, "sent"), (5, "doubtful")], 5, [5]),
        ([(3, "doubtful"), (4, "doubtful"), (7, "sent")], 7, [3, 4]),
        ([(3, "sent"), (4, "sent"), (8, "sent")], 11, [3, 8]),
        ([(3, "sent"), (4, "sent"), (8, "doubtful")], 15, [3, 4, 8]),
        ([(3, "sent"), (4, "sent")], 5, None),
        ([(1, "sent")] * 30, 29, None),  # too many to try
        ([(1, "sent")] * 30, 30, [1] * 30),
    ],
)
def test_which_reports_are_missing_is_found_by_what_they_come_to(doubted, missing, found):
    which = counting.which(of(*doubted), missing)
    assert (None if which is None else [one.cents for one in which]) == found


@pytest.mark.once
def test_days_of_trouble_come_to_the_cent(both):
    """Lost answers, kept errors, refusals afterwards, away for a day: in the end the sums are equal."""
    troubles = [WELL, LOST, {"meter": {"async_errors": 0.5}, "seed": 3}, KEPT, AWAY, WELL]
    for number in range(12):
        both.stripe.faults(**WELL)
        both.stripe.faults(**troubles[number % len(troubles)])
        for cents in (3, 5 + number, 3):
            both.cast(cents)
            work_off(ReportWork())
        both.rounds(5 if number % 5 else 30)
    both.stripe.faults(**WELL)
    both.rounds(60)
    assert set(states()) == {"counted"}
    assert both.total() == sum(ledger(both.customer).values()) == sum(reported(both.customer).values())
