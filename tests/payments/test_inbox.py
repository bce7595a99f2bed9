"""What becomes of a stored event: its object is looked up, and tried again for as long as Stripe is away."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from payments import folding, inbox
from payments.inbox import StripeEventWork, apply_again, receive
from payments.models import StripeEvent
from tests.payments.conftest import work_off
from tests.stripes import Stripe

FOLDED: list[Any] = []


def fold_customer(customer: Any) -> bool:
    """Stand in for what folds a customer: what is tested here is how it comes to be called."""
    FOLDED.append(customer)
    return bool(customer.name != "not ours")


@pytest.fixture(autouse=True)
def folded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    FOLDED.clear()
    by = folding.Folding(f"{__name__}.fold_customer", folding.FOLDS["customer"].retrieve)
    monkeypatch.setitem(folding.FOLDS, "customer", by)
    return FOLDED


def event_about(customer_id: str) -> StripeEvent:
    told = inbox.Told("evt_1", "customer.updated", "customer", customer_id, timezone.now(), livemode=False)
    assert receive(told)
    return StripeEvent.objects.get()


def stepped() -> StripeEvent:
    assert work_off() == 1
    return StripeEvent.objects.get()


@pytest.mark.django_db
def test_the_object_is_folded_as_it_is_now(stripe: Stripe, folded: list[Any]) -> None:
    made = stripe.client().v1.customers.create({"name": "then"})
    event_about(made.id)
    stripe.client().v1.customers.update(made.id, {"name": "now"})
    row = stepped()
    assert ([one.name for one in folded], row.state, row.due_at) == (["now"], "applied", None)
    assert row.applied_at is not None
    assert work_off() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["gone", "not ours"])
def test_what_is_gone_or_belongs_to_others_is_quietly_not_ours(stripe: Stripe, name: str) -> None:
    made = stripe.client().v1.customers.create({"name": name})
    event_about("cus_none" if name == "gone" else made.id)
    row = stepped()
    assert (row.state, row.error, row.due_at) == ("not_ours", "", None)


@pytest.mark.django_db
def test_while_stripe_is_away_it_is_tried_again_less_and_less_often(stripe: Stripe) -> None:
    made = stripe.client().v1.customers.create({"name": "Ada"})
    event_about(made.id)
    stripe.faults(api={"error_5xx": 1.0})
    waits = []
    for _ in range(14):
        before = timezone.now()
        row = stepped()
        assert row.due_at is not None
        waits.append(round((row.due_at - before).total_seconds()))
    assert (row.state, bool(row.error)) == ("pending", True)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    StripeEvent.objects.update(attempts=inbox.GIVE_UP_AFTER)
    row = stepped()
    assert (row.state, row.due_at) == ("failed", None)
    stripe.faults(api={"error_5xx": 0.0})
    assert apply_again([row.pk]) == [row.pk]
    row = stepped()
    assert (row.state, row.error) == ("applied", "")
    assert apply_again([row.pk]) == []


@pytest.mark.django_db
def test_a_key_that_is_refused_may_be_corrected(stripe: Stripe, settings: Any) -> None:
    made = stripe.client().v1.customers.create({"name": "Ada"})
    event_about(made.id)
    settings.STRIPE_SECRET_KEY = "sk_test_another_and_long_enough"
    row = stepped()
    assert (row.state, row.due_at is not None) == ("pending", True)
    assert "sk_test_another" not in row.error
    settings.STRIPE_SECRET_KEY = stripe.key
    assert stepped().state == "applied"


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
def test_what_fails_every_time_is_given_up_and_kept() -> None:
    row = event_about("cus_1")
    [claimed] = StripeEvent.due_rows().claim(limit=1, lease=dt.timedelta(seconds=30))
    StripeEventWork().give_up(claimed)
    row.refresh_from_db()
    assert (row.state, "Applying it failed" in row.error) == ("failed", True)


@pytest.mark.django_db
@pytest.mark.usefixtures("billing")
def test_old_events_go_and_failed_ones_stay() -> None:
    now = timezone.now()
    for number, (state, days) in enumerate([("applied", 32), ("applied", 29), ("failed", 99)]):
        at = now - dt.timedelta(days=days)
        done = at if state == "applied" else None
        StripeEvent.objects.create(
            id=f"evt_{number}", type="customer.updated", created=at, received_at=at, state=state, applied_at=done
        )
    assert inbox.purge() == 1
    assert set(StripeEvent.objects.values_list("pk", flat=True)) == {"evt_1", "evt_2"}
