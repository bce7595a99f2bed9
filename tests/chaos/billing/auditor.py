"""The verdict on money: what the local Stripe moved, what it was told of usage, and what our books say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.chaos.billing.payers import CARD, Payers
from tests.chaos.billing.shop import METERED, Shop

CAPTURED = """
    SELECT p.account_id AS account, COALESCE(SUM(e.cents), 0)::bigint AS cents
    FROM accounts_ledgerentry e JOIN accounts_budgetperiod p ON p.id = e.period_id
    WHERE e.kind = 'capture' AND e.on_credit GROUP BY p.account_id
"""
COUNTER = "SELECT account_id, cap_cents, held_cents, captured_cents FROM accounts_budgetperiod WHERE scope = 'credit'"
OPEN = {
    "casts": "SELECT id FROM casts_cast WHERE status IN ('queued', 'running')",
    "top-ups": "SELECT id FROM payments_topup WHERE state IN ('new', 'processing')",
    "refunds": "SELECT id FROM payments_refund WHERE state IN ('new', 'pending')",
    "events": "SELECT id FROM payments_stripeevent WHERE state = 'pending'",
    "reports": "SELECT id FROM payments_meterreport WHERE state IN ('new', 'doubtful')",
    "subscriptions": "SELECT id FROM payments_subscription WHERE state = 'new'",
}
FAILED = {
    "events": "SELECT id, error FROM payments_stripeevent WHERE state = 'failed'",
    "reports": "SELECT id, message AS error FROM payments_meterreport WHERE state = 'failed'",
    "casts": "SELECT id::text AS id, message AS error FROM casts_cast WHERE status_reason = 'internal_error'",
}


def under_way(where: Shop) -> dict[str, int]:
    """Return how many of each kind have not come to an end."""
    return {what: n for what, query in OPEN.items() if (n := len(where.rows(query)))}


def audit(where: Shop, payers: Payers) -> list[str]:
    """Return what is wrong, once all is quiet."""
    return [
        *(f"still under way: {n} {what}" for what, n in under_way(where).items()),
        *(f"{what} failed: {row['id']} {row['error']}" for what, query in FAILED.items() for row in where.rows(query)),
        *(f"{wish.account} {wish.spell_key}: {why}" for wish in payers.done for why in wish.refusals),
        *commands(where),
        *payments(where),
        *credits(where),
        *usage(where),
        *secrets_in_logs(where.folder),
    ]


def commands(where: Shop) -> list[str]:
    found = []
    for command in ("verifyledger", "verifybilling"):
        try:
            where.manage(command)
        except AssertionError as exc:
            found.append(f"{command}: {exc}")
    return found


def payments(where: Shop) -> list[str]:
    """Each top-up that was asked of Stripe is one payment there, of its amount, and has the same end."""
    found = []
    by_topup: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for intent in where.stripe.objects("payment_intent"):
        by_topup[intent["metadata"].get("topup", "")].append(intent)
    if strange := by_topup.pop("", []):
        found += [f"{intent['id']} is of no top-up" for intent in strange if not intent.get("invoice")]
    rows = {str(row["id"]): row for row in where.rows("SELECT * FROM payments_topup")}
    for topup_id, intents in by_topup.items():
        row = rows.get(topup_id)
        if row is None:
            found.append(f"top-up {topup_id} is paid, and nothing is known of it")
        elif len(intents) > 1:
            found.append(f"top-up {topup_id} has {len(intents)} payments")
        elif (intents[0]["id"], intents[0]["amount"]) != (row["intent_id"], row["cents"]):
            found.append(f"top-up {topup_id} has {row['intent_id']} over {row['cents']}, Stripe {intents[0]['id']}")
        elif (intents[0]["status"] == "succeeded") != (row["state"] == "succeeded"):
            found.append(f"top-up {topup_id} is {row['state']}, its payment {intents[0]['status']}")
    found += [
        f"top-up {key} succeeded without a payment" for key, row in rows.items() if paid_for_nothing(row, by_topup)
    ]
    return found


def paid_for_nothing(row: dict[str, Any], by_topup: dict[str, Any]) -> bool:
    return row["state"] == "succeeded" and str(row["id"]) not in by_topup


def credits(where: Shop) -> list[str]:
    """What was credited is what Stripe has moved; caps are what was credited, and nothing is held any more."""
    moved, caps, booked = moved_at_stripe(where), Counter[int](), Counter[int]()
    for row in where.rows("SELECT account_id, kind, cents FROM accounts_credit"):
        caps[row["account_id"]] += row["cents"]
        booked[row["account_id"]] += row["cents"] if row["kind"] not in ("grant", "paid") else 0
    found = [
        f"{name} was credited {booked[account]}; Stripe has {moved[account]}"
        for name, (account, _) in where.accounts.items()
        if booked[account] != moved[account]
    ]
    for row in where.rows(COUNTER):
        if row["cap_cents"] != caps[row["account_id"]]:
            found.append(f"account {row['account_id']}: cap {row['cap_cents']}, credits {caps[row['account_id']]}")
        if row["held_cents"]:
            found.append(f"account {row['account_id']} still holds {row['held_cents']}")
    return found


def moved_at_stripe(where: Shop) -> Counter[int]:
    """Return what each account has paid, less what was refunded or disputed and not won."""
    rows = where.rows("SELECT account_id, stripe_id FROM payments_customer")
    owner = {row["stripe_id"]: row["account_id"] for row in rows}
    moved: Counter[int] = Counter()
    payer: dict[str, int] = {}
    for charge in where.stripe.objects("charge"):
        payer[charge["id"]] = owner[charge["customer"]]
        if charge["paid"] and charge["captured"]:
            moved[payer[charge["id"]]] += charge["amount"] - charge["amount_refunded"]
    for dispute in where.stripe.objects("dispute"):
        if dispute["status"] != "won":
            moved[payer[dispute["charge"]]] -= dispute["amount"]
    return moved


def usage(where: Shop) -> list[str]:
    """What Stripe's meter has of each metered customer is what was captured, to the cent."""
    counted: Counter[str] = Counter()
    for one in where.stripe.local("GET", "state")["usage"]:
        counted[one["customer"]] += 0 if one["cancelled"] else int(one["value"])
    captured = {row["account"]: row["cents"] for row in where.rows(CAPTURED)}
    found = []
    for row in where.rows("SELECT account_id, stripe_id FROM payments_customer WHERE mode = 'metered'"):
        ours, theirs = captured.get(row["account_id"], 0), counted[row["stripe_id"]]
        if ours != theirs:
            found.append(f"account {row['account_id']}: captured {ours}, reported {theirs}")
        if not ours:
            found.append(f"account {row['account_id']}: nothing was captured, so nothing was tried")
    return found


def secrets_in_logs(folder: Path) -> list[str]:
    """No card's number, no e-mail address of a customer, no secret key."""
    wanted = re.compile(rf"{CARD['number']}|{METERED[0]['name']}@example\.com|sk_test_storm|whsec_storm")
    held = {log.name: set(wanted.findall(log.read_text(errors="replace"))) for log in sorted(folder.glob("w*.log"))}
    return [f"{name} holds {hits}" for name, hits in held.items() if hits]
