"""Products. Source: https://docs.stripe.com/api/products"""

from localstripe.errors import ApiError, invalid
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, Bool, Enum, Hash, Kind, List, Metadata, Text, Url, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj

from . import prices

FIELDS: dict[str, Kind] = {
    "active": Bool(),
    "description": Text(clear=True),
    "images": List(Text(), most=8, clear=True),
    "metadata": Metadata(),
    "name": Text(),
    "shippable": Bool(),
    "statement_descriptor": Text(most=22),
    "tax_code": Text(clear=True),
    "unit_label": Text(most=12, clear=True),
    "url": Url(clear=True),
}
FILTERS: dict[str, Kind] = {"active": Bool(), "ids": List(Text()), "shippable": Bool(), "url": Text()}
INLINE: dict[str, Kind] = {  # the product of a price that is made with it
    **{name: FIELDS[name] for name in ("active", "metadata", "statement_descriptor", "tax_code", "unit_label")},
    "id": Text(),
    "name": Text(required=True),
}


@api(
    "POST",
    "/v1/products",
    {
        **FIELDS,
        "id": Text(),
        "name": Text(required=True),
        "type": Enum("good", "service"),
        "default_price_data": Hash({**prices.AMOUNT, "currency": Text(required=True), "metadata": Metadata()}),
    },
)
def create_product(call: Call) -> Obj:
    wanted = call.get("default_price_data")
    if wanted is not None:
        prices.checked(call.world, wanted)
    product = make(call, call.params)
    if wanted is not None:
        price = prices.make(call, {**wanted, "product": product["id"]})
        product["default_price"] = price["id"]
    return call.world.indexed(product)


def make(call: Call, given: Obj) -> Obj:
    """Return a new product; parameters are parsed, and `name` is there."""
    world = call.world
    if (id := given.get("id")) is not None and world.store.find(id) is not None:
        raise ApiError(400, f"Product already exists: {id}", code="resource_already_exists", param="id")
    now = world.clock.now()
    product = world.new(
        "product",
        "prod",
        14,
        **({"id": id} if id is not None else {}),
        active=given.get("active", True),
        default_price=None,
        description=given.get("description"),
        images=given.get("images") or [],
        marketing_features=[],
        metadata=merged_metadata({}, given.get("metadata", {})),
        name=given["name"],
        package_dimensions=None,
        shippable=given.get("shippable"),
        statement_descriptor=given.get("statement_descriptor"),
        tax_code=given.get("tax_code"),
        type=given.get("type", "service"),
        unit_label=given.get("unit_label"),
        updated=now,
        url=given.get("url"),
    )
    world.emit("product.created", product)
    return product


@api("GET", "/v1/products", {**LISTED, **CREATED, **FILTERS})
def list_products(call: Call) -> Obj:
    found = call.world.store.all("product", active=call.get("active"), url=call.get("url"))
    wanted = call.get("ids")
    return paged(call, (one for one in found if wanted is None or one["id"] in wanted))


@api("GET", "/v1/products/<id>")
def retrieve_product(call: Call, id: str) -> Obj:
    return call.world.store.get("product", id)


@api("POST", "/v1/products/<id>", {**FIELDS, "default_price": Text(clear=True)})
def update_product(call: Call, id: str) -> Obj:
    world = call.world
    product = world.store.get("product", id)
    default = call.get("default_price")
    if default is not None and world.store.get("price", default, "default_price")["product"] != id:
        raise invalid(f"The price {default} belongs to another product.", "default_price")
    with world.updating(product, "product.updated"):
        for name, value in call.params.items():
            product[name] = merged_metadata(product["metadata"], value) if name == "metadata" else value
        product["updated"] = world.clock.now()
    return world.indexed(product)


@api("DELETE", "/v1/products/<id>")
def delete_product(call: Call, id: str) -> Obj:
    world = call.world
    product = world.store.get("product", id)
    if any(world.store.all("price", product=id)):
        text = "This product cannot be deleted because it has one or more user-created prices."
        raise ApiError(400, text)
    world.store.remove(product)
    world.emit("product.deleted", product)
    return {"id": id, "object": "product", "deleted": True}
