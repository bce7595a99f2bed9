"""Subscriptions to metered prices, billed at the end of each period. Source: https://docs.stripe.com/api/subscriptions"""

from localstripe.clock import job
from localstripe.errors import ApiError, invalid
from localstripe.ids import new as new_id
from localstripe.lists import EXPANDERS, listed, paged
from localstripe.params import CREATED, LISTED, Bool, Enum, Hash, Int, Kind, List, Metadata, Text, merged_metadata
from localstripe.payments import customers
from localstripe.payments.payment_methods import usable
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from . import drafts, invoicing, periods
from .prices import plan_of

CHANGEABLE: dict[str, Kind] = {
    "cancel_at_period_end": Bool(),
    "collection_method": Enum("charge_automatically", "send_invoice"),
    "days_until_due": Int(least=0),
    "default_payment_method": Text(clear=True),
    "description": Text(clear=True, most=500),
    "metadata": Metadata(),
    "off_session": Bool(),
    "payment_behavior": Enum("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"),
    "proration_behavior": Enum("always_invoice", "create_prorations", "none"),
}
ANCHOR = Hash(
    {
        "day_of_month": Int(least=1, most=31, required=True),
        "hour": Int(least=0, most=23),
        "minute": Int(least=0, most=59),
        "month": Int(least=1, most=12),
        "second": Int(least=0, most=59),
    }
)


@api(
    "POST",
    "/v1/subscriptions",
    {
        **CHANGEABLE,
        "billing_cycle_anchor": Int(),
        "billing_cycle_anchor_config": ANCHOR,
        "billing_mode": Hash({"type": Enum("classic", "flexible", required=True)}),
        "currency": Text(),
        "customer": Text(required=True),
        "items": List(Hash({"metadata": Metadata(), "price": Text(required=True)}), most=20, required=True),
    },
)
def create_subscription(call: Call) -> Obj:
    world, now = call.world, call.world.clock.now()
    customer = world.store.customer(call["customer"], "customer")
    prices = [_price(world, item["price"], f"items[{place}][price]") for place, item in enumerate(call["items"])]
    if len({(price["currency"], str(price["recurring"]["interval"])) for price in prices}) > 1:
        raise invalid("All prices of a subscription must have the same currency and interval.", "items")
    _check_collection(call, call.get("collection_method", "charge_automatically"), call.get("days_until_due"))
    if call.get("default_payment_method"):
        usable(world, call["default_payment_method"], customer["id"])
    recurring = prices[0]["recurring"]
    anchor = _anchor(call, now, recurring)
    end = periods.next_end(anchor, now, recurring)
    mode = call.get("billing_mode", {"type": "flexible"})["type"]
    id = new_id("sub")
    subscription = world.new(
        "subscription",
        "sub",
        application=None,
        application_fee_percent=None,
        automatic_tax={"disabled_reason": None, "enabled": False, "liability": None},
        billing_cycle_anchor=anchor,
        billing_cycle_anchor_config=_config(call),
        billing_mode={
            "flexible": {"proration_discounts": "included"} if mode == "flexible" else None,
            "type": mode,
        },
        billing_schedules=[],
        billing_thresholds=None,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        cancellation_details={"comment": None, "feedback": None, "reason": None},
        collection_method=call.get("collection_method", "charge_automatically"),
        currency=prices[0]["currency"],
        customer=customer["id"],
        customer_account=None,
        days_until_due=call.get("days_until_due"),
        default_payment_method=call.get("default_payment_method"),
        default_source=None,
        default_tax_rates=[],
        description=call.get("description"),
        discounts=[],
        ended_at=None,
        id=id,
        invoice_settings={
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        items=listed([], f"/v1/subscription_items?subscription={id}"),
        latest_invoice=None,
        managed_payments=None,
        metadata=merged_metadata({}, call.get("metadata", {})),
        next_pending_invoice_item_invoice=None,
        on_behalf_of=None,
        pause_collection=None,
        payment_settings={
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        pending_invoice_item_interval=None,
        pending_setup_intent=None,
        pending_update=None,
        schedule=None,
        start_date=now,
        status="active",
        test_clock=None,
        transfer_data=None,
        trial_end=None,
        trial_settings={"end_behavior": {"missing_payment_method": "create_invoice"}},
        trial_start=None,
    )
    subscription["items"]["data"] = [
        _item(world, subscription, price, item.get("metadata", {}), now, end)
        for price, item in zip(prices, call["items"], strict=True)
    ]
    if customer["currency"] is None:
        customer["currency"] = subscription["currency"]
    world.emit("customer.subscription.created", subscription)
    if mode == "classic":  # whose first invoice is about nothing yet
        first = drafts.draft(world, subscription, "subscription_create", now, now)
        subscription["latest_invoice"] = first["id"]
        invoicing.finalize(world, first)
    if call.get("cancel_at_period_end"):
        _cancel_at_end(world, subscription, True)
    _schedule(world, subscription, end)
    return subscription


def _price(world: World, id: str, param: str) -> Obj:
    price = world.store.get("price", id, param)
    if not price["active"]:
        raise invalid(f"The price specified is inactive. This field only accepts active prices: {id}", param)
    if not price["recurring"] or price["recurring"]["usage_type"] != "metered":
        raise invalid("The local Stripe has subscriptions to recurring, metered prices only.", param)
    return price


def _check_collection(call: Call, method: str, days: int | None) -> None:
    if method == "send_invoice" and days is None:
        text = "If you are sending invoices you must also set `days_until_due`."
        raise ApiError(400, text, code="parameter_missing", param="days_until_due")
    if method == "charge_automatically" and "days_until_due" in call.params:
        raise invalid("`days_until_due` can only be set with collection_method=send_invoice.", "days_until_due")


def _anchor(call: Call, now: int, recurring: Obj) -> int:
    if (config := call.get("billing_cycle_anchor_config")) is not None:
        return periods.next_day(now, config)
    anchor: int = call.get("billing_cycle_anchor", now)
    if anchor < now:
        raise invalid("Invalid timestamp: must be an integer Unix timestamp in the future.", "billing_cycle_anchor")
    if anchor > periods.after(now, recurring["interval"], recurring["interval_count"]):
        text = "billing_cycle_anchor cannot be later than next natural billing date"
        raise invalid(text, "billing_cycle_anchor")
    return anchor


def _config(call: Call) -> Obj | None:
    given = call.get("billing_cycle_anchor_config")
    return {"hour": None, "minute": None, "month": None, "second": None, **given} if given else None


def _item(world: World, subscription: Obj, price: Obj, metadata: dict[str, str], start: int, end: int) -> Obj:
    item = world.new(
        "subscription_item",
        "si",
        14,
        billing_thresholds=None,
        current_period_end=end,
        current_period_start=start,
        discounts=[],
        metadata=merged_metadata({}, metadata),
        plan=plan_of(price),
        price=price,
        subscription=subscription["id"],
        tax_rates=[],
    )
    del item["livemode"]  # the only type without it
    return item


def period_of(subscription: Obj) -> tuple[int, int]:
    first = subscription["items"]["data"][0]
    return first["current_period_start"], first["current_period_end"]


def _schedule(world: World, subscription: Obj, end: int) -> None:
    world.at(end, _period_due, subscription["id"], end)


@job
def _period_due(world: World, subscription_id: str, end: int) -> None:
    subscription = world.store.get("subscription", subscription_id)
    if subscription["status"] != "canceled" and period_of(subscription)[1] == end:
        close(world, subscription, end)


def close(world: World, subscription: Obj, end: int) -> Obj:
    """End a period: invoice what was used in it, and begin the next."""
    start = period_of(subscription)[0]
    invoice = drafts.draft(world, subscription, "subscription_cycle", start, end)
    following = periods.next_end(subscription["billing_cycle_anchor"], end, _recurring(subscription))
    with world.updating(subscription, "customer.subscription.updated"):
        subscription["latest_invoice"] = invoice["id"]
        if not subscription["cancel_at_period_end"]:
            for item in subscription["items"]["data"]:
                item["current_period_start"], item["current_period_end"] = end, following
    world.at(invoice["automatically_finalizes_at"], _finalize_due, invoice["id"])
    if subscription["cancel_at_period_end"]:
        _end(world, subscription)
    else:
        _schedule(world, subscription, following)
    return invoice


def _recurring(subscription: Obj) -> Obj:
    found: Obj = subscription["items"]["data"][0]["price"]["recurring"]
    return found


@job
def _finalize_due(world: World, invoice_id: str) -> None:
    invoice = world.store.find(invoice_id)
    if invoice is not None and invoice["status"] == "draft" and invoice["auto_advance"]:
        invoicing.finalize(world, invoice)


@api(
    "GET",
    "/v1/subscriptions",
    {
        **LISTED,
        **CREATED,
        "collection_method": Enum("charge_automatically", "send_invoice"),
        "customer": Text(),
        "price": Text(),
        "status": Enum("active", "all", "canceled", "ended", "incomplete", "past_due", "paused", "trialing", "unpaid"),
    },
)
def list_subscriptions(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("collection_method", "customer")}
    status, price = call.get("status"), call.get("price")

    def fits(one: Obj) -> bool:
        if status == "ended":
            return bool(one["status"] == "canceled")
        shown = one["status"] != "canceled" if status is None else status in ("all", one["status"])
        return shown and (price is None or any(item["price"]["id"] == price for item in one["items"]["data"]))

    return paged(call, (one for one in call.world.store.all("subscription", **equal) if fits(one)))


@api("GET", "/v1/subscriptions/<id>")
def retrieve_subscription(call: Call, id: str) -> Obj:
    return call.world.store.get("subscription", id)


@api("POST", "/v1/subscriptions/<id>", CHANGEABLE)
def update_subscription(call: Call, id: str) -> Obj:
    world = call.world
    subscription = _living(call, id)
    method = call.get("collection_method", subscription["collection_method"])
    _check_collection(call, method, call.get("days_until_due", subscription["days_until_due"]))
    if call.get("default_payment_method"):
        usable(world, call["default_payment_method"], subscription["customer"])
    with world.updating(subscription, "customer.subscription.updated"):
        for name in ("collection_method", "days_until_due", "default_payment_method", "description"):
            if name in call.params:
                subscription[name] = call[name]
        if "metadata" in call.params:
            subscription["metadata"] = merged_metadata(subscription["metadata"], call["metadata"])
        if "cancel_at_period_end" in call.params:
            _cancel_at_end(world, subscription, call["cancel_at_period_end"])
    return subscription


def _living(call: Call, id: str) -> Obj:
    subscription = call.world.store.get("subscription", id)
    if subscription["status"] == "canceled":
        text = "A canceled subscription can only update its cancellation_details and metadata."
        raise ApiError(400, text, param="id")
    return subscription


def _cancel_at_end(world: World, subscription: Obj, cancels: bool) -> None:
    subscription["cancel_at_period_end"] = cancels
    subscription["cancel_at"] = period_of(subscription)[1] if cancels else None
    subscription["canceled_at"] = world.clock.now() if cancels else None
    reason = "cancellation_requested" if cancels else None
    subscription["cancellation_details"] = {**subscription["cancellation_details"], "reason": reason}


@api(
    "DELETE",
    "/v1/subscriptions/<id>",
    {
        "cancellation_details": Hash({"comment": Text(clear=True), "feedback": Text(clear=True)}),
        "invoice_now": Bool(),
        "prorate": Bool(),
    },
)
def cancel_subscription(call: Call, id: str) -> Obj:
    """End it now. What was used since the last invoice is billed only with `invoice_now`."""
    world = call.world
    subscription = call.world.store.get("subscription", id)
    if subscription["status"] == "canceled":
        raise ApiError(404, f"No such subscription: '{id}'", code="resource_missing", param="id")
    given = {"reason": "cancellation_requested", **call.get("cancellation_details", {})}
    subscription["cancellation_details"] = {**subscription["cancellation_details"], **given}
    if call.get("invoice_now"):
        invoice = drafts.draft(
            world, subscription, "subscription_update", period_of(subscription)[0], world.clock.now() + 1
        )
        subscription["latest_invoice"] = invoice["id"]
        world.at(invoice["automatically_finalizes_at"], _finalize_due, invoice["id"])
    _end(world, subscription)
    return subscription


def end_all(world: World, customer_id: str) -> None:
    """Have a customer's subscriptions end with it; what was not invoiced never is."""
    for subscription in list(world.store.all("subscription", customer=customer_id)):
        if subscription["status"] != "canceled":
            _end(world, subscription)
    for invoice in world.store.all("invoice", customer=customer_id, status="draft"):
        invoice["auto_advance"], invoice["automatically_finalizes_at"] = False, None


customers.WITH_CUSTOMER.append(end_all)


def _end(world: World, subscription: Obj) -> None:
    now = world.clock.now()
    subscription["status"], subscription["ended_at"] = "canceled", now
    subscription["canceled_at"] = subscription["canceled_at"] or now
    world.emit("customer.subscription.deleted", subscription)


@api("GET", "/v1/subscription_items", {**LISTED, "subscription": Text(required=True)})
def list_items(call: Call) -> Obj:
    subscription = call.world.store.get("subscription", call["subscription"], "subscription")
    return paged(call, subscription["items"]["data"])


@api("GET", "/v1/subscription_items/<id>")
def retrieve_item(call: Call, id: str) -> Obj:
    item = call.world.store.get("subscription_item", id)
    subscription = call.world.store.get("subscription", item["subscription"])
    # The one within the subscription is what its periods move; after a restart they are two.
    return next(one for one in subscription["items"]["data"] if one["id"] == id)


def _of_customer(world: World, customer: Obj) -> Obj:
    found = (one for one in world.store.all("subscription", customer=customer["id"]) if one["status"] != "canceled")
    return listed(found, f"/v1/customers/{customer['id']}/subscriptions")


EXPANDERS["customer", "subscriptions"] = _of_customer
