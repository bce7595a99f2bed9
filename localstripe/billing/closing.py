"""What a test or a demo asks about periods: POST /_local/invoices/close ends one now."""

from werkzeug.wrappers import Request, Response

from localstripe.control import answer, body_of
from localstripe.routing import page
from localstripe.store import public
from localstripe.world import World

from . import invoicing, subscriptions


@page("POST", "/_local/invoices/close")
def close(world: World, request: Request) -> Response:
    """End a subscription's period, and have its invoice finalized and paid unless `finalize` is false."""
    asked = body_of(request)
    with world.lock:
        subscription = world.store.get("subscription", str(asked.get("subscription")))
        if subscription["status"] == "canceled":
            return answer({"error": "the subscription is canceled"}, 422)
        start, end = subscriptions.period_of(subscription)
        now = world.clock.now()
        if now <= start:
            return answer({"error": "the period has only just begun"}, 422)
        invoice = subscriptions.close(world, subscription, min(now, end))
        if asked.get("finalize", True):
            invoicing.finalize(world, invoice)
        return answer(public(invoice))
