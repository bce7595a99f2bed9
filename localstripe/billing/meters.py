"""Billing meters and what they have counted. Source: https://docs.stripe.com/api/billing/meter,
https://docs.stripe.com/api/billing/meter-event-summary
"""

from decimal import Decimal

from localstripe.errors import ApiError, invalid
from localstripe.lists import paged
from localstripe.params import LISTED, Enum, Hash, Int, Text
from localstripe.routing import Call, api
from localstripe.store import Obj

HOUR, DAY = 3600, 86400
WINDOWS = {"hour": HOUR, "day": DAY}


@api(
    "POST",
    "/v1/billing/meters",
    {
        "customer_mapping": Hash({"event_payload_key": Text(required=True), "type": Enum("by_id", required=True)}),
        "default_aggregation": Hash({"formula": Enum("count", "last", "sum", required=True)}, required=True),
        "display_name": Text(required=True, most=250),
        "event_name": Text(required=True, most=100),
        "event_time_window": Enum("day", "hour"),
        "value_settings": Hash({"event_payload_key": Text(required=True)}),
    },
)
def create_meter(call: Call) -> Obj:
    world = call.world
    name = call["event_name"]
    if any(world.store.all("billing.meter", event_name=name, status="active")):
        raise invalid(f"There is already an active meter with the event name {name}.", "event_name")
    meter = world.new(
        "billing.meter",
        "mtr_test",
        32,
        customer_mapping=call.get("customer_mapping", {"event_payload_key": "stripe_customer_id", "type": "by_id"}),
        default_aggregation=call["default_aggregation"],
        display_name=call["display_name"],
        event_name=name,
        event_time_window=call.get("event_time_window"),
        status="active",
        status_transitions={"deactivated_at": None},
        updated=world.clock.now(),
        value_settings=call.get("value_settings", {"event_payload_key": "value"}),
    )
    world.emit("billing.meter.created", meter)
    return meter


@api("GET", "/v1/billing/meters", {**LISTED, "status": Enum("active", "inactive")})
def list_meters(call: Call) -> Obj:
    return paged(call, call.world.store.all("billing.meter", status=call.get("status")))


@api("GET", "/v1/billing/meters/<id>")
def retrieve_meter(call: Call, id: str) -> Obj:
    return call.world.store.get("billing.meter", id)


@api("POST", "/v1/billing/meters/<id>", {"display_name": Text(most=250)})
def update_meter(call: Call, id: str) -> Obj:
    meter = call.world.store.get("billing.meter", id)
    with call.world.updating(meter, "billing.meter.updated"):
        meter["display_name"] = call.get("display_name", meter["display_name"])
        meter["updated"] = call.world.clock.now()
    return meter


@api("POST", "/v1/billing/meters/<id>/deactivate")
def deactivate_meter(call: Call, id: str) -> Obj:
    return _switch(call, id, "inactive", "billing.meter.deactivated")


@api("POST", "/v1/billing/meters/<id>/reactivate")
def reactivate_meter(call: Call, id: str) -> Obj:
    meter = call.world.store.get("billing.meter", id)
    if any(call.world.store.all("billing.meter", event_name=meter["event_name"], status="active")):
        raise ApiError(400, f"There is already an active meter with the event name {meter['event_name']}.")
    return _switch(call, id, "active", "billing.meter.reactivated")


def _switch(call: Call, id: str, status: str, event: str) -> Obj:
    world = call.world
    meter = world.store.get("billing.meter", id)
    if meter["status"] == status:
        raise ApiError(400, f"The meter {id} is already {status}.")
    with world.updating(meter, event):
        meter["status"] = status
        meter["status_transitions"] = {"deactivated_at": world.clock.now() if status == "inactive" else None}
        meter["updated"] = world.clock.now()
    return meter


@api(
    "GET",
    "/v1/billing/meters/<id>/event_summaries",
    {
        **LISTED,
        "customer": Text(required=True),
        "end_time": Int(required=True),
        "start_time": Int(required=True),
        "value_grouping_window": Enum("day", "hour"),
    },
)
def list_summaries(call: Call, id: str) -> Obj:
    """Sum up what has been counted by now, which is later than when it was told.

    One summary, or one for each hour or day that has events, the latest first; none where nothing was counted.
    """
    world = call.world
    meter = world.store.get("billing.meter", id)
    start, end, window = call["start_time"], call["end_time"], call.get("value_grouping_window")
    _aligned(start, end, window)
    world.store.get("customer", call["customer"], "customer")
    step = WINDOWS.get(window, end - start)
    totals = world.usage.totals(meter, call["customer"], start, end, step, now=world.clock.time())
    return paged(
        call,
        (_summary(meter, call["customer"], at, at + step, totals[at]) for at in sorted(totals, reverse=True)),
    )


def _aligned(start: int, end: int, window: str | None) -> None:
    step, name = (WINDOWS[window], window) if window else (60, "minute")
    for param, moment in (("start_time", start), ("end_time", end)):
        if moment % step:
            near = "UTC day" if window == "day" else name
            raise invalid(f"Invalid {param}: {moment} must be aligned with {near} boundaries.", param)
    if end <= start:
        raise invalid("end_time must be after start_time.", "end_time")


def _summary(meter: Obj, customer: str, start: int, end: int, total: Decimal) -> Obj:
    return {
        "id": f"mtrusg_test_{meter['id'][-8:]}{customer[-8:]}{start:x}{end:x}",
        "object": "billing.meter_event_summary",
        "aggregated_value": int(total) if total == int(total) else float(total),
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
        "start_time": start,
    }
