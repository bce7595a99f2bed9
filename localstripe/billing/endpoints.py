"""Webhook endpoints. Source: https://docs.stripe.com/api/webhook_endpoints"""

import re

from localstripe.errors import ApiError, invalid
from localstripe.lists import paged
from localstripe.params import LISTED, Bool, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj

MOST = 16  # endpoints of an account
FIELDS: dict[str, Kind] = {
    "description": Text(clear=True),
    "enabled_events": List(Text(), most=500),
    "metadata": Metadata(),
    "url": Url(),
}


@api(
    "POST",
    "/v1/webhook_endpoints",
    {
        **FIELDS,
        "api_version": Text(),
        "connect": Bool(),
        "enabled_events": List(Text(), most=500, required=True),
        "url": Url(required=True),
    },
)
def create_endpoint(call: Call) -> Obj:
    """The secret is in this answer, and in no other."""
    world = call.world
    _known(call["enabled_events"])
    if sum(1 for _ in world.store.all("webhook_endpoint")) >= MOST:
        raise ApiError(400, f"You have reached the maximum of {MOST} test webhook endpoints.")
    endpoint = world.add_endpoint(
        call["url"],
        call["enabled_events"],
        api_version=call.get("api_version"),
        description=call.get("description"),
        metadata=merged_metadata({}, call.get("metadata", {})),
    )
    return {**endpoint, "secret": endpoint["_secret"]}


def _known(types: list[str]) -> None:
    for place, one in enumerate(types):
        # Types of thin events, such as v1.billing.meter.no_meter_found, go to event destinations alone.
        if one != "*" and not re.fullmatch(r"(?!v\d\.)[a-z_]+(\.[a-z_]+)+", one):
            raise invalid(f"Invalid enabled_events[{place}]: {one} is no event type.", f"enabled_events[{place}]")


@api("GET", "/v1/webhook_endpoints", LISTED)
def list_endpoints(call: Call) -> Obj:
    return paged(call, call.world.store.all("webhook_endpoint"))


@api("GET", "/v1/webhook_endpoints/<id>")
def retrieve_endpoint(call: Call, id: str) -> Obj:
    return call.world.store.get("webhook_endpoint", id)


@api("POST", "/v1/webhook_endpoints/<id>", {**FIELDS, "disabled": Bool()})
def update_endpoint(call: Call, id: str) -> Obj:
    endpoint = call.world.store.get("webhook_endpoint", id)
    _known(call.get("enabled_events", []))
    for name, value in call.params.items():
        if name == "disabled":
            endpoint["status"] = "disabled" if value else "enabled"
        else:
            endpoint[name] = merged_metadata(endpoint["metadata"], value) if name == "metadata" else value
    return endpoint


@api("DELETE", "/v1/webhook_endpoints/<id>")
def delete_endpoint(call: Call, id: str) -> Obj:
    call.world.store.remove(call.world.store.get("webhook_endpoint", id))
    return {"id": id, "object": "webhook_endpoint", "deleted": True}
