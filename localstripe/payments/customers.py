"""Customers. Source: https://docs.stripe.com/api/customers"""

from collections.abc import Callable
from typing import Any

from localstripe.errors import invalid
from localstripe.ids import random_part
from localstripe.lists import paged
from localstripe.params import ADDRESS, CREATED, LISTED, Enum, Hash, Kind, List, Metadata, Text, merged_metadata
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

from .payment_methods import attach_to, check_attachable, find
from .searching import SEARCHED, search

NOT_ATTACHED = (
    "The customer does not have a payment method with this ID. The payment method must be attached to the customer."
)
# Called with the id of a customer that is deleted: what it has elsewhere ends with it.
WITH_CUSTOMER: list[Callable[[World, str], None]] = []
FIELDS: dict[str, Kind] = {
    "address": Hash({name: Text(clear=True) for name in ADDRESS}, clear=True),
    "description": Text(clear=True),
    "email": Text(clear=True, most=512),
    "name": Text(clear=True, most=256),
    "phone": Text(clear=True, most=20),
    "preferred_locales": List(Text()),
    "tax_exempt": Enum("exempt", "none", "reverse", clear=True),
    "metadata": Metadata(),
    "invoice_settings": Hash({"default_payment_method": Text(clear=True), "footer": Text(clear=True)}),
}


def make(world: World, **fields: Any) -> Obj:
    address = fields.pop("address", None)
    usual: Obj = {
        "address": {name: address.get(name) for name in ADDRESS} if address else None,
        "balance": 0,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": random_part(8).upper(),
        "invoice_settings": dict.fromkeys(["custom_fields", "default_payment_method", "footer", "rendering_options"]),
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    customer = world.new("customer", "cus", 14, **{**usual, **fields})
    world.indexed(customer)
    world.emit("customer.created", customer)
    return customer


@api("POST", "/v1/customers", {**FIELDS, "payment_method": Text()})
def create_customer(call: Call) -> Obj:
    given = dict(call.params)
    method, settings = given.pop("payment_method", None), given.pop("invoice_settings", {})
    if settings.get("default_payment_method") not in (None, method):
        raise invalid(NOT_ATTACHED, "invoice_settings[default_payment_method]", "resource_missing")
    given["metadata"] = merged_metadata({}, given.get("metadata", {}))
    given["tax_exempt"] = given.get("tax_exempt") or "none"
    if method is not None:
        card = find(call.world, method, "payment_method")
        check_attachable(card)
    customer = make(call.world, **given)
    if method is not None:
        attach_to(call.world, card, customer["id"])
        if settings.get("default_payment_method"):
            settings["default_payment_method"] = card["id"]
    customer["invoice_settings"] = {**customer["invoice_settings"], **settings}
    return customer


@api("GET", "/v1/customers", {**LISTED, **CREATED, "email": Text()})
def list_customers(call: Call) -> Obj:
    return paged(call, call.world.store.all("customer", email=call.get("email")))


@api("GET", "/v1/customers/search", SEARCHED)
def search_customers(call: Call) -> Obj:
    return search(call, "customer", {"created", "email", "name", "phone"})


@api("GET", "/v1/customers/<id>")
def retrieve_customer(call: Call, id: str) -> Obj:
    return call.world.store.get("customer", id)


@api("POST", "/v1/customers/<id>", FIELDS)
def update_customer(call: Call, id: str) -> Obj:
    customer = call.world.store.customer(id)
    with call.world.updating(customer, "customer.updated"):
        for name, value in call.params.items():
            _set(call.world, customer, name, value)
    return call.world.indexed(customer)


def _set(world: World, customer: Obj, name: str, value: Any) -> None:
    if name == "metadata":
        customer["metadata"] = merged_metadata(customer["metadata"], value)
    elif name == "address" and value is not None:
        customer["address"] = {part: value.get(part) for part in ADDRESS}
    elif name == "invoice_settings":
        method_id = value.get("default_payment_method")
        method = world.store.find(method_id)
        if method_id is not None and (method is None or method.get("customer") != customer["id"]):
            raise invalid(NOT_ATTACHED, "invoice_settings[default_payment_method]", "resource_missing")
        customer["invoice_settings"] = {**customer["invoice_settings"], **value}
    elif name == "tax_exempt":
        customer[name] = value or "none"
    else:
        customer[name] = value


@api("DELETE", "/v1/customers/<id>")
def delete_customer(call: Call, id: str) -> Obj:
    customer = call.world.store.customer(id)
    for act in WITH_CUSTOMER:
        act(call.world, id)
    call.world.emit("customer.deleted", customer)
    for method in call.world.store.all("payment_method", customer=id):
        method["customer"], method["_used_up"] = None, True
    customer.clear()
    customer.update({"id": id, "object": "customer", "deleted": True})
    return customer
