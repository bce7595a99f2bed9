"""What was read of Stripe may be folded late, twice and in any order: the end is the same.

Each fold reads the present state, but two that run at once may be folded the other way round. So here every state that
an object of Stripe's has had is folded, in an order that chance draws, some of them twice.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AccountEvent, Credit
from payments import cards, customers, disputes, refunds, topups
from payments.models import Dispute, Refund, TopUp

pytestmark = [pytest.mark.django_db, pytest.mark.once]
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "currency": "usd",
    "amount_received": 0,
    "livemode": False,
}
DECLINE: dict[str, str] = {"code": "card_declined", "decline_code": "insufficient_funds"}
REFUND: dict[str, Any] = {"id": "re_1", "object": "refund", "amount": 700, "currency": "usd", "payment_intent": "pi_1"}
DISPUTE: dict[str, Any] = {
    **{"id": "du_1", "object": "dispute", "amount": 1000, "currency": "usd", "payment_intent": "pi_1"},
    **{"reason": "fraudulent", "created": 1_790_000_000, "livemode": False},
}
PAGE: dict[str, Any] = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "payment",
    "livemode": False,
    "url": "https://pay/cs_1",
}


def intents(*statuses: str) -> list[dict[str, Any]]:
    paid: dict[str, dict[str, Any]] = {
        "succeeded": {"amount_received": 2500},
        "requires_payment_method": {"last_payment_error": DECLINE},
    }
    return [INTENT | {"status": status} | paid.get(status, {}) for status in statuses]


def pages(*statuses: str) -> list[dict[str, Any]]:
    """Return a page's states; who folds one finds its payment as it is by then."""
    return [PAGE | {"status": status, "payment_intent": "pi_1"} for status in statuses]


def each(thing: dict[str, Any], *statuses: str) -> list[dict[str, Any]]:
    return [thing | {"status": status} for status in statuses]


LIVES: dict[str, tuple[bool, list[dict[str, Any]]]] = {  # whether it is paid on a page, and what there was to read
    "paid with the saved card": (False, intents("processing", "succeeded")),
    "declined": (False, intents("processing", "requires_payment_method")),
    "declined, then tried again by somebody at Stripe": (False, intents("requires_payment_method", "succeeded")),
    "declined, then paid on the page": (
        True,
        intents("requires_payment_method", "processing", "succeeded") + pages("open", "complete"),
    ),
    "declined, then left": (True, intents("requires_payment_method") + pages("open", "expired")),
    "a refund by hand that fails": (
        False,
        intents("processing", "succeeded") + each(REFUND, "pending", "succeeded", "failed"),
    ),
    "refunded by hand, disputed and won": (
        False,
        intents("succeeded")
        + each(REFUND, "pending", "succeeded")
        + each(DISPUTE, "warning_needs_response", "needs_response", "under_review", "won"),
    ),
    "disputed and lost": (False, intents("processing", "succeeded") + each(DISPUTE, "needs_response", "lost")),
}
FOLDS: dict[str, Any] = {
    "payment_intent": topups.fold_intent,
    "checkout.session": cards.fold_session,
    "refund": refunds.fold_refund,
    "dispute": disputes.fold_dispute,
}


def end_of(account, topup) -> Any:
    topup.refresh_from_db()
    told = AccountEvent.objects.filter(account=account)
    if topup.state == TopUp.State.SUCCEEDED:  # before which a failure may have been told, or not
        told = told.exclude(kind=topups.FAILED)
    return {
        "topup": (topup.state, topup.intent_id, topup.refunded_cents, topup.code, topup.action_url, topup.message),
        "refunds": list(Refund.objects.values_list("refund_id", "state", "cents")),
        "disputes": list(Dispute.objects.values_list("id", "status", "cents")),
        "credit": sorted(Credit.objects.filter(account=account).values_list("kind", "cents")),
        "told": sorted(told.values_list("kind", flat=True)),
    }


@pytest.mark.parametrize("life", LIVES)
def test_any_order_of_what_was_read_comes_to_the_same_end(account, billing, monkeypatch, life):
    hosted, read = LIVES[life]
    customer = customers.begin(account)
    newest: dict[str, Any] = {}

    def folded(order: list[dict[str, Any]]) -> Any:
        with transaction.atomic():
            topup = TopUp.objects.create(customer=customer, cents=2500, origin="member", hosted=hosted)
            about = {"metadata": {"topup": str(topup.pk)}}
            ours = {"payment_intent": about, "checkout.session": about}
            newest.update([one for one in read if one["object"] == "payment_intent"][-1] | about)
            for one in order:
                FOLDS[one["object"]](one | ours.get(one["object"], {}))
            end = end_of(account, topup)
            transaction.set_rollback(True)
        return end

    monkeypatch.setattr(topups, "look_up", lambda intent: newest)
    expected = folded(read)

    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
    @given(st.permutations(read * 2))
    def any_order(order: list[dict[str, Any]]) -> None:
        assert folded(order) == expected

    any_order()
    paid = [cents for kind, cents in expected["credit"] if kind == "topup"]
    assert paid == ([2500] if "left" not in life and life != "declined" else [])
