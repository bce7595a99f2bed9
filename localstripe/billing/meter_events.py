"""What is told to meters, and what is wrong with it, some of which is told later.

Source: https://docs.stripe.com/api/billing/meter-event/create,
https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#handle-meter-event-errors. The messages of
what is refused at once are those that users of the real service quote; the refusal of a known identifier has no code.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from localstripe.clock import job
from localstripe.errors import ApiError, invalid, no_such
from localstripe.ids import random_part
from localstripe.params import Enum, Hash, Int, Kind, Raw, Text
from localstripe.routing import Call, api
from localstripe.store import Obj

from . import thin
from .usage import UNIQUE, Used

if TYPE_CHECKING:
    from localstripe.world import World

OLDEST = 35 * 24 * 3600  # seconds
AHEAD = 5 * 60
DIGITS = 15
ERROR_REPORT, NO_METER = "v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"
REPORT_WINDOW = 10  # seconds that one error report is about


class Payload(Kind):
    """Strings by name."""

    def read(self, raw: Raw, path: str) -> dict[str, str]:
        if not isinstance(raw, dict):
            raise invalid("Invalid object", path)
        for name, value in raw.items():
            if not isinstance(value, str):
                raise invalid(f"Invalid string: {value}", f"{path}[{name}]", "parameter_invalid_string")
        return dict(raw)


@api(
    "POST",
    "/v1/billing/meter_events",
    {
        "event_name": Text(required=True, most=100),
        "identifier": Text(most=100),
        "payload": Payload(required=True),
        "timestamp": Int(),
    },
)
def create_meter_event(call: Call) -> Obj:
    world = call.world
    name, now = call["event_name"], world.clock.now()
    timestamp = call.get("timestamp", now)
    identifier = call.get("identifier") or random_part(32)
    meter = next(world.store.all("billing.meter", event_name=name, status="active"), None)
    lenient = world.faults["meter"]["refuse_later"]
    if not lenient:
        if meter is None:
            raise ApiError(400, f'No active meter found for event name "{name}".')
        _in_time(timestamp, now)
    if not world.usage.claim(identifier, world.clock.time()):
        raise ApiError(400, f"An event already exists with identifier {identifier}.")
    _receive(world, meter, name, identifier, call["payload"], timestamp)
    return {
        "object": "billing.meter_event",
        "created": now,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": call["payload"],
        "timestamp": timestamp,
    }


def _in_time(timestamp: int, now: int) -> None:
    if timestamp < now - OLDEST:
        text = "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to"
        raise invalid(f"{text} {now - OLDEST}.", "timestamp")
    if timestamp > now + AHEAD:
        text = "The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp less than or"
        raise invalid(f"{text} equal to {now + AHEAD}.", "timestamp")


def _receive(
    world: "World", meter: Obj | None, name: str, identifier: str, payload: dict[str, str], timestamp: int
) -> None:
    """Count an event that was answered with 200, or report later why it does not count."""
    now = world.clock.time()
    problem = _problem(world, meter, name, payload, timestamp)
    if problem is None and world.faults.befalls("meter", "async_errors"):
        customer = payload[meter["customer_mapping"]["event_payload_key"]] if meter else ""
        problem = ("meter_event_customer_not_found", f"Customer not found: {customer}.")
    if problem is not None:
        _report(world, meter, identifier, *problem)
        return
    assert meter is not None
    world.usage.add(
        Used(
            identifier=identifier,
            meter=meter["id"],
            customer=payload[meter["customer_mapping"]["event_payload_key"]],
            value=_value(meter, payload),
            timestamp=timestamp,
            received=now,
            counts_at=now + world.config.meter_lag,
        )
    )


def _problem(
    world: "World", meter: Obj | None, name: str, payload: dict[str, str], timestamp: int
) -> tuple[str, str] | None:
    if meter is None:
        archived = any(world.store.all("billing.meter", event_name=name))
        if archived:
            return "archived_meter", f"The meter with event_name {name} is inactive."
        return "no_meter", f"No meter was found matching event_name {name}."
    now = world.clock.now()
    if timestamp < now - OLDEST:
        return "timestamp_too_far_in_past", "The event timestamp is more than 35 days in the past."
    if timestamp > now + AHEAD:
        return "timestamp_in_future", "The event timestamp is more than 5 minutes in the future."
    key = meter["customer_mapping"]["event_payload_key"]
    if key not in payload:
        return "meter_event_no_customer_defined", f"Customer mapping key {key} not found in payload."
    customer = world.store.find(payload[key])
    if customer is None or customer["object"] != "customer" or customer.get("deleted"):
        return "meter_event_customer_not_found", f"Customer not found: {payload[key]}."
    return _bad_value(meter, payload)


def _bad_value(meter: Obj, payload: dict[str, str]) -> tuple[str, str] | None:
    key = meter["value_settings"]["event_payload_key"]
    if meter["default_aggregation"]["formula"] == "count" and key not in payload:
        return None
    text = payload.get(key, "")
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        return "meter_event_invalid_value", f"The value of {key} must be a whole number."
    if len(digits) > DIGITS:
        return "meter_event_value_too_many_digits", f"The value of {key} must have at most {DIGITS} digits."
    return None


def _value(meter: Obj, payload: dict[str, str]) -> Decimal:
    return Decimal(payload.get(meter["value_settings"]["event_payload_key"], "1"))


def _report(world: "World", meter: Obj | None, identifier: str, code: str, message: str) -> None:
    """Have an error reported with the others of its meter in the same ten seconds."""
    about = meter
    if meter is None and code == "archived_meter":
        about = next(world.store.all("billing.meter", status="inactive"), None)
    key = about["id"] if about else ""
    collected = world.meter_errors.setdefault(key, [])
    collected.append((code, message, identifier))
    if len(collected) == 1:
        world.after(world.config.meter_lag, _send_errors, key)


@job
def _send_errors(world: "World", key: str) -> None:
    collected = world.meter_errors.pop(key, [])
    end = (world.clock.now() // REPORT_WINDOW) * REPORT_WINDOW
    data = {
        "developer_message_summary": _summary(len(collected)),
        "reason": {"error_count": len(collected), "error_types": _grouped(collected)},
        "validation_end": thin.stamp(end),
        "validation_start": thin.stamp(end - REPORT_WINDOW),
    }
    related = {"id": key, "type": "billing.meter", "url": f"/v1/billing/meters/{key}"} if key else None
    thin.emit(world, ERROR_REPORT if key else NO_METER, data, related)


def _summary(count: int) -> str:
    return "There is 1 invalid event" if count == 1 else f"There are {count} invalid events"


def _grouped(collected: list[tuple[str, str, str]]) -> list[Obj]:
    grouped: dict[str, list[Any]] = {}
    for code, message, identifier in collected:
        grouped.setdefault(code, []).append({"error_message": message, "request": {"identifier": identifier}})
    return [
        {"code": code, "error_count": len(samples), "sample_errors": samples[:10]} for code, samples in grouped.items()
    ]


@api(
    "POST",
    "/v1/billing/meter_event_adjustments",
    {
        "cancel": Hash({"identifier": Text(most=100, required=True)}),
        "event_name": Text(required=True, most=100),
        "type": Enum("cancel", required=True),
    },
)
def adjust(call: Call) -> Obj:
    """Take an event back, within 24 hours of when it was told."""
    world = call.world
    identifier = call.get("cancel", {}).get("identifier")
    if identifier is None:
        raise ApiError(
            400, "Missing required param: cancel[identifier].", code="parameter_missing", param="cancel[identifier]"
        )
    used = world.usage.find(identifier)
    meter = world.store.find(used.meter) if used else None
    if used is None or meter is None or meter["event_name"] != call["event_name"] or used.cancelled:
        raise no_such("meter event", identifier, "cancel[identifier]")
    if world.clock.time() > used.received + UNIQUE:
        text = "Meter events can be cancelled within 24 hours of being received."
        raise invalid(text, "cancel[identifier]")
    used.cancelled = True
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": call["event_name"],
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }
