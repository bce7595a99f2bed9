"""Products, prices, meters and what they count, driven by the official SDK."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.stripes import Judged, Receiver, Stripe

DAY = 24 * 3600
LAG = 600  # seconds until a meter's sums have what it was told: far longer than a test takes
CASTS: Any = {"display_name": "Casts", "event_name": "casts", "default_aggregation": {"formula": "sum"}}
METERED: Any = {"interval": "month", "usage_type": "metered"}


@pytest.fixture(autouse=True)
def _lag(stripe_process: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe_process.server.config, "meter_lag", LAG)


@pytest.fixture
def client(stripe_server: Stripe) -> stripe.StripeClient:
    return stripe_server.client()


@pytest.fixture
def meter(client: stripe.StripeClient) -> stripe.billing.Meter:
    return client.v1.billing.meters.create(CASTS)


@pytest.fixture
def customer(client: stripe.StripeClient) -> str:
    return client.v1.customers.create({"name": "Rincewind"}).id


@pytest.fixture
def tell(client: stripe.StripeClient, meter: stripe.billing.Meter, customer: str) -> Callable[..., Any]:
    """Tell the meter of usage."""

    def tell(value: str = "1", *, payload: Any = None, key: str = "", **fields: Any) -> Any:
        whole = payload if payload is not None else {"stripe_customer_id": customer, "value": value}
        sent: Any = {"event_name": "casts", "payload": whole, **fields}
        return client.v1.billing.meter_events.create(sent, {"idempotency_key": key} if key else {})

    return tell


@pytest.fixture
def total(
    stripe_server: Stripe, client: stripe.StripeClient, meter: stripe.billing.Meter, customer: str
) -> Callable[..., float]:
    """Return what the meter has counted by now, in all the time that it counts."""

    def total(start: int = 0, end: int = 0, **options: Any) -> float:
        now = stripe_server.advance(0)
        start, end = start or (now - 36 * DAY) // 60 * 60, end or (now + 600) // 60 * 60
        asked: Any = {"customer": customer, "start_time": start, "end_time": end, **options}
        found = client.v1.billing.meters.event_summaries.list(meter.id, asked).data
        return sum((one.aggregated_value for one in found), 0.0)

    return total


def test_a_product_and_its_prices(client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"name": "Casts", "metadata": {"a": "b"}})
    price = client.v1.prices.create(
        {"currency": "USD", "product": product.id, "unit_amount": 150, "lookup_key": "casts", "nickname": "Flat"}
    )
    assert (price.currency, str(price.unit_amount_decimal), price.type) == ("usd", "150", "one_time")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key") as caught:
        client.v1.prices.create({"currency": "usd", "product": product.id, "unit_amount": 1, "lookup_key": "casts"})
    assert caught.value.param == "lookup_key"
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        client.v1.prices.create(
            {"currency": "usd", "product_data": {"name": "New"}, "unit_amount": 1, "lookup_key": "casts"}
        )
    assert [one.name for one in client.v1.products.list().data] == ["Casts"]
    newer = client.v1.prices.create(
        {
            "currency": "usd",
            "product": product.id,
            "unit_amount_decimal": "0.50",  # type: ignore[typeddict-item]
            "lookup_key": "casts",
            "transfer_lookup_key": True,
            "recurring": {"interval": "month"},
        }
    )
    assert (newer.unit_amount, str(newer.unit_amount_decimal)) == (None, "0.5")
    found = client.v1.prices.list({"lookup_keys": ["casts"], "active": True, "expand": ["data.product"]})
    assert [one.id for one in found.data] == [newer.id]
    assert isinstance(found.data[0].product, stripe.Product)
    assert client.v1.prices.retrieve(price.id).lookup_key is None
    assert client.v1.prices.update(price.id, {"active": False}).active is False
    with pytest.raises(stripe.InvalidRequestError, match="cannot be deleted"):
        client.v1.products.delete(product.id)
    other = client.v1.products.create({"name": "Other", "id": "prod_own"})
    assert client.v1.products.update("prod_own", {"description": "x"}).description == "x"
    assert client.v1.products.delete(other.id).deleted
    assert [one.id for one in client.v1.products.list().data] == [product.id]
    inline = client.v1.prices.create({"currency": "usd", "unit_amount": 1, "product_data": {"name": "New"}})
    assert client.v1.products.retrieve(str(inline.product)).name == "New"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unit_amount": None}, "Missing required param: unit_amount"),
        ({"product": "prod_none"}, "No such product: 'prod_none'"),
        ({"recurring": {"interval": "month", "usage_type": "metered"}}, "must be backed by a meter"),
        (
            {"recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_0"}},
            "No such billing.meter: 'mtr_0'",
        ),
        ({"unit_amount": -1}, "greater than or equal to 0"),
        ({"recurring": {"interval": "fortnight"}}, "must be one of day, month, week, or year"),
    ],
)
def test_a_price_that_cannot_be_is_refused(client: stripe.StripeClient, changed: dict[str, Any], message: str) -> None:
    product = client.v1.products.create({"name": "Casts"})
    asked: Any = {"currency": "usd", "product": product.id, "unit_amount": 1, **changed}
    asked = {name: value for name, value in asked.items() if value is not None}
    with pytest.raises(stripe.InvalidRequestError, match=message):
        client.v1.prices.create(asked)
    assert client.v1.prices.list().data == []


def test_a_meter_is_made_changed_and_switched_off(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    meter = client.v1.billing.meters.create(CASTS)
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        client.v1.billing.meters.create(CASTS)
    assert client.v1.billing.meters.update(meter.id, {"display_name": "All casts"}).display_name == "All casts"
    assert client.v1.billing.meters.deactivate(meter.id).status_transitions.deactivated_at
    assert client.v1.billing.meters.list({"status": "active"}).data == []
    assert client.v1.billing.meters.reactivate(meter.id).status == "active"
    assert client.v1.billing.meters.retrieve(meter.id).display_name == "All casts"
    assert stripe_server.events() == [
        f"billing.meter.{did}" for did in ("created", "updated", "deactivated", "reactivated")
    ]


def test_usage_counts_a_little_later_than_it_is_told(
    stripe_server: Stripe, tell: Callable[..., Any], total: Callable[..., float]
) -> None:
    told = tell("25", identifier="one")
    assert (told.identifier, told.payload["value"], told.event_name) == ("one", "25", "casts")
    tell("-5")
    assert total() == 0
    stripe_server.advance(LAG)
    assert total() == 20


def test_an_identifier_is_taken_for_a_day_and_then_counted_again(
    stripe_server: Stripe, tell: Callable[..., Any], total: Callable[..., float]
) -> None:
    at = stripe_server.advance(0)
    assert tell("7", identifier="one", timestamp=at, key="k").identifier == "one"
    assert tell("7", identifier="one", timestamp=at, key="k").identifier == "one"  # the kept answer of its key
    for after in (0, DAY - 60):
        stripe_server.advance(after)
        with pytest.raises(
            stripe.InvalidRequestError, match=r"An event already exists with identifier one\."
        ) as caught:
            tell("7", identifier="one", timestamp=at, key=f"later-{after}")
        assert (caught.value.http_status, caught.value.code) == (400, None)
        assert total() == (7 if after else 0)
    stripe_server.advance(61)
    tell("7", identifier="one", timestamp=at, key="too late")
    stripe_server.advance(LAG)
    assert total() == 14


@pytest.mark.parametrize(
    ("offset", "taken"), [(-35 * DAY + 60, True), (-35 * DAY - 60, False), (240, True), (360, False)]
)
def test_usage_is_from_35_days_back_to_5_minutes_ahead(
    stripe_server: Stripe, tell: Callable[..., Any], total: Callable[..., float], offset: int, taken: bool
) -> None:
    moment = stripe_server.advance(0) + offset
    if taken:
        tell("3", timestamp=moment)
    else:
        with pytest.raises(stripe.InvalidRequestError, match="The event timestamp cannot be more than") as caught:
            tell("3", timestamp=moment, identifier="one")
        assert caught.value.param == "timestamp"
        tell("3", identifier="one")  # what was refused at once has not taken its identifier
    stripe_server.advance(LAG)
    assert total() == 3


def test_usage_of_no_meter_is_refused_at_once(
    client: stripe.StripeClient, meter: stripe.billing.Meter, tell: Callable[..., Any]
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match='No active meter found for event name "cast"'):
        client.v1.billing.meter_events.create({"event_name": "cast", "payload": {"value": "1"}})
    client.v1.billing.meters.deactivate(meter.id)
    with pytest.raises(stripe.InvalidRequestError, match='No active meter found for event name "casts"'):
        tell()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"value": "1"}, "meter_event_no_customer_defined"),
        ({"value": "1", "stripe_customer_id": "cus_none"}, "meter_event_customer_not_found"),
        ({"stripe_customer_id": "@"}, "meter_event_invalid_value"),
        ({"value": "1.5", "stripe_customer_id": "@"}, "meter_event_invalid_value"),
        ({"value": "9" * 16, "stripe_customer_id": "@"}, "meter_event_value_too_many_digits"),
    ],
)
def test_what_is_wrong_with_usage_is_told_later(
    stripe_server: Stripe,
    client: stripe.StripeClient,
    meter: stripe.billing.Meter,
    customer: str,
    tell: Callable[..., Any],
    payload: dict[str, str],
    code: str,
) -> None:
    payload = {name: customer if value == "@" else value for name, value in payload.items()}
    tell(payload=payload, identifier="bad")
    assert client.v2.core.events.list().data == []
    stripe_server.advance(LAG)
    (event,) = client.v2.core.events.list({"types": ["v1.billing.meter.error_report_triggered"]}).data
    assert isinstance(event, stripe.events.V1BillingMeterErrorReportTriggeredEvent)
    assert event.related_object.id == meter.id
    (kind,) = event.data.reason.error_types
    assert (kind.code, kind.error_count, kind.sample_errors[0].request.identifier) == (code, 1, "bad")
    assert client.v2.core.events.list({"object_id": "mtr_other"}).data == []


def test_faults_refuse_usage_after_it_was_taken(
    stripe_server: Stripe, client: stripe.StripeClient, tell: Callable[..., Any], total: Callable[..., float]
) -> None:
    stripe_server.faults(meter={"async_errors": 1})
    for number in range(3):
        tell("5", identifier=f"lost-{number}")
    stripe_server.faults(meter={"async_errors": 0, "refuse_later": True})
    client.v1.billing.meter_events.create({"event_name": "nothing", "payload": {"value": "1"}, "identifier": "none"})
    tell("5", timestamp=int(time.time()) - 36 * DAY, identifier="old")
    stripe_server.advance(LAG)
    assert total() == 0
    events: Any = client.v2.core.events.list().data
    assert len(events) == 2  # one report of each meter, however much is wrong
    by_type = {event.type: event.to_dict()["data"]["reason"] for event in events}
    report = by_type["v1.billing.meter.error_report_triggered"]
    assert {one["code"]: one["error_count"] for one in report["error_types"]} == {
        "meter_event_customer_not_found": 3,
        "timestamp_too_far_in_past": 1,
    }
    assert by_type["v1.billing.meter.no_meter_found"]["error_types"][0]["code"] == "no_meter"


def test_usage_is_taken_back_within_a_day(
    stripe_server: Stripe, client: stripe.StripeClient, tell: Callable[..., Any], total: Callable[..., float]
) -> None:
    def cancel(identifier: str) -> Any:
        asked: Any = {"event_name": "casts", "type": "cancel", "cancel": {"identifier": identifier}}
        return client.v1.billing.meter_event_adjustments.create(asked)

    tell("1", identifier="one")
    tell("10", identifier="ten")
    assert cancel("one").status == "pending"
    stripe_server.advance(LAG)
    assert total() == 10
    for wrong in ("one", "none"):
        with pytest.raises(stripe.InvalidRequestError, match="No such meter event"):
            cancel(wrong)
    stripe_server.advance(DAY)
    with pytest.raises(stripe.InvalidRequestError, match="within 24 hours"):
        cancel("ten")
    assert total() == 10


def test_summaries_by_hour_and_day_begin_and_end_where_hours_and_days_do(
    stripe_server: Stripe,
    client: stripe.StripeClient,
    meter: stripe.billing.Meter,
    customer: str,
    tell: Callable[..., Any],
) -> None:
    day = stripe_server.advance(0) // DAY * DAY - DAY
    for after, value in ((0, "1"), (3599, "2"), (3600, "4"), (7 * 3600, "8"), (-1, "16"), (DAY, "32")):
        tell(value, timestamp=day + after)
    stripe_server.advance(LAG)

    def summed(start: int, end: int, window: str = "") -> list[tuple[int, float]]:
        asked: Any = {"customer": customer, "start_time": start, "end_time": end}
        asked |= {"value_grouping_window": window} if window else {}
        found = client.v1.billing.meters.event_summaries.list(meter.id, asked).auto_paging_iter()
        return [((one.start_time - day) // 3600, one.aggregated_value) for one in found]

    assert summed(day, day + DAY) == [(0, 15)]
    assert summed(day, day + DAY, "hour") == [(7, 8), (1, 4), (0, 3)]
    assert summed(day - DAY, day + DAY, "day") == [(0, 15), (-24, 16)]
    assert summed(day - 10 * DAY, day - 9 * DAY) == []
    assert summed(day + 3600, day + 3660) == [(1, 4)]
    for start, end, window in (
        (day + 1, day + DAY, ""),
        (day, day + 61, ""),
        (day + 60, day + DAY, "hour"),
        (day, day + 3600, "day"),
        (day, day, ""),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=r"aligned with|must be after"):
            summed(start, end, window)


@pytest.mark.parametrize(
    ("formula", "window", "expected"), [("count", None, 3), ("last", None, 4), ("sum", "hour", 6), ("sum", None, 7)]
)
def test_how_a_meter_adds_up(
    stripe_server: Stripe, client: stripe.StripeClient, customer: str, formula: str, window: str | None, expected: int
) -> None:
    asked: Any = {**CASTS, "default_aggregation": {"formula": formula}}
    asked |= {"event_time_window": window} if window else {}
    meter = client.v1.billing.meters.create(asked)
    hour = stripe_server.advance(0) // 3600 * 3600 - 3600
    for at, value in ((hour, "1"), (hour + 60, "2"), (hour + 3600, "4")):
        payload = {"stripe_customer_id": customer, "value": value}
        client.v1.billing.meter_events.create({"event_name": "casts", "payload": payload, "timestamp": at})
    stripe_server.advance(LAG)
    summaries = client.v1.billing.meters.event_summaries.list(
        meter.id, {"customer": customer, "start_time": hour, "end_time": hour + 7200}
    )
    assert [one.aggregated_value for one in summaries.data] == [expected]


def test_a_webhook_endpoint_is_made_changed_and_deleted(stripe_server: Stripe, client: stripe.StripeClient) -> None:
    with Receiver() as receiver, Receiver() as other:
        made = client.v1.webhook_endpoints.create(
            {"url": receiver.url, "enabled_events": ["customer.created"], "metadata": {"a": "b"}}
        )
        both = client.v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["*"]})
        assert made.secret
        assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id).to_dict()
        assert {one.id for one in client.v1.webhook_endpoints.list().data} == {made.id, both.id}
        someone = client.v1.customers.create({"name": "Rincewind"})
        client.v1.customers.update(someone.id, {"name": "Twoflower"})
        receiver.wait_for(1)
        other.wait_for(2)
        headers, body = receiver.got[0]
        assert stripe.Webhook.construct_event(body, headers["stripe-signature"], made.secret).type == "customer.created"
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, headers["stripe-signature"], str(both.secret))
        client.v1.webhook_endpoints.update(both.id, {"disabled": True})
        client.v1.webhook_endpoints.update(made.id, {"enabled_events": ["customer.deleted"], "url": receiver.url})
        client.v1.customers.update(someone.id, {"name": "Cohen"})
        client.v1.customers.delete(someone.id)
        receiver.wait_for(2)
        assert client.v1.webhook_endpoints.delete(made.id).deleted
        client.v1.webhook_endpoints.update(both.id, {"disabled": False})
        client.v1.customers.create({})
        other.wait_for(3)
        assert [event["type"] for event in receiver.events()] == ["customer.created", "customer.deleted"]
    with pytest.raises(stripe.InvalidRequestError, match="is no event type"):
        client.v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["customer created"]})  # type: ignore[list-item]


def test_an_event_destination_gets_thin_events(
    stripe_server: Stripe, client: stripe.StripeClient, tell: Callable[..., Any]
) -> None:
    with Receiver() as receiver, Receiver() as other:
        asked: Any = {
            "name": "Meters",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.billing.meter.error_report_triggered"],
            "webhook_endpoint": {"url": receiver.url},
            "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
        }
        destination = client.v2.core.event_destinations.create(asked)
        asked |= {"enabled_events": ["v1.billing.meter.no_meter_found"], "webhook_endpoint": {"url": other.url}}
        elsewhere = client.v2.core.event_destinations.create(asked)
        assert destination.webhook_endpoint
        secret = destination.webhook_endpoint.signing_secret
        tell(payload={"value": "1"}, identifier="bad")
        stripe_server.advance(LAG)
        receiver.wait_for(1)
        headers, body = receiver.got[0]
        stripe_server.faults(meter={"refuse_later": True})
        client.v1.billing.meter_events.create({"event_name": "nothing", "payload": {"value": "1"}})
        stripe_server.advance(LAG)
        other.wait_for(1)
        assert [one["type"] for one in other.events()] == ["v1.billing.meter.no_meter_found"]
        assert len(receiver.got) == 1
        client.v2.core.event_destinations.delete(elsewhere.id)
    notified = client.parse_event_notification(body, headers["stripe-signature"], str(secret))
    assert isinstance(notified, stripe.events.V1BillingMeterErrorReportTriggeredEventNotification)
    assert "data" not in receiver.events()[0]
    assert notified.fetch_event().data.reason.error_count == 1
    assert notified.fetch_related_object().event_name == "casts"
    (listed,) = client.v2.core.event_destinations.list({"include": ["webhook_endpoint.url"]}).data
    assert listed.webhook_endpoint
    assert (listed.webhook_endpoint.url, listed.webhook_endpoint.signing_secret) == (receiver.url, None)
    client.v2.core.event_destinations.update(listed.id, {"description": "x"})
    assert client.v2.core.event_destinations.disable(listed.id).status == "disabled"
    assert client.v2.core.event_destinations.delete(listed.id).id == destination.id


def test_who_wants_every_event_gets_thin_ones_too_with_one_secret(
    stripe_server: Stripe, client: stripe.StripeClient, tell: Callable[..., Any]
) -> None:
    with Receiver() as receiver:
        stripe_server.add_endpoint(receiver.url)
        tell(payload={"value": "1"})
        client.v1.customers.create({})
        stripe_server.advance(LAG)
        receiver.wait_for(2)
        got = {json.loads(body)["object"]: (headers["stripe-signature"], body) for headers, body in receiver.got}
    signature, body = got["v2.core.event"]
    notified = client.parse_event_notification(body, signature, stripe_server.webhook_secret)
    assert notified.type == "v1.billing.meter.error_report_triggered"
    signature, body = got["event"]
    assert stripe.Webhook.construct_event(body, signature, stripe_server.webhook_secret).type == "customer.created"


def test_thin_events_come_in_pages_by_their_time(
    stripe_server: Stripe, client: stripe.StripeClient, tell: Callable[..., Any]
) -> None:
    for _ in range(3):
        tell(payload={"value": "1"})
        stripe_server.advance(LAG)
    found = list(client.v2.core.events.list({"limit": 2}).auto_paging_iter())
    assert len({event.id for event in found}) == 3
    newest = found[0].created
    later = client.v2.core.events.list({"created": {"gte": newest}}).data
    assert [event.id for event in later] == [found[0].id]
    stripe_server.advance(31 * DAY)
    assert client.v2.core.events.list().data == []
