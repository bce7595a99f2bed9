"""The control plane: what a test or a demo asks of the stand-in itself, under /_local/, with the secret key."""

import json
from typing import Any

from werkzeug.wrappers import Request, Response

from .routing import page
from .store import public
from .world import World


def answer(body: Any, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def body_of(request: Request) -> dict[str, Any]:
    found = request.get_json(force=True, silent=True)
    return found if isinstance(found, dict) else {}


@page("GET", "/_local/record")
def record(world: World, request: Request) -> Response:
    since = int(request.args.get("since", 0))
    with world.lock:
        shown = {"requests": world.record[since:], "webhooks": list(world.hooks.attempts), "faults": world.faults.hits}
        return answer(shown)


@page("GET", "/_local/faults")
def show_faults(world: World, request: Request) -> Response:
    return answer(world.faults.show())


@page("POST", "/_local/faults")
def set_faults(world: World, request: Request) -> Response:
    try:
        world.faults.update(body_of(request))
    except ValueError as error:
        return answer({"error": str(error)}, 422)
    return answer(world.faults.show())


@page("GET", "/_local/clock")
def show_clock(world: World, request: Request) -> Response:
    return answer({"now": world.clock.now()})


@page("POST", "/_local/clock")
def advance_clock(world: World, request: Request) -> Response:
    seconds = body_of(request).get("advance_seconds")
    if not isinstance(seconds, int | float) or seconds < 0:
        return answer({"error": "advance_seconds is a number of seconds, 0 or more"}, 422)
    world.clock.advance(seconds)
    return answer({"now": world.clock.now()})


@page("GET", "/_local/state")
def state(world: World, request: Request) -> Response:
    """All objects of the types asked for with ?kind=…, and how many there are of each type; and what meters got."""
    with world.lock:
        asked = {kind: [public(obj) for obj in world.store.all(kind)] for kind in request.args.getlist("kind")}
        return answer({"counts": world.store.counts(), "objects": asked, "usage": world.usage.show()})


@page("POST", "/_local/events/<id>/resend")
def resend(world: World, request: Request, id: str) -> Response:
    """Send an event again, as the dashboard's button does."""
    with world.lock:
        event = world.store.get("event", id)
        for endpoint in world.store.all("webhook_endpoint", status="enabled"):
            world.hooks.resend(event, endpoint["id"])
        return answer(public(event))


@page("POST", "/_local/endpoints")
def add_endpoint(world: World, request: Request) -> Response:
    """Have events sent to an address, signed with a secret of the asker's choice."""
    asked = body_of(request)
    if not str(asked.get("url", "")).startswith(("http://", "https://")):
        return answer({"error": "url is an http:// or https:// address"}, 422)
    with world.lock:
        events = asked.get("enabled_events") or ["*"]
        url, secret = asked["url"], asked.get("secret", "")
        everything = "*" in events
        endpoint = world.send_all(url, secret=secret) if everything else world.add_endpoint(url, events, secret=secret)
        return answer({**public(endpoint), "secret": endpoint["_secret"]})
