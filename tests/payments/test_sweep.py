"""The sweep: what no webhook brought is found in Stripe's list of events, and received once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from payments import sweep
from payments.inbox import receive, told
from payments.models import EventSweep, StripeEvent
from tests.stripes import Stripe

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def row(stripe: Stripe) -> EventSweep:
    sweep.ensure()
    return EventSweep.objects.get()


def stepped() -> EventSweep:
    """Have a worker do the next step, due or not."""
    EventSweep.objects.update(due_at=timezone.now())
    [row] = EventSweep.due_rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    row.give_back(sweep.SweepWork().step(row))
    return EventSweep.objects.get()


def changed(stripe: Stripe, times: int) -> str:
    """Make a customer and change it so often; return its id."""
    customer: str = stripe.client().v1.customers.create({"name": "0"}).id
    for number in range(1, times + 1):
        stripe.client().v1.customers.update(customer, {"name": str(number)})
    return customer


def test_what_no_webhook_brought_is_found_and_what_one_brought_is_left_alone(stripe: Stripe) -> None:
    customer = changed(stripe, 3)
    first = stripe.objects("event")[0]
    receive(told(first))
    row = stepped()
    assert (row.recovered, row.error, row.began_at, row.cursor) == (2, "", None, "")
    assert set(StripeEvent.objects.values_list("type", "object_id")) == {("customer.updated", customer)}
    assert dict(StripeEvent.objects.values_list("swept", "repeats").distinct()) == {True: 0, False: 0}
    assert StripeEvent.objects.filter(swept=True).count() == 2
    assert stepped().recovered == 2
    changed(stripe, 1)
    assert stepped().recovered == 3


def test_a_long_list_is_read_in_steps_and_a_round_can_be_gone_on_with(
    stripe: Stripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)
    monkeypatch.setattr(sweep, "PAGES_PER_STEP", 2)
    changed(stripe, 8)
    row = stepped()
    assert (row.recovered, row.cursor != "", row.began_at is not None) == (4, True, True)
    began = row.began_at
    row = stepped()
    assert (row.began_at, row.recovered) == (began, 8)
    row = stepped()  # the customer's making is on the last page
    assert (row.recovered, row.read_upto, row.cursor) == (8, began, "")
    asked = [one["params"] for one in stripe.record("/v1/events")]
    assert len({one.get("starting_after") for one in asked}) == len(asked) == 5


def test_it_reads_back_to_the_last_round_with_an_overlap_and_no_further_than_stripe_keeps(stripe: Stripe) -> None:
    def asked_since() -> float:
        stepped()
        return int(stripe.record("/v1/events")[-1]["params"]["created"]["gte"])

    now = timezone.now()
    assert abs(asked_since() - (now - sweep.OVERLAP).timestamp()) < 60
    for days, since in [(3, 3), (100, 30)]:
        EventSweep.objects.update(read_upto=now - dt.timedelta(days=days))
        assert abs(asked_since() - (now - dt.timedelta(days=since)).timestamp()) < 3600


def test_a_thin_event_is_found_in_the_other_list(stripe: Stripe) -> None:
    client = stripe.client()
    meter = {"display_name": "Casts", "event_name": "casts", "default_aggregation": {"formula": "sum"}}
    client.v1.billing.meters.create(meter)
    client.v1.billing.meter_events.create(
        {"event_name": "casts", "payload": {"stripe_customer_id": "cus_none", "value": "1"}}
    )
    stripe.advance(600)
    [event] = stripe.objects("v2.core.event")
    assert stepped().recovered == 1
    assert StripeEvent.objects.values_list("pk", "object_type", "object_id").get() == (
        event["id"],
        "v2.core.event",
        event["id"],
    )


def test_while_stripe_is_away_it_waits_and_then_goes_on(stripe: Stripe, settings: Any) -> None:
    changed(stripe, 1)
    stripe.faults(api={"error_5xx": 1.0})
    waits = []
    for _ in range(6):
        before = timezone.now()
        row = stepped()
        assert row.due_at is not None
        waits.append(round((row.due_at - before).total_seconds()))
    assert (waits, row.failures, bool(row.error)) == ([15, 30, 60, 120, 300, 300], 6, True)
    stripe.faults(api={"error_5xx": 0.0})
    row = stepped()
    assert (row.recovered, row.failures, row.error) == (1, 0, "")
    assert row.due_at is not None
    assert abs((row.due_at - timezone.now()).total_seconds() - settings.STRIPE_SWEEP_SECONDS) < 60


def test_a_round_whose_place_in_the_list_is_gone_begins_anew(stripe: Stripe) -> None:
    changed(stripe, 1)
    EventSweep.objects.update(began_at=timezone.now(), since=timezone.now() - sweep.OVERLAP, cursor="evt_gone")
    row = stepped()
    assert (row.cursor, row.recovered, "evt_gone" in row.error) == ("", 0, True)
    assert stepped().recovered == 1


def test_an_operator_can_have_it_go_on_after_it_was_given_up() -> None:
    [claimed] = EventSweep.due_rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    sweep.SweepWork().give_up(claimed)
    sweep.ensure()
    row = EventSweep.objects.get()
    assert (row.due_at, "failed" in row.error) == (None, True)
    assert sweep.sweep_again()
    assert EventSweep.objects.get().due_at is not None
