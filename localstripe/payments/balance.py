"""What the account has, and each change of it. Source: https://docs.stripe.com/api/balance_transactions"""

from localstripe.ids import new as new_id
from localstripe.lists import paged
from localstripe.params import CREATED, LISTED, Text
from localstripe.routing import Call, api
from localstripe.store import Obj
from localstripe.world import World

DAYS = 24 * 3600
DISPUTE_FEE = 1500


def fee_of(amount: int, currency: str) -> int:
    """Return 2.9 % and, where there are cents, 30 of them."""
    return (amount * 29 + 500) // 1000 + (30 if currency in ("usd", "eur", "gbp") else 0)


def book(
    world: World, kind: str, amount: int, currency: str, source: Obj, *, category: str, fee: int = 0, text: str = ""
) -> Obj:
    """Note a change of the balance; `amount` is negative for money that goes."""
    what = "Stripe processing fees" if kind == "charge" else "Dispute fee"
    details = [{"amount": fee, "application": None, "currency": currency, "description": what, "type": "stripe_fee"}]
    now = world.clock.now()
    # It has no `livemode`.
    return world.store.add(
        {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + 2 * DAYS if kind == "charge" else now,
            "balance_type": "payments",
            "created": now,
            "currency": currency,
            "description": text or None,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": details if fee else [],
            "net": amount - fee,
            "reporting_category": category,
            "source": source["id"],
            "status": "pending" if kind == "charge" else "available",
            "type": kind,
        }
    )


@api("GET", "/v1/balance_transactions", {**LISTED, **CREATED, "type": Text(), "source": Text(), "currency": Text()})
def list_transactions(call: Call) -> Obj:
    equal = {name: call.get(name) for name in ("type", "source", "currency")}
    return paged(call, call.world.store.all("balance_transaction", **equal))


@api("GET", "/v1/balance_transactions/<id>")
def retrieve_transaction(call: Call, id: str) -> Obj:
    return call.world.store.get("balance_transaction", id)


@api("GET", "/v1/balance")
def balance(call: Call) -> Obj:
    now = call.world.clock.now()
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for transaction in call.world.store.all("balance_transaction"):
        there = sums["available" if transaction["available_on"] <= now else "pending"]
        there[transaction["currency"]] = there.get(transaction["currency"], 0) + transaction["net"]
    for there in sums.values():
        there.setdefault(call.world.config.currency, 0)
    parts = {
        name: [{"amount": amount, "currency": currency, "source_types": {"card": amount}} for currency, amount in there]
        for name, there in ((name, sorted(found.items())) for name, found in sums.items())
    }
    return {"object": "balance", "livemode": False, **parts}


@api("GET", "/v1/account")
def account(call: Call) -> Obj:
    config = call.world.config
    return {
        "id": "acct_local",
        "object": "account",
        "business_profile": {"name": "Local Stripe"},
        "charges_enabled": True,
        "country": config.country,
        "created": 1_700_000_000,
        "default_currency": config.currency,
        "details_submitted": True,
        "email": "local@example.com",
        "payouts_enabled": True,
        "type": "standard",
    }
