from markupsafe import Markup, escape
from werkzeug.wrappers import Request, Response

from localstripe.pages import html, message
from localstripe.routing import page
from localstripe.world import World

from .currencies import written


@page("GET", "/receipts/<id>")
def receipt(world: World, request: Request, id: str) -> Response:
    with world.lock:
        charge = world.store.find(id)
        if charge is None or charge["object"] != "charge" or not charge["paid"]:
            return message("No such receipt", "The local Stripe has no such receipt.", 404)
        card = charge["payment_method_details"]["card"]
        amount = written(charge["amount"], charge["currency"])
        rows = Markup("<p>{} paid with {} ending in {}.</p>").format(amount, card["brand"].title(), card["last4"])
        if charge["amount_refunded"]:
            rows += Markup("<p>{} refunded.</p>").format(written(charge["amount_refunded"], charge["currency"]))
        return html("Receipt", Markup("<h1>Receipt</h1>") + rows + escape(charge["description"] or ""))
