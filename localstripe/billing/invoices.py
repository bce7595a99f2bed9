"""Routes of invoices. Source: https://docs.stripe.com/api/invoices"""

from localstripe.errors import ApiError
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, RANGE, Bool, Enum, Hash, Metadata, Text, merged_metadata
from localstripe.payments.payment_methods import usable
from localstripe.routing import Call, api
from localstripe.store import Obj

from . import invoicing

COLLECTION = Enum("charge_automatically", "send_invoice")
STATUS = Enum("draft", "open", "paid", "uncollectible", "void")


@api(
    "GET",
    "/v1/invoices",
    {
        **LISTED,
        **CREATED,
        "collection_method": COLLECTION,
        "customer": Text(),
        "due_date": RANGE,
        "status": STATUS,
        "subscription": Text(),
    },
)
def list_invoices(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("collection_method", "customer", "status")}
    return paged(call, call.world.store.all("invoice", **equal, _subscription=call.get("subscription")))


@api("GET", "/v1/invoices/<id>")
def retrieve_invoice(call: Call, id: str) -> Obj:
    return call.world.store.get("invoice", id)


@api("GET", "/v1/invoices/<id>/lines", LISTED)
def list_lines(call: Call, id: str) -> Obj:
    return paged(call, call.world.store.get("invoice", id)["lines"]["data"])


@api(
    "POST",
    "/v1/invoices/<id>",
    {
        "auto_advance": Bool(),
        "default_payment_method": Text(clear=True),
        "description": Text(clear=True),
        "footer": Text(clear=True),
        "metadata": Metadata(),
    },
)
def update_invoice(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["status"] != "draft" and call.params.keys() & {"description", "footer"}:
        raise ApiError(400, "Finalized invoices can't be updated in this way", code="invoice_not_editable")
    if call.get("default_payment_method"):
        usable(call.world, call["default_payment_method"], invoice["customer"])
    with call.world.updating(invoice, "invoice.updated"):
        for name, value in call.params.items():
            invoice[name] = merged_metadata(invoice["metadata"], value) if name == "metadata" else value
    return invoice


@api("DELETE", "/v1/invoices/<id>")
def delete_invoice(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["status"] != "draft" or invoice["_subscription"]:
        raise ApiError(400, "You can only delete draft invoices that belong to no subscription.")
    call.world.store.remove(invoice)
    call.world.emit("invoice.deleted", invoice)
    return {"id": id, "object": "invoice", "deleted": True}


@api("POST", "/v1/invoices/<id>/finalize", {"auto_advance": Bool()})
def finalize_invoice(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["status"] != "draft":
        raise ApiError(400, "This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    if "auto_advance" in call.params:
        invoice["auto_advance"] = call["auto_advance"]
    invoicing.finalize(call.world, invoice)
    return invoice


@api(
    "POST",
    "/v1/invoices/<id>/pay",
    {"forgive": Bool(), "off_session": Bool(), "paid_out_of_band": Bool(), "payment_method": Text()},
)
def pay_invoice(call: Call, id: str) -> Obj:
    """Try to take the money now. A declined card is a card error, and the invoice stays open."""
    world = call.world
    invoice = world.store.get("invoice", id)
    if invoice["status"] == "paid":
        raise ApiError(400, "Invoice is already paid")
    if invoice["status"] == "void":
        raise ApiError(400, "This invoice can no longer be paid: it is void.")
    method = call.get("payment_method") or invoicing.card_for(world, invoice)
    if method is not None:
        usable(world, method, invoice["customer"])
    if invoice["status"] == "draft":
        invoicing.finalize(world, invoice, collects=False)
    if invoice["status"] == "paid":
        return invoice
    if call.get("paid_out_of_band"):
        invoicing.pay_elsewhere(world, invoice)
        return invoice
    if method is None:
        raise ApiError(400, invoicing.NO_CARD, code="resource_missing")
    invoicing.collect(world, invoice, method, off_session=call.get("off_session", True))
    _raise_decline(call, invoice)
    return invoice


def _raise_decline(call: Call, invoice: Obj) -> None:
    if invoice["status"] == "paid":
        return
    intent = invoicing.intent_of(call.world, invoice)
    if intent["status"] == "requires_action":
        text = "This payment requires additional user action before it can be completed successfully."
        code = "invoice_payment_intent_requires_action"
        raise ApiError(402, text, type="card_error", code=code, payment_intent=intent)
    error = dict(intent["last_payment_error"] or {})
    text = error.pop("message", "Your card was declined.")
    for name in ("doc_url", "payment_intent", "request_log_url"):
        error.pop(name, None)
    raise ApiError(402, text, **error)


@api("POST", "/v1/invoices/<id>/void")
def void_invoice(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise ApiError(400, "You can only void open or uncollectible invoices. This invoice isn't open.")
    invoicing.void(call.world, invoice)
    return invoice


@api("POST", "/v1/invoices/<id>/mark_uncollectible")
def give_invoice_up(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["status"] != "open":
        raise ApiError(400, "You can only mark open invoices as uncollectible. This invoice isn't open.")
    invoicing.give_up(call.world, invoice)
    return invoice


@api("POST", "/v1/invoices/<id>/send")
def send_invoice(call: Call, id: str) -> Obj:
    invoice = call.world.store.get("invoice", id)
    if invoice["collection_method"] != "send_invoice":
        text = "You can only manually send an invoice if its collection method is 'send_invoice'."
        raise ApiError(400, text)
    if invoice["status"] == "draft":
        invoicing.finalize(call.world, invoice)
    else:
        call.world.emit("invoice.sent", invoice)
    return invoice


@api(
    "GET",
    "/v1/invoice_payments",
    {
        **LISTED,
        **CREATED,
        "invoice": Text(),
        "payment": Hash({"payment_intent": Text(), "type": Enum("payment_intent", required=True)}),
        "status": Enum("canceled", "open", "paid"),
    },
)
def list_payments(call: Call) -> Obj:
    wanted = call.get("payment", {}).get("payment_intent")
    found = call.world.store.all("invoice_payment", invoice=call.get("invoice"), status=call.get("status"))
    return paged(call, (one for one in found if wanted in (None, one["payment"]["payment_intent"])))


@api("GET", "/v1/invoice_payments/<id>")
def retrieve_payment(call: Call, id: str) -> Obj:
    return call.world.store.get("invoice_payment", id)
