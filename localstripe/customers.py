"""Customers. Source: https://docs.stripe.com/api/customers"""

from typing import Any

from .errors import no_such
from .ids import random_part
from .lists import paged
from .params import CREATED, LISTED, Enum, Hash, Kind, List, Metadata, Text, merged_metadata
from .routing import Call, api
from .store import Obj

ADDRESS = {name: Text(clear=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")}
FIELDS: dict[str, Kind] = {
    "address": Hash(ADDRESS, clear=True),
    "description": Text(clear=True),
    "email": Text(clear=True, most=512),
    "name": Text(clear=True, most=256),
    "phone": Text(clear=True, most=20),
    "preferred_locales": List(Text()),
    "tax_exempt": Enum("exempt", "none", "reverse", clear=True),
    "metadata": Metadata(),
    "invoice_settings": Hash({"default_payment_method": Text(clear=True), "footer": Text(clear=True)}),
}


@api("POST", "/v1/customers", {**FIELDS, "payment_method": Text()})
def create_customer(call: Call) -> Obj:
    world = call.world
    address = call.get("address")
    customer = world.new(
        "customer",
        "cus",
        14,
        address={name: (address or {}).get(name) for name in ADDRESS} if address else None,
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        description=call.get("description"),
        email=call.get("email"),
        invoice_prefix=random_part(8).upper(),
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        metadata=merged_metadata({}, call.get("metadata", {})),
        name=call.get("name"),
        next_invoice_sequence=1,
        phone=call.get("phone"),
        preferred_locales=call.get("preferred_locales", []),
        shipping=None,
        tax_exempt=call.get("tax_exempt") or "none",
        test_clock=None,
    )
    world.indexed(customer)
    world.emit("customer.created", customer)
    return customer


@api("GET", "/v1/customers", {**LISTED, **CREATED, "email": Text()})
def list_customers(call: Call) -> Obj:
    return paged(call, call.world.store.all("customer", email=call.get("email")))


def living(call: Call, id: str, param: str = "id") -> Obj:
    """Return a customer that was not deleted. Raise Stripe's error if there is none."""
    customer = call.world.store.get("customer", id, param)
    if customer.get("deleted"):
        raise no_such("customer", id, param)
    return customer


@api("GET", "/v1/customers/<id>")
def retrieve_customer(call: Call, id: str) -> Obj:
    return call.world.store.get("customer", id)


@api("POST", "/v1/customers/<id>", FIELDS)
def update_customer(call: Call, id: str) -> Obj:
    customer = living(call, id)
    with call.world.updating(customer, "customer.updated"):
        for name, value in call.params.items():
            _set(customer, name, value)
    return call.world.indexed(customer)


def _set(customer: Obj, name: str, value: Any) -> None:
    if name == "metadata":
        customer["metadata"] = merged_metadata(customer["metadata"], value)
    elif name == "address" and value is not None:
        customer["address"] = {part: value.get(part) for part in ADDRESS}
    elif name == "invoice_settings":
        customer["invoice_settings"] = {**customer["invoice_settings"], **value}
    else:
        customer[name] = value


@api("DELETE", "/v1/customers/<id>")
def delete_customer(call: Call, id: str) -> Obj:
    customer = living(call, id)
    call.world.emit("customer.deleted", customer)
    customer.clear()
    customer.update({"id": id, "object": "customer", "deleted": True})
    return customer
