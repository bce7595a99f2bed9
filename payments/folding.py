"""What becomes of an object of Stripe's that may have changed: it is retrieved, and its present state is folded.

The answer to a request, a webhook, a look and the sweep all end in the same functions. Each takes the whole object as
it is now, so it makes no difference how often it is called, or in which order Stripe told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from payments import client

if TYPE_CHECKING:
    from stripe import StripeClient

Retrieve = Callable[["StripeClient", str], Any]


@dataclass(frozen=True)
class Folding:
    """How objects of one type are retrieved, and the function that folds them (a dotted path).

    The function takes the object, and returns whether it is ours: others may use the same account at Stripe.
    """

    by: str
    retrieve: Retrieve


def intent_of_charge(stripe: StripeClient, charge_id: str) -> Any:
    """Return the payment that a charge belongs to, None if it belongs to none (of ours each does)."""
    intent = stripe.v1.charges.retrieve(charge_id).payment_intent
    return intent and payment_intent(stripe, intent if isinstance(intent, str) else intent.id)


def payment_intent(stripe: StripeClient, intent_id: str) -> Any:
    return stripe.v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]})


# By the `object` of what an event is about.
FOLDS: dict[str, Folding] = {
    "payment_intent": Folding("payments.topups.fold_intent", payment_intent),
    "charge": Folding("payments.topups.fold_intent", intent_of_charge),
    "checkout.session": Folding(
        "payments.cards.fold_session",
        lambda stripe, id: stripe.v1.checkout.sessions.retrieve(
            id, {"expand": ["setup_intent.payment_method", "payment_intent.latest_charge"]}
        ),
    ),
    "setup_intent": Folding(
        "payments.cards.fold_setup_intent",
        lambda stripe, id: stripe.v1.setup_intents.retrieve(id, {"expand": ["payment_method"]}),
    ),
    "payment_method": Folding(
        "payments.cards.fold_payment_method", lambda stripe, id: stripe.v1.payment_methods.retrieve(id)
    ),
    "customer": Folding("payments.customers.fold_customer", lambda stripe, id: stripe.v1.customers.retrieve(id)),
    "refund": Folding("payments.refunds.fold_refund", lambda stripe, id: stripe.v1.refunds.retrieve(id)),
    "dispute": Folding("payments.disputes.fold_dispute", lambda stripe, id: stripe.v1.disputes.retrieve(id)),
    "invoice": Folding("payments.invoices.fold_invoice", lambda stripe, id: stripe.v1.invoices.retrieve(id)),
    "subscription": Folding(
        "payments.subscriptions.fold_subscription", lambda stripe, id: stripe.v1.subscriptions.retrieve(id)
    ),
    # Of events without a snapshot ("thin"), the event itself is what is to be read.
    "v2.core.event": Folding(
        "payments.metering.fold_error_report", lambda stripe, id: stripe.v2.core.events.retrieve(id)
    ),
}

# What we are told of, by webhook or by the list of events; `stripesetup` has Stripe send these.
SNAPSHOT_TYPES = frozenset(
    [
        *(f"payment_intent.{what}" for what in ("succeeded", "processing", "requires_action")),
        *(f"payment_intent.{what}" for what in ("payment_failed", "canceled")),
        *("checkout.session.completed", "checkout.session.expired"),
        *("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"),
        *("setup_intent.succeeded", "charge.refunded"),
        *(f"payment_method.{what}" for what in ("attached", "detached", "updated", "automatically_updated")),
        *("customer.updated", "customer.deleted"),
        *("refund.created", "refund.updated", "refund.failed"),
        *(f"charge.dispute.{what}" for what in ("created", "updated", "closed")),
        *(f"charge.dispute.{what}" for what in ("funds_withdrawn", "funds_reinstated")),
        *(f"invoice.{what}" for what in ("created", "finalized", "paid", "payment_failed", "updated")),
        *(f"invoice.{what}" for what in ("voided", "marked_uncollectible")),
        *(f"customer.subscription.{what}" for what in ("created", "updated", "deleted")),
    ]
)
THIN_TYPES = frozenset(["v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"])
TYPES = SNAPSHOT_TYPES | THIN_TYPES


def fold(kind: str, object_id: str) -> bool:
    """Retrieve an object and fold it; return whether it is ours. Raise what `client.errors` raises, but not Missing."""
    folding = FOLDS[kind]
    try:
        with client.errors():
            found = folding.retrieve(client.client(), object_id)
    except client.Missing:
        return False
    if found is None:
        return False
    return bool(import_string(folding.by)(found))
