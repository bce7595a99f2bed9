"""How an invoice goes: draft, then open, then paid, void or uncollectible.

Source: https://docs.stripe.com/invoicing/integration/workflow-transitions,
https://docs.stripe.com/billing/invoices/subscription
"""

from typing import Any

from localstripe.clock import job
from localstripe.errors import ApiError
from localstripe.lists import EXPANDERS, listed
from localstripe.payments import currencies, intents
from localstripe.payments.payment_methods import usable
from localstripe.store import Obj
from localstripe.world import World

from . import drafts

RETRIES = (3 * 86_400, 5 * 86_400, 7 * 86_400)  # seconds after each failed payment
NO_CARD = (
    "This customer has no attached payment source or default payment method. Please consider adding a default payment "
    "method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-"
    "method-priority."
)


def finalize(world: World, invoice: Obj, *, collects: bool = True) -> None:
    """Make a draft final: from here on its amounts stay, and it is to be paid."""
    customer = world.store.get("customer", invoice["customer"])
    with world.updating(invoice, "invoice.updated"):
        drafts.count_up(world, invoice)
        _settle_balance(world, invoice, customer)
        number = customer["next_invoice_sequence"]
        customer["next_invoice_sequence"] = number + 1
        now = world.clock.now()
        invoice["number"] = f"{customer['invoice_prefix']}-{number:04}"
        invoice["status"], invoice["effective_at"] = "open", now
        invoice["automatically_finalizes_at"] = None
        invoice["status_transitions"] = {**invoice["status_transitions"], "finalized_at": now}
        page = f"{world.config.base_url}/i/{invoice['id']}"
        invoice["hosted_invoice_url"], invoice["invoice_pdf"] = page, f"{page}/pdf"
    world.emit("invoice.finalized", invoice)
    if not invoice["amount_due"]:
        _paid(world, invoice, 0)
        return
    _begin_payment(world, invoice)
    if invoice["collection_method"] == "send_invoice":
        world.emit("invoice.sent", invoice)
    elif collects and invoice["auto_advance"]:
        collect(world, invoice)


def _settle_balance(world: World, invoice: Obj, customer: Obj) -> None:
    """Take the customer's balance in; what is too little to be charged stays there for the next invoice."""
    starting = customer["balance"]
    owed = invoice["total"] + starting
    invoice["starting_balance"] = starting
    charged = owed if owed >= currencies.LEAST[invoice["currency"]] else 0
    invoice["ending_balance"] = 0 if charged else owed
    drafts.set_due(invoice, charged)
    if invoice["ending_balance"] != starting:
        with world.updating(customer, "customer.updated"):
            customer["balance"] = invoice["ending_balance"]


def _begin_payment(world: World, invoice: Obj) -> None:
    intent = intents.make(
        world,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description=f"Payment for Invoice {invoice['number']}",
        setup_future_usage="off_session",
        _invoice=invoice["id"],
    )
    world.new(
        "invoice_payment",
        "inpay",
        amount_paid=None,
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        payment={"payment_intent": intent["id"], "type": "payment_intent"},
        status="open",
        status_transitions={"canceled_at": None, "paid_at": None},
    )


def payment_of(world: World, invoice: Obj) -> Obj | None:
    return next(world.store.all("invoice_payment", invoice=invoice["id"], is_default=True), None)


def intent_of(world: World, invoice: Obj) -> Obj:
    payment = payment_of(world, invoice)
    assert payment is not None
    return world.store.get("payment_intent", payment["payment"]["payment_intent"])


def card_for(world: World, invoice: Obj) -> str | None:
    """Return the payment method that an invoice is paid with: its own, its subscription's, its customer's."""
    subscription = world.store.find(invoice["_subscription"]) or {}
    customer = world.store.get("customer", invoice["customer"])
    return (
        invoice["default_payment_method"]
        or subscription.get("default_payment_method")
        or (customer.get("invoice_settings") or {}).get("default_payment_method")
    )


def collect(world: World, invoice: Obj, method: str | None = None, *, off_session: bool = True) -> None:
    """Try to be paid. Nothing is raised: the invoice, and `intent_of` it, say what came of it."""
    found = _card(world, invoice, method or card_for(world, invoice))
    if found is None:
        _attempt_failed(world, invoice)
        return
    intent = intent_of(world, invoice)
    if intents.needs_authentication(found, off_session=off_session):
        intent["payment_method"] = found["id"]
        intents.ask_for_action(world, intent, invoice["hosted_invoice_url"])
        world.emit("invoice.payment_action_required", invoice)
        _attempt_failed(world, invoice)
        return
    try:
        intents.confirm(world, intent, found["id"], off_session=off_session)
    except ApiError as error:
        if error.type != "card_error":
            raise


def _card(world: World, invoice: Obj, id: str | None) -> Obj | None:
    try:
        return usable(world, id, invoice["customer"]) if id else None
    except ApiError:
        return None  # it was removed since


def _after_payment(world: World, intent: Obj) -> None:
    """What a payment's end means for its invoice, whether we asked for it or somebody at a hosted page did."""
    invoice = world.store.find(intent.get("_invoice"))
    if invoice is None or invoice["status"] not in ("open", "uncollectible"):
        return
    if intent["status"] == "succeeded":
        _paid(world, invoice, intent["amount"])
    elif intent["status"] == "requires_payment_method":
        _attempt_failed(world, invoice)


intents.AFTERWARDS.append(_after_payment)


def _paid(world: World, invoice: Obj, amount: int) -> None:
    now = world.clock.now()
    payment = payment_of(world, invoice)
    with world.updating(invoice, "invoice.updated"):
        invoice["status"], invoice["amount_paid"] = "paid", amount
        invoice["amount_remaining"] = invoice["amount_due"] - amount
        invoice["attempted"], invoice["next_payment_attempt"] = True, None
        invoice["attempt_count"] += 1 if amount else 0
        invoice["status_transitions"] = {**invoice["status_transitions"], "paid_at": now}
    if payment is not None:
        payment["status"], payment["amount_paid"] = "paid", amount
        payment["status_transitions"] = {"canceled_at": None, "paid_at": now}
        world.emit("invoice_payment.paid", payment)
    for event in ("invoice.paid", "invoice.payment_succeeded"):
        world.emit(event, invoice)
    _standing(world, invoice)


def pay_elsewhere(world: World, invoice: Obj) -> None:
    """Note that an invoice was paid outside of Stripe."""
    if (payment := payment_of(world, invoice)) is not None:
        intents.cancel(world, world.store.get("payment_intent", payment["payment"]["payment_intent"]), "void_invoice")
        payment["status"] = "canceled"
        payment["is_default"] = False
    _paid(world, invoice, invoice["amount_due"])


def _attempt_failed(world: World, invoice: Obj) -> None:
    now = world.clock.now()
    automatic = invoice["auto_advance"] and invoice["collection_method"] == "charge_automatically"
    with world.updating(invoice, "invoice.updated"):
        invoice["attempted"] = True
        invoice["attempt_count"] += 1
        tries = invoice["attempt_count"]
        wait = RETRIES[tries - 1] if automatic and tries <= len(RETRIES) else None
        invoice["next_payment_attempt"] = now + wait if wait else None
    world.emit("invoice.payment_failed", invoice)
    if wait:
        world.at(now + wait, _retry, invoice["id"], tries)
    _standing(world, invoice)


@job
def _retry(world: World, invoice_id: str, tries: int) -> None:
    invoice = world.store.get("invoice", invoice_id)
    if invoice["status"] == "open" and invoice["attempt_count"] == tries and invoice["auto_advance"]:
        collect(world, invoice)


def void(world: World, invoice: Obj) -> None:
    _end(world, invoice, "void", "voided_at", "invoice.voided")


def give_up(world: World, invoice: Obj) -> None:
    _end(world, invoice, "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible")


def _end(world: World, invoice: Obj, status: str, moment: str, event: str) -> None:
    if status == "void" and (payment := payment_of(world, invoice)) is not None:
        intent = intent_of(world, invoice)
        if intent["status"] in intents.CAN_CANCEL:
            intents.cancel(world, intent, "void_invoice")
        payment["status"] = "canceled"
        payment["status_transitions"] = {"canceled_at": world.clock.now(), "paid_at": None}
    with world.updating(invoice, "invoice.updated"):
        invoice["status"], invoice["next_payment_attempt"] = status, None
        invoice["auto_advance"] = False
        invoice["status_transitions"] = {**invoice["status_transitions"], moment: world.clock.now()}
        if status == "void":
            invoice["amount_remaining"] = invoice["amount_due"]
    world.emit(event, invoice)
    _standing(world, invoice)


def _standing(world: World, invoice: Obj) -> None:
    """Have the subscription say whether its latest invoice is owed."""
    subscription = world.store.find(invoice["_subscription"])
    if subscription is None or subscription["status"] not in ("active", "past_due"):
        return
    if subscription["latest_invoice"] != invoice["id"]:
        return
    owed = invoice["status"] in ("open", "uncollectible") and invoice["attempted"]
    with world.updating(subscription, "customer.subscription.updated"):
        subscription["status"] = "past_due" if owed else "active"


def _payments(world: World, invoice: Obj) -> Any:
    found = world.store.all("invoice_payment", invoice=invoice["id"])
    return listed(found, f"/v1/invoice_payments?invoice={invoice['id']}")


def _secret(world: World, invoice: Obj) -> Any:
    if payment_of(world, invoice) is None:
        return None
    return {"client_secret": intent_of(world, invoice)["client_secret"], "type": "payment_intent"}


EXPANDERS["invoice", "payments"] = _payments
EXPANDERS["invoice", "confirmation_secret"] = _secret
