"""Refunds and disputes: money that goes back."""

from typing import Any

import pytest
import stripe

from tests.stripes import Stripe


@pytest.fixture
def paid(client: stripe.StripeClient, customer: str) -> Any:
    def pay(token: str = "pm_card_visa", amount: int = 1000) -> stripe.PaymentIntent:
        return client.v1.payment_intents.create(
            {
                "amount": amount,
                "currency": "usd",
                "customer": customer,
                "payment_method": token,
                "allowed_payment_method_types": ["card"],
                "confirm": True,
            }
        )

    return pay


def balance(client: stripe.StripeClient) -> int:
    found: Any = client.v1.balance.retrieve()
    return sum(part.amount for part in [*found.available, *found.pending])


def test_refunds_in_parts_until_nothing_is_left(stripe_server: Stripe, client: stripe.StripeClient, paid: Any) -> None:
    intent = paid()
    first = client.v1.refunds.create(
        {"payment_intent": intent.id, "amount": 400, "reason": "requested_by_customer", "metadata": {"refund": "1"}}
    )
    assert (first.status, first.amount, first.charge) == ("succeeded", 400, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError, match=r"\$6\.01\) is greater than unrefunded amount on charge"):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 601})
    second = client.v1.refunds.create({"payment_intent": intent.id})
    assert second.amount == 600
    charge: Any = client.v1.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})
    assert (charge.refunded, charge.amount_refunded) == (True, 1000)
    assert [one.id for one in charge.refunds.data] == [second.id, first.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"charge": intent.latest_charge})
    assert caught.value.code == "charge_already_refunded"
    stripe_server.advance(10)
    assert [one for one in stripe_server.events("") if "refund" in one] == [
        *["refund.created", "charge.refunded"] * 2,
        *["refund.updated", "charge.refund.updated"] * 2,
    ]
    assert balance(client) == -59  # the fee is not given back


@pytest.mark.parametrize(
    ("token", "fault", "begins", "ends"),
    [
        ("pm_card_pendingRefund", "", "pending", "succeeded"),
        ("pm_card_refundFail", "", "succeeded", "failed"),
        ("pm_card_visa", "failed", "pending", "failed"),
    ],
)
def test_a_refund_that_ends_later(
    stripe_server: Stripe, client: stripe.StripeClient, paid: Any, token: str, fault: str, begins: str, ends: str
) -> None:
    stripe_server.faults(cards={"refunds": fault})
    intent = paid(token)
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == begins
    stripe_server.advance(10)
    found = client.v1.refunds.retrieve(refund.id)
    assert found.status == ends
    charge = client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, balance(client)) == ((0, 941) if ends == "failed" else (1000, -59))
    events = stripe_server.events("refund")
    assert events == ["refund.created", "refund.updated", *(["refund.failed"] if ends == "failed" else [])]


@pytest.mark.parametrize(("status", "left", "last"), [("won", 941, "closed"), ("lost", -1559, "closed")])
def test_a_dispute_takes_the_money_until_it_is_won(
    stripe_server: Stripe, client: stripe.StripeClient, paid: Any, status: str, left: int, last: str
) -> None:
    intent = paid("pm_card_createDispute")
    stripe_server.advance(5)
    (dispute,) = client.v1.disputes.list({"payment_intent": intent.id}).data
    assert (dispute.status, dispute.amount, dispute.reason) == ("needs_response", 1000, "fraudulent")
    assert [one.amount for one in dispute.balance_transactions] == [-1000]
    assert balance(client) == -1559
    assert client.v1.charges.retrieve(intent.latest_charge).disputed
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert caught.value.code == "charge_disputed"
    text: Any = {"uncategorized_text": "winning_evidence" if status == "won" else "losing_evidence"}
    assert client.v1.disputes.update(dispute.id, {"evidence": text}).status == status
    assert balance(client) == left
    reinstated = ["charge.dispute.funds_reinstated"] if status == "won" else []
    assert stripe_server.events("charge.dispute") == [
        *["charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"],
        *reinstated,
        f"charge.dispute.{last}",
    ]
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        client.v1.disputes.close(dispute.id)


def test_a_test_opens_and_decides_disputes(stripe_server: Stripe, client: stripe.StripeClient, paid: Any) -> None:
    intent = paid()
    opened = stripe_server.dispute(intent.id, amount=300, reason="product_not_received")
    assert (opened["amount"], opened["reason"]) == (300, "product_not_received")
    assert stripe_server.decide(opened["id"], "won")["status"] == "won"
    assert balance(client) == 941
    inquiry = stripe_server.dispute(paid().id, inquiry=True)
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    assert client.v1.disputes.close(inquiry["id"]).status == "warning_closed"
    answer = stripe_server.session.post(
        f"{stripe_server.url}/_local/disputes", json={"payment_intent": "pi_0"}, timeout=9
    )
    assert answer.status_code == 404
