"""Events and event destinations of API v2, which bring only what has happened to what.

Source: https://docs.stripe.com/api/v2/core/events, https://docs.stripe.com/api/v2/core/event_destinations
"""

import datetime as dt
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from localstripe.errors import ApiError, invalid
from localstripe.ids import random_part
from localstripe.params import Enum, Hash, Int, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj

if TYPE_CHECKING:
    from localstripe.world import World

SENT_THIN = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
KEPT = 30 * 24 * 3600  # seconds that events can be read
PAGE: dict[str, Kind] = {"limit": Int(least=1, most=100), "page": Text()}
INCLUDE: dict[str, Kind] = {"include": List(Enum("webhook_endpoint.signing_secret", "webhook_endpoint.url"))}


def stamp(moment: float) -> str:
    """Return a time as API v2 writes it."""
    at = dt.datetime.fromtimestamp(moment, dt.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def emit(world: "World", type: str, data: Obj, related: Obj | None) -> Obj:
    """Make a thin event, and send it to the destinations; `data` is there for who fetches it."""
    event: Obj = {
        "id": f"evt_test_{random_part(44)}",
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": stamp(world.clock.time()),
        "data": data,
        "livemode": False,
        "reason": None,
        "snapshot_event": None,
        "type": type,
        "_at": world.clock.time(),
    }
    if related is not None:
        event["related_object"] = related
    world.store.add(event)
    world.hooks.send_thin(event)
    return event


def page_of(call: Call, found: list[Obj]) -> Obj:
    """Return a page of API v2: its address of the next is opaque to callers."""
    begin = int(call.get("page") or 0)
    limit = call.get("limit", 20)
    more = len(found) > begin + limit
    sent = {name: value for name, value in call.params.items() if name not in ("page", "expand")}
    query = urlencode(_flat({**sent, "page": str(begin + limit)}))
    return {"data": found[begin : begin + limit], "next_page_url": f"{call.path}?{query}" if more else None}


def _flat(params: Any, within: str = "") -> list[tuple[str, str]]:
    if isinstance(params, dict):
        pairs = params.items()
    elif isinstance(params, list):
        pairs = {str(number): one for number, one in enumerate(params)}.items()
    else:
        return [(within, str(params))]
    return [pair for name, value in pairs for pair in _flat(value, f"{within}[{name}]" if within else name)]


@api(
    "GET",
    "/v2/core/events",
    {
        **PAGE,
        "created": Hash({name: Text() for name in ("gt", "gte", "lt", "lte")}),
        "object_id": Text(),
        "types": List(Text(), most=20),
    },
)
def list_events(call: Call) -> Obj:
    world = call.world
    oldest = world.clock.time() - KEPT
    wanted = call.get("created", {})

    def fits(event: Obj) -> bool:
        at = event["created"]
        within = {
            "gt": lambda limit: at > limit,
            "gte": lambda limit: at >= limit,
            "lt": lambda limit: at < limit,
            "lte": lambda limit: at <= limit,
        }
        return (
            event["_at"] >= oldest
            and ("types" not in call.params or event["type"] in call["types"])
            and ("object_id" not in call.params or event.get("related_object", {}).get("id") == call["object_id"])
            and all(within[name](_normal(limit)) for name, limit in wanted.items())
        )

    return page_of(call, [event for event in world.store.all("v2.core.event") if fits(event)])


def _normal(given: str) -> str:
    """Return a time as `stamp` writes it, so that texts compare as times do."""
    try:
        at = dt.datetime.fromisoformat(given)
    except ValueError:
        raise invalid(f"Invalid timestamp: {given}", "created") from None
    return stamp(at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp())


@api("GET", "/v2/core/events/<id>")
def retrieve_event(call: Call, id: str) -> Obj:
    return call.world.store.get("v2.core.event", id)


CHANGEABLE: dict[str, Kind] = {
    "description": Text(),
    "enabled_events": List(Text()),
    "metadata": Metadata(),
    "name": Text(),
    **INCLUDE,
}


@api(
    "POST",
    "/v2/core/event_destinations",
    {
        **CHANGEABLE,
        "enabled_events": List(Text(), required=True),
        "event_payload": Enum("thin", required=True),
        "events_from": List(Text()),
        "name": Text(required=True),
        "type": Enum("webhook_endpoint", required=True),
        "webhook_endpoint": Hash({"url": Url(required=True)}, required=True),
    },
)
def create_destination(call: Call) -> Obj:
    destination = add_destination(
        call.world,
        call["webhook_endpoint"]["url"],
        call["enabled_events"],
        name=call["name"],
        description=call.get("description", ""),
        metadata=merged_metadata({}, call.get("metadata", {})),
    )
    return _shown(call, destination, secret=True)


def add_destination(
    world: "World", url: str, enabled_events: list[str], *, name: str, secret: str = "", **fields: Any
) -> Obj:
    if strange := [one for one in enabled_events if one not in SENT_THIN and one != "*"]:
        raise invalid(f"{strange[0]} is not a valid thin event type here.", "enabled_events")
    now = stamp(world.clock.time())
    destination: Obj = {
        "id": f"ed_test_{random_part(44)}",
        "object": "v2.core.event_destination",
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": now,
        "description": "",
        "enabled_events": enabled_events,
        "event_payload": "thin",
        "events_from": ["@self"],
        "livemode": False,
        "metadata": {},
        "name": name,
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": now,
        "webhook_endpoint": None,
        "_url": url,
        "_secret": secret or "whsec_" + random_part(32),
        **fields,
    }
    return world.store.add(destination)


def _shown(call: Call, destination: Obj, *, secret: bool = False) -> Obj:
    asked = call.get("include", [])
    shown: Obj = {}
    if "webhook_endpoint.url" in asked:
        shown["url"] = destination["_url"]
    if "webhook_endpoint.signing_secret" in asked and secret:
        shown["signing_secret"] = destination["_secret"]
    return {**destination, "webhook_endpoint": {"url": None, "signing_secret": None, **shown} if shown else None}


@api("GET", "/v2/core/event_destinations", {**PAGE, **INCLUDE})
def list_destinations(call: Call) -> Obj:
    found = [_shown(call, one) for one in call.world.store.all("v2.core.event_destination")]
    return page_of(call, found)


@api("GET", "/v2/core/event_destinations/<id>", INCLUDE)
def retrieve_destination(call: Call, id: str) -> Obj:
    return _shown(call, call.world.store.get("v2.core.event_destination", id))


@api(
    "POST",
    "/v2/core/event_destinations/<id>",
    {**CHANGEABLE, "webhook_endpoint": Hash({"url": Url(required=True)})},
)
def update_destination(call: Call, id: str) -> Obj:
    destination = call.world.store.get("v2.core.event_destination", id)
    for name in call.params.keys() & {"description", "enabled_events", "name"}:
        destination[name] = call[name]
    if "metadata" in call.params:
        destination["metadata"] = merged_metadata(destination["metadata"], call["metadata"])
    if "webhook_endpoint" in call.params:
        destination["_url"] = call["webhook_endpoint"]["url"]
    destination["updated"] = stamp(call.world.clock.time())
    return _shown(call, destination)


@api("POST", "/v2/core/event_destinations/<id>/disable", INCLUDE)
def disable_destination(call: Call, id: str) -> Obj:
    return _switch(call, id, "disabled")


@api("POST", "/v2/core/event_destinations/<id>/enable", INCLUDE)
def enable_destination(call: Call, id: str) -> Obj:
    return _switch(call, id, "enabled")


def _switch(call: Call, id: str, status: str) -> Obj:
    destination = call.world.store.get("v2.core.event_destination", id)
    destination["status"] = status
    destination["status_details"] = {"disabled": {"reason": "user"}} if status == "disabled" else None
    return _shown(call, destination)


@api("DELETE", "/v2/core/event_destinations/<id>")
def delete_destination(call: Call, id: str) -> Obj:
    call.world.store.remove(call.world.store.get("v2.core.event_destination", id))
    return {"id": id, "object": "v2.core.event_destination"}


__all__ = ["ApiError", "add_destination", "emit", "stamp"]
