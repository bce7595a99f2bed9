"""Prices, each a number of units times one amount. Source: https://docs.stripe.com/api/prices"""

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from localstripe.errors import ApiError, invalid, missing
from localstripe.lists import paged
from localstripe.params import (
    CREATED,
    LISTED,
    Bool,
    Enum,
    Hash,
    Int,
    Kind,
    List,
    Metadata,
    Number,
    Text,
    merged_metadata,
)
from localstripe.routing import Call, api
from localstripe.store import Obj

if TYPE_CHECKING:
    from localstripe.world import World

RECURRING = Hash(
    {
        "interval": Enum("day", "month", "week", "year", required=True),
        "interval_count": Int(least=1, most=1095),
        "meter": Text(),
        "trial_period_days": Int(least=0),
        "usage_type": Enum("licensed", "metered"),
    }
)
AMOUNT: dict[str, Kind] = {
    "currency": Text(required=True, pattern="[A-Za-z]{3}"),
    "recurring": RECURRING,
    "tax_behavior": Enum("exclusive", "inclusive", "unspecified"),
    "unit_amount": Int(),
    "unit_amount_decimal": Number(),
}
CHANGEABLE: dict[str, Kind] = {
    "active": Bool(),
    "lookup_key": Text(most=200, clear=True),
    "metadata": Metadata(),
    "nickname": Text(clear=True),
    "tax_behavior": Enum("exclusive", "inclusive", "unspecified"),
    "transfer_lookup_key": Bool(),
}


@api(
    "POST",
    "/v1/prices",
    {
        **AMOUNT,
        **CHANGEABLE,
        "billing_scheme": Enum("per_unit"),
        "product": Text(),
        "product_data": Hash(
            {
                "active": Bool(),
                "id": Text(),
                "metadata": Metadata(),
                "name": Text(required=True),
                "statement_descriptor": Text(),
                "tax_code": Text(),
                "unit_label": Text(),
            }
        ),
    },
)
def create_price(call: Call) -> Obj:
    from . import products  # which makes prices, too

    given = dict(call.params)
    new = given.pop("product_data", None)
    if (new is None) == ("product" not in given):
        raise missing("product") if new is None else invalid("Send product or product_data, not both.", "product")
    checked(call.world, given)
    _taken(call.world, given, "")  # before there is a product
    if new is not None:
        given["product"] = products.make(call, new)["id"]
    return make(call, given)


def checked(world: "World", given: Obj) -> None:
    """Raise Stripe's error for what a price can't be."""
    if "product" in given:
        world.store.get("product", given["product"], "product")
    if ("unit_amount" in given) == ("unit_amount_decimal" in given):
        raise missing("unit_amount")
    if exact_amount(given) < 0:
        raise invalid("This value must be greater than or equal to 0.", "unit_amount", "parameter_invalid_integer")
    recurring = given.get("recurring") or {}
    metered = recurring.get("usage_type") == "metered"
    if metered and "meter" not in recurring:
        raise invalid("Metered prices must be backed by a meter.", "recurring[meter]")
    if not metered and "meter" in recurring:
        raise invalid("Only prices with usage_type metered have a meter.", "recurring[meter]")
    if metered:
        meter = world.store.get("billing.meter", recurring["meter"], "recurring[meter]")
        if meter["status"] != "active":
            raise invalid(f"The meter {meter['id']} is inactive.", "recurring[meter]")


def make(call: Call, given: Obj) -> Obj:
    """Return a new price; its parameters are parsed, and `product` is there."""
    world = call.world
    checked(world, given)
    amount = exact_amount(given)
    recurring = given.get("recurring")
    price: Obj = {
        "active": given.get("active", True),
        "billing_scheme": "per_unit",
        "currency": given["currency"].lower(),
        "custom_unit_amount": None,
        "lookup_key": None,
        "metadata": merged_metadata({}, given.get("metadata", {})),
        "nickname": given.get("nickname"),
        "product": given["product"],
        "recurring": None,
        "tax_behavior": given.get("tax_behavior", "unspecified"),
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": int(amount) if amount == int(amount) else None,
        "unit_amount_decimal": plain(amount),
    }
    if recurring:
        usual = {"interval_count": 1, "meter": None, "trial_period_days": None, "usage_type": "licensed"}
        price["recurring"] = {**usual, **recurring}
    taken = _taken(world, given, "")
    price = world.new("price", "price", **price)
    _give_key(world, price, given, taken)
    world.emit("price.created", price)
    return world.indexed(price)


def exact_amount(given: Obj) -> Decimal:
    return Decimal(given["unit_amount"] if "unit_amount" in given else given["unit_amount_decimal"])


def _taken(world: "World", given: Obj, id: str) -> Obj | None:
    """Return the price that has the wanted lookup key, if it may be moved away from it."""
    key = given.get("lookup_key")
    holder = next(world.store.all("price", lookup_key=key), None) if key else None
    if holder is None or holder["id"] == id:
        return None
    if not given.get("transfer_lookup_key"):
        raise ApiError(400, f"A price (`{holder['id']}`) already uses that lookup key.", param="lookup_key")
    return holder


def _give_key(world: "World", price: Obj, given: Obj, holder: Obj | None) -> None:
    if holder is not None:
        with world.updating(holder, "price.updated"):
            holder["lookup_key"] = None
    if "lookup_key" in given:
        price["lookup_key"] = given["lookup_key"]


@api(
    "GET",
    "/v1/prices",
    {
        **LISTED,
        **CREATED,
        "active": Bool(),
        "currency": Text(),
        "lookup_keys": List(Text(), most=10),
        "product": Text(),
        "recurring": Hash({name: Text() for name in ("interval", "meter", "usage_type")}),
        "type": Enum("one_time", "recurring"),
    },
)
def list_prices(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("active", "currency", "product", "type")}
    keys, wanted = call.get("lookup_keys"), call.get("recurring", {})

    def fits(price: Obj) -> bool:
        recurring = price["recurring"] or {}
        return (keys is None or price["lookup_key"] in keys) and all(
            recurring.get(name) == value for name, value in wanted.items()
        )

    return paged(call, (price for price in call.world.store.all("price", **equal) if fits(price)))


@api("GET", "/v1/prices/<id>")
def retrieve_price(call: Call, id: str) -> Obj:
    return call.world.store.get("price", id)


@api("POST", "/v1/prices/<id>", CHANGEABLE)
def update_price(call: Call, id: str) -> Obj:
    world, given = call.world, call.params
    price = world.store.get("price", id)
    taken = _taken(world, given, id)
    with world.updating(price, "price.updated"):
        _give_key(world, price, given, taken)
        for name in given.keys() - {"lookup_key", "transfer_lookup_key"}:
            price[name] = merged_metadata(price["metadata"], given[name]) if name == "metadata" else given[name]
    return world.indexed(price)


def amount_of(price: Obj, quantity: Decimal) -> int:
    """Return what so many units cost, in the smallest unit of the currency."""
    exact = quantity * Decimal(price["unit_amount_decimal"])
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def plain(number: Decimal) -> str:
    """Return a decimal as Stripe writes it: no exponent, no zeros at its end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def plan_of(price: Obj) -> Obj:
    """Return the plan that a price is to older readers."""
    recurring: Any = price["recurring"]
    return {
        **{name: price[name] for name in ("active", "billing_scheme", "created", "currency", "id", "livemode")},
        **{name: price[name] for name in ("metadata", "nickname", "product", "tiers_mode")},
        **{
            name: recurring[name] for name in ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
        },
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "object": "plan",
        "transform_usage": None,
    }
