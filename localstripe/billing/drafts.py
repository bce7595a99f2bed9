"""Drafts of invoices: what was used in a period, line by line. Source: https://docs.stripe.com/api/invoices/object"""

from decimal import Decimal

from localstripe import ids
from localstripe.lists import listed
from localstripe.payments import currencies
from localstripe.store import Obj
from localstripe.world import World

from . import prices


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
    set_due(invoice, max(0, amount + invoice["starting_balance"]))


def set_due(invoice: Obj, amount: int) -> None:
    invoice["amount_due"], invoice["amount_remaining"] = amount, amount - invoice["amount_paid"]
