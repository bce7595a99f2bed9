from .errors import no_such
from .lists import paged
from .params import CREATED, LISTED, Bool, List, Text
from .routing import Call, api
from .store import Obj

KEPT = 30 * 24 * 3600  # seconds that events can be read


@api(
    "GET",
    "/v1/events",
    {**LISTED, **CREATED, "type": Text(), "types": List(Text(), most=20), "delivery_success": Bool()},
)
def list_events(call: Call) -> Obj:
    wanted = call.get("types") or ([call["type"]] if "type" in call.params else [])
    delivered = call.get("delivery_success")
    since = call.world.clock.now() - KEPT

    def fits(event: Obj) -> bool:
        if delivered is not None and delivered != (event["pending_webhooks"] == 0):
            return False
        return event["created"] >= since and (not wanted or any(_is(event["type"], one) for one in wanted))

    return paged(call, (event for event in call.world.store.all("event") if fits(event)))


def _is(kind: str, wanted: str) -> bool:
    return kind.startswith(wanted[:-1]) if wanted.endswith("*") else kind == wanted


@api("GET", "/v1/events/<id>")
def retrieve_event(call: Call, id: str) -> Obj:
    event = call.world.store.get("event", id)
    if event["created"] < call.world.clock.now() - KEPT:
        raise no_such("event", id)
    return event
