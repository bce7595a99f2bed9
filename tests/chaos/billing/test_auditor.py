"""The auditor itself: it says nothing of books that are right, and names each cent that is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.billing import auditor
from tests.chaos.billing.payers import Wish

RIGHT: dict[str, Any] = {
    # What the database says, by the table that a query is about.
    "payments_customer WHERE": [{"account_id": 2, "stripe_id": "cus_2"}],
    "payments_customer": [{"account_id": 1, "stripe_id": "cus_1"}, {"account_id": 2, "stripe_id": "cus_2"}],
    "* FROM payments_topup": [{"id": "t1", "intent_id": "pi_1", "cents": 500, "state": "succeeded"}],
    "accounts_credit": [
        {"account_id": 1, "kind": "topup", "cents": 500},
        {"account_id": 1, "kind": "refund", "cents": -30},
        {"account_id": 1, "kind": "dispute", "cents": -500},
        {"account_id": 1, "kind": "won", "cents": 500},
        {"account_id": 2, "kind": "grant", "cents": 900},
    ],
    "scope = 'credit'": [
        {"account_id": 1, "cap_cents": 470, "held_cents": 0, "captured_cents": 40},
        {"account_id": 2, "cap_cents": 900, "held_cents": 0, "captured_cents": 70},
    ],
    "e.kind = 'capture'": [{"account": 1, "cents": 40}, {"account": 2, "cents": 70}],
    # What the local Stripe has.
    "payment_intent": [{"id": "pi_1", "amount": 500, "status": "succeeded", "metadata": {"topup": "t1"}}],
    "charge": [
        {
            **{"id": "ch_1", "customer": "cus_1", "paid": True, "captured": True},
            **{"amount": 500, "amount_refunded": 30},
        }
    ],
    "dispute": [{"charge": "ch_1", "status": "won", "amount": 500}],
    "usage": [
        {"customer": "cus_2", "value": "60", "cancelled": False},
        {"customer": "cus_2", "value": "10", "cancelled": False},
        {"customer": "cus_2", "value": "99", "cancelled": True},
    ],
}


def audited(facts: dict[str, Any], folder: Path, *, wishes: tuple[Wish, ...] = (), manage: Any = None) -> list[str]:
    def rows(query: str) -> list[dict[str, Any]]:
        return next((facts[part] for part in facts if part in query), [])

    stripe = SimpleNamespace(objects=facts.__getitem__, local=lambda method, path: {"usage": facts["usage"]})
    accounts = {"prepaid": (1, "key"), "metered": (2, "key")}
    where = SimpleNamespace(
        rows=rows, stripe=stripe, accounts=accounts, folder=folder, manage=manage or (lambda command: "")
    )
    return auditor.audit(where, SimpleNamespace(done=wishes))  # type: ignore[arg-type]


def test_books_that_are_right_are_passed(tmp_path: Path) -> None:
    assert audited(RIGHT, tmp_path) == []


def second_payment(facts: dict[str, Any]) -> None:
    facts["payment_intent"].append(dict(facts["payment_intent"][0], id="pi_2"))


@pytest.mark.parametrize(
    ("doctor", "says"),
    [
        (second_payment, "has 2 payments"),
        (lambda f: f["payment_intent"][0].update(amount=501), "over 500, Stripe pi_1"),
        (lambda f: f["payment_intent"][0].update(metadata={"topup": "t9"}), "nothing is known of it"),
        (lambda f: f["payment_intent"][0].update(metadata={}), "is of no top-up"),
        (lambda f: f["payment_intent"].clear(), "succeeded without a payment"),
        (lambda f: f["payment_intent"][0].update(status="canceled"), "its payment canceled"),
        (lambda f: f["charge"][0].update(amount_refunded=31), "was credited 470; Stripe has 469"),
        (lambda f: f["dispute"][0].update(status="lost"), "was credited 470; Stripe has -30"),
        (lambda f: f["accounts_credit"].append({"account_id": 1, "kind": "topup", "cents": 1}), "was credited 471"),
        (lambda f: f["scope = 'credit'"][0].update(cap_cents=471), "cap 471, credits 470"),
        (lambda f: f["scope = 'credit'"][1].update(held_cents=5), "still holds 5"),
        (lambda f: f["usage"][0].update(value="61"), "captured 70, reported 71"),
        (lambda f: f["usage"][2].update(cancelled=False), "captured 70, reported 169"),
        (lambda f: f["e.kind = 'capture'"].pop(), "nothing was captured"),
        (lambda f: f.update({"state = 'pending'": [{"id": "evt_1"}]}), "still under way: 1 events"),
        (lambda f: f.update({"meterreport WHERE state = 'failed'": [{"id": 1, "error": "no"}]}), "reports failed: 1"),
    ],
)
def test_each_cent_that_is_elsewhere_is_named(
    tmp_path: Path, doctor: Callable[[dict[str, Any]], object], says: str
) -> None:
    facts = copy.deepcopy(RIGHT)
    doctor(facts)
    assert says in "\n".join(audited(facts, tmp_path))


def test_what_callers_commands_and_logs_tell_counts_too(tmp_path: Path) -> None:
    def manage(command: str) -> str:
        raise AssertionError(f"1 difference in {command}")

    (tmp_path / "web-1.log").write_text("a card 4242424242424242\n")
    (tmp_path / "stripe.log").write_text("a card 4242424242424242\n")  # its own, on its page
    refused = Wish("prepaid", "flat", {}, "key", refusals=["no answer"])
    found = audited(RIGHT, tmp_path, wishes=(refused,), manage=manage)
    assert found == [
        "prepaid flat: no answer",
        "verifyledger: 1 difference in verifyledger",
        "verifybilling: 1 difference in verifybilling",
        "web-1.log holds {'4242424242424242'}",
    ]
