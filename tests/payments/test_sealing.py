"""What was captured is put into reports: all of it, once, and by the hour in which it was captured."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.db.threads import database_kept
from payments import metering
from payments.models import MeterReport, Subscription
from tests.payments.metered import BEGAN, HOUR, Clock, captured, ledger, metered, reported

NUMBERS = itertools.count(1)
NOON = dt.datetime(2026, 10, 31, 12, tzinfo=dt.UTC)


def seal(customer) -> int:
    return metering.seal(Subscription.objects.get(customer=customer))


@pytest.mark.django_db
def test_each_hour_of_captures_becomes_one_report_and_is_in_no_other(clock):
    customer, other = metered(), metered("Moist", stripe_id="cus_2")
    for minutes, cents in ((1, 5), (59, 7), (60, 11), (0, 13), (150, 17)):
        with clock.at(NOON + dt.timedelta(minutes=minutes)):
            captured(customer, cents)
            captured(other, 1)
    assert seal(customer) == 3
    assert reported(customer) == {NOON: 25, NOON + HOUR: 11, NOON + 2 * HOUR: 17} == ledger(customer)
    told = MeterReport.objects.get(hour=NOON)
    assert told.happened_at == NOON + dt.timedelta(minutes=59), "when the last of it was: within the hour"
    assert seal(customer) == 0
    with clock.at(NOON + dt.timedelta(minutes=30)):  # by another process's clock
        captured(customer, 19)
    assert seal(customer) == 1
    assert reported(customer) == ledger(customer)
    assert not reported(other)


@pytest.mark.django_db
def test_the_last_moment_of_a_month_and_the_first_of_the_next_are_apart(clock):
    customer = metered()
    midnight = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    for moment in (midnight - dt.timedelta(microseconds=1), midnight):
        with clock.at(moment):
            captured(customer, 3)
    assert seal(customer) == 2
    reports = MeterReport.objects.order_by("hour")
    assert [report.hour for report in reports] == [midnight - HOUR, midnight]
    assert [int(report.happened_at.timestamp()) for report in reports] == [
        int(midnight.timestamp()) - 1,
        int(midnight.timestamp()),
    ], "Stripe is told whole seconds, each in its own month"


@pytest.mark.django_db
def test_by_whichever_clock_nothing_is_earlier_than_the_subscription(clock):
    customer = metered(started_at=NOON)
    with clock.at(NOON - dt.timedelta(seconds=2)):
        captured(customer, 5)
    assert seal(customer) == 1
    report = MeterReport.objects.get()
    assert (report.hour, report.happened_at) == (NOON, NOON)


@pytest.mark.django_db
def test_what_is_not_of_the_subscriptions_time_is_not_reported(clock):
    customer = metered()
    captured(customer, 5)
    first = metering.newest_capture(customer.pk)
    captured(customer, 7)
    last = metering.newest_capture(customer.pk)
    captured(customer, 11)
    Subscription.objects.update(sealed_upto_entry=first, upto_entry=last, state="ending")
    seal(customer)
    assert sum(reported(customer).values()) == 7
    Subscription.objects.update(sealed_upto_entry=0, upto_entry=0, started_at=None)
    assert seal(customer) == 0


moves = st.lists(
    st.one_of(
        st.tuples(st.just("cast"), st.integers(1, 10**9), st.integers(0, 90)),
        st.tuples(st.just("seal"), st.booleans(), st.just(0)),
    ),
    max_size=8,
)


@pytest.mark.django_db
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=moves)
def test_in_whichever_order_and_wherever_it_ends_all_is_reported_once(clock, moves):
    customer = metered(f"Adora {next(NUMBERS)}", stripe_id=None)
    for kind, value, minutes in moves:
        if kind == "cast":
            with clock.at(NOON + dt.timedelta(minutes=minutes)):
                captured(customer, value)
        elif value:
            seal(customer)
        else:  # the process ends before the commit
            captured(customer, 1)
            ends = mock.patch.object(MeterReport.objects, "bulk_create", side_effect=SystemExit)
            with ends, pytest.raises(SystemExit):
                seal(customer)
        assert not reported(customer) - ledger(customer)
    seal(customer)
    assert reported(customer) == ledger(customer)
    edges = sorted({(one.after_entry, one.upto_entry) for one in MeterReport.objects.filter(customer=customer)})
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(edges))


@pytest.mark.django_db(transaction=True)
def test_whatever_settles_meanwhile_what_is_sealed_adds_up(clock: Clock):
    customer, chance = metered(), random.Random(7)
    done, casts = threading.Event(), 160 if connection.vendor == "postgresql" else 60

    def settle(number: int) -> None:
        with database_kept(), clock.at(BEGAN + number % 48 * HOUR):
            captured(customer, chance.randrange(1, 10**6))

    def keep_sealing(_: int) -> int:
        rounds = 0
        with database_kept():
            while not done.is_set():
                rounds += seal(customer) > 0
                own = Subscription.objects.get(customer=customer)
                so_far = metering.captures(customer.pk).filter(id__lte=own.sealed_upto_entry)
                sealed = MeterReport.objects.filter(customer=customer, upto_entry__lte=own.sealed_upto_entry)
                # What is sealed is whole: nothing comes below it later.
                assert sum(sealed.values_list("cents", flat=True)) == sum(so_far.values_list("cents", flat=True))
        return rounds

    with ThreadPoolExecutor(6) as pool:
        sealing = [pool.submit(keep_sealing, number) for number in range(2)]
        try:
            list(pool.map(settle, range(casts)))
        finally:
            done.set()
        assert sum(one.result() for one in sealing) > 1, "reports were made while others settled"
    seal(customer)
    assert reported(customer) == ledger(customer)
    assert sum(ledger(customer).values()) > casts
