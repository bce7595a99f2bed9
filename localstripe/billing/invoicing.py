"""How an invoice goes: draft, then open, then paid, void or uncollectible.

Source: https://docs.stripe.com/invoicing/integration/workflow-transitions,
https://docs.stripe.com/billing/invoices/subscription
"""

from decimal import Decimal
from typing import Any

from localstripe import ids
from localstripe.clock import job
from localstripe.errors import ApiError
from localstripe.lists import EXPANDERS, listed
from localstripe.payments import currencies, intents
from localstripe.payments.payment_methods import usable
from localstripe.store import Obj
from localstripe.world import World

from . import prices

RETRIES = (3 * 86_400, 5 * 86_400, 7 * 86_400)  # seconds after each failed payment
NO_CARD = (
    "This customer has no attached payment source or default payment method. Please consider adding a default payment "
    "method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-"
    "method-priority."
)


def draft(world: World, subscription: Obj, reason: str, start: int, end: int) -> Obj:
    """Make the invoice of a period: what was used in it, as far as that is known by now."""
    customer = world.store.get("customer", subscription["customer"])
    sends = subscription["collection_method"] == "send_invoice"
    now = world.clock.now()
    id = ids.new("in")
    invoice = world.new(
        "invoice",
        "in",
        account_country=world.config.country,
        account_name="Local Stripe",
        account_tax_ids=None,
        amount_overpaid=0,
        amount_paid=0,
        amount_shipping=0,
        application=None,
        attempt_count=0,
        attempted=False,
        auto_advance=True,
        automatic_tax={
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        automatically_finalizes_at=now + world.config.invoice_grace,
        billing_reason=reason,
        collection_method=subscription["collection_method"],
        currency=subscription["currency"],
        custom_fields=None,
        customer=customer["id"],
        customer_account=None,
        **{f"customer_{name}": customer[name] for name in ("address", "email", "name", "phone", "shipping")},
        customer_tax_exempt=customer["tax_exempt"],
        customer_tax_ids=[],
        default_payment_method=None,
        default_source=None,
        default_tax_rates=[],
        description=None,
        discounts=[],
        due_date=now + subscription["days_until_due"] * 86_400 if sends else None,
        effective_at=None,
        ending_balance=None,
        footer=customer["invoice_settings"]["footer"],
        from_invoice=None,
        hosted_invoice_url=None,
        id=id,
        invoice_pdf=None,
        issuer={"type": "self"},
        last_finalization_error=None,
        latest_revision=None,
        lines=listed([], f"/v1/invoices/{id}/lines"),
        metadata={},
        next_payment_attempt=None if sends else now + world.config.invoice_grace,
        number=None,
        on_behalf_of=None,
        parent={
            "quote_details": None,
            "subscription_details": {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]},
            "type": "subscription_details",
        },
        payment_settings={"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        period_end=end,
        period_start=start,
        post_payment_credit_notes_amount=0,
        pre_payment_credit_notes_amount=0,
        receipt_number=None,
        rendering=None,
        shipping_cost=None,
        shipping_details=None,
        starting_balance=0,
        statement_descriptor=None,
        status="draft",
        status_transitions=dict.fromkeys(("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")),
        test_clock=None,
        total_discount_amounts=[],
        total_pretax_credit_amounts=[],
        total_taxes=[],
        webhooks_delivered_at=now,
        _subscription=subscription["id"],
        _usage=(start, end),
    )
    count_up(world, invoice)
    world.emit("invoice.created", invoice)
    return invoice


def count_up(world: World, invoice: Obj) -> None:
    """Take what has been counted by now into a draft's lines."""
    subscription = world.store.get("subscription", invoice["_subscription"])
    start, end = invoice["_usage"]
    known = {line["_item"]: line["id"] for line in invoice["lines"]["data"]}
    lines = []
    for item in subscription["items"]["data"]:
        meter = world.store.get("billing.meter", item["price"]["recurring"]["meter"])
        used = world.usage.total(meter, invoice["customer"], start, end, now=world.clock.time())
        line = _line(invoice, item, max(used, Decimal(0)), start, end)
        line["id"] = known.get(item["id"], line["id"])
        lines.append(line)
    invoice["lines"]["data"] = lines
    _total(invoice, sum(line["amount"] for line in lines))


def _line(invoice: Obj, item: Obj, quantity: Decimal, start: int, end: int) -> Obj:
    price = item["price"]
    amount = prices.amount_of(price, quantity)
    every = price["recurring"]["interval"]
    unit = currencies.written(price["unit_amount"], price["currency"]) if price["unit_amount"] is not None else "?"
    return {
        "id": ids.new("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{quantity} × {price['nickname'] or 'usage'} (at {unit} / {every})",  # noqa: RUF001 as Stripe's
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": dict(item["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": end, "start": start},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": int(quantity),
        "quantity_decimal": prices.plain(quantity),
        "subscription": item["subscription"],
        "subtotal": amount,
        "taxes": [],
        "_item": item["id"],
    }


def _total(invoice: Obj, amount: int) -> None:
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        invoice[name] = amount
    _due(invoice, max(0, amount + invoice["starting_balance"]))


def _due(invoice: Obj, amount: int) -> None:
    invoice["amount_due"], invoice["amount_remaining"] = amount, amount - invoice["amount_paid"]


def finalize(world: World, invoice: Obj, *, collects: bool = True) -> None:
    """Make a draft final: from here on its amounts stay, and it is to be paid."""
    customer = world.store.get("customer", invoice["customer"])
    with world.updating(invoice, "invoice.updated"):
        count_up(world, invoice)
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
    _due(invoice, charged)
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
