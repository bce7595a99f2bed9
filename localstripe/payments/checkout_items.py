"""What a Checkout session in payment mode is for: its line items."""

from typing import Any

from localstripe import ids
from localstripe.errors import invalid, missing
from localstripe.params import Enum, Hash, Int, Metadata, Number, Text, merged_metadata
from localstripe.routing import Call
from localstripe.store import Obj
from localstripe.world import World

from . import currencies

PRICE_DATA = Hash(
    {
        "currency": Text(required=True),
        "product": Text(),
        "product_data": Hash({"name": Text(required=True), "description": Text(), "metadata": Metadata()}),
        "unit_amount": Int(least=0),
        "unit_amount_decimal": Number(),
        "tax_behavior": Enum("exclusive", "inclusive", "unspecified"),
    }
)
LINE_ITEM = Hash({"price": Text(), "price_data": PRICE_DATA, "quantity": Int(least=0), "metadata": Metadata()})


def line_items(call: Call) -> list[Obj]:
    items = [_line_item(call.world, given, f"line_items[{n}]") for n, given in enumerate(call.get("line_items", []))]
    if len({item["currency"] for item in items}) > 1:
        raise invalid("All prices of a Checkout Session must have the same currency.", "line_items")
    return items


def _line_item(world: World, given: dict[str, Any], path: str) -> Obj:
    if ("price" in given) == ("price_data" in given):
        raise missing(f"{path}[price]")
    if "price" in given:
        price = world.store.get("price", given["price"], f"{path}[price]")
        if price["type"] == "recurring":
            text = "You must provide at least one non-recurring price in `payment` mode when using prices."
            raise invalid(text, f"{path}[price]")
    else:
        price = _inline_price(world, given["price_data"], f"{path}[price_data]")
    product = world.store.find(price["product"])
    quantity = given.get("quantity", 1)
    amount = price["unit_amount"] * quantity
    return {
        "id": ids.new("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": product["name"] if product else None,
        "metadata": merged_metadata({}, given.get("metadata", {})),
        "price": price,
        "quantity": quantity,
    }


def _inline_price(world: World, given: dict[str, Any], path: str) -> Obj:
    if "unit_amount" not in given:
        raise missing(f"{path}[unit_amount]")
    currency = currencies.known(given["currency"], f"{path}[currency]")
    if "product" in given:
        product = world.store.get("product", given["product"], f"{path}[product]")
    elif "product_data" in given:
        data = given["product_data"]
        product = world.new(
            "product",
            "prod",
            14,
            active=False,
            default_price=None,
            description=data.get("description"),
            images=[],
            marketing_features=[],
            metadata=merged_metadata({}, data.get("metadata", {})),
            name=data["name"],
            package_dimensions=None,
            shippable=None,
            statement_descriptor=None,
            tax_code=None,
            type="service",
            unit_label=None,
            updated=world.clock.now(),
            url=None,
        )
    else:
        raise missing(f"{path}[product_data]")
    return world.new(
        "price",
        "price",
        active=False,
        billing_scheme="per_unit",
        currency=currency,
        custom_unit_amount=None,
        lookup_key=None,
        metadata={},
        nickname=None,
        product=product["id"],
        recurring=None,
        tax_behavior=given.get("tax_behavior", "unspecified"),
        tiers_mode=None,
        transform_quantity=None,
        type="one_time",
        unit_amount=given["unit_amount"],
        unit_amount_decimal=str(given["unit_amount"]),
    )
