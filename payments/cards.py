"""The card that an account has saved. A page of Stripe's takes it; we hold what people are shown of it.

Which card counts is for Stripe to say: the one that its customer's invoices are paid with. It changes there, too: in
the portal, or because the bank has sent a new card.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.utils import timezone

from payments import client, customers
from payments.models import CardSetup, Customer, idempotency_key

if TYPE_CHECKING:
    from stripe import StripeObject
    from stripe.params.checkout import SessionCreateParams

logger = logging.getLogger(__name__)

NO_CARD = customers.NO_CARD
LOOKS = 5  # at Stripe, while others note what they saw at the same time


def begin_setup(customer: Customer, *, return_url: str) -> CardSetup:
    """Return a page of Stripe's on which a member saves a card. Raise StripeTrouble.

    The page leads back to `return_url`, also whoever leaves it without a card.
    """
    setup = CardSetup.objects.create(customer=customer, return_url=return_url)
    try:
        return _open_page(setup)
    except client.Missing:  # the customer may have been deleted at Stripe; then the next has another
        refresh(customer)
        raise


def _open_page(setup: CardSetup) -> CardSetup:
    customer, return_url = setup.customer, setup.return_url
    about = {"setup": str(setup.pk), "account": str(customer.pk)}
    wanted: SessionCreateParams = {
        "mode": "setup",
        "customer": customers.at_stripe(customer),
        "allowed_payment_method_types": ["card"],
        "success_url": return_url,
        "cancel_url": return_url,
        "metadata": about,
        "setup_intent_data": {"metadata": about},
    }
    with client.errors():
        made = client.client().v1.checkout.sessions.create(wanted, {"idempotency_key": idempotency_key(setup)})
    _note_page(setup, client.plain(made))
    setup.refresh_from_db()
    return setup


def _note_page(setup: CardSetup, session: dict[str, Any]) -> None:
    changes: dict[str, Any] = {"session_id": session["id"], "url": session.get("url") or ""}
    if session.get("expires_at"):
        changes["expires_at"] = dt.datetime.fromtimestamp(session["expires_at"], dt.UTC)
    CardSetup.objects.filter(pk=setup.pk).update(**changes)


def look(setup: CardSetup) -> None:
    """Ask Stripe what became of a page, for a member who has come back from it. Raise StripeTrouble."""
    if setup.session_id:
        with client.errors():
            session = client.client().v1.checkout.sessions.retrieve(setup.session_id)
        fold_session(session)
        setup.refresh_from_db()


def fold_session(found: StripeObject) -> bool:
    """Fold a page of Stripe's into the row that it was made for; False if it is nobody's. Raise StripeTrouble."""
    from payments import topups

    facts = client.plain(found)
    if facts["mode"] == "payment":
        return topups.fold_paid_page(facts)
    setup = _setup_of(facts)
    if setup is None or not client.of_our_mode(facts):
        return False
    _note_page(setup, facts)
    if facts["status"] == "complete" and (intent := facts.get("setup_intent")):
        if not isinstance(intent, dict):
            with client.errors():
                intent = client.plain(client.client().v1.setup_intents.retrieve(intent))
        _complete(setup, intent)
    return True


def fold_setup_intent(found: StripeObject) -> bool:
    """Fold the saving of a card, which its page's end tells as well; False if it is nobody's. Raise StripeTrouble."""
    facts = client.plain(found)
    setup = _setup_of(facts)
    if setup is None or not client.of_our_mode(facts):
        return False
    _complete(setup, facts)
    return True


def _setup_of(facts: dict[str, Any]) -> CardSetup | None:
    named = client.named_in(facts, "setup")
    return CardSetup.objects.select_related("customer").filter(pk=named).first() if named else None


def _complete(setup: CardSetup, intent: dict[str, Any]) -> None:
    if setup.completed_at is not None:
        return  # the card may have been replaced, or removed, since
    if intent.get("status") == "succeeded" and (card := client.id_of(intent.get("payment_method"))):
        adopt(setup.customer, card)
        CardSetup.objects.filter(pk=setup.pk, completed_at=None).update(completed_at=timezone.now())


def adopt(customer: Customer, card: str) -> None:
    """Have a card of the customer's count from now on, unless a newer one does. Raise StripeTrouble."""
    at_stripe = customers.at_stripe(customer)
    stripe = client.client().v1
    with client.errors():
        method = client.plain(stripe.payment_methods.retrieve(card))
        usual = _usual_card(client.plain(stripe.customers.retrieve(at_stripe)))
        newer = usual is not None and usual["created"] > method["created"]
        if client.id_of(method.get("customer")) == at_stripe and not newer:
            stripe.customers.update(at_stripe, {"invoice_settings": {"default_payment_method": card}})
            Customer.objects.filter(pk=customer.pk).update(auto_topup_failures=0)
            logger.info("card saved", extra={"account": customer.pk, "payment_method": card})
    refresh(customer)


def refresh(customer: Customer) -> None:
    """Note which card Stripe has as the customer's usual one. Raise StripeTrouble."""
    for _ in range(LOOKS):
        customer.refresh_from_db()
        if not customer.stripe_id or customer.deleted_at is not None:
            return
        with client.errors():
            facts = client.plain(client.client().v1.customers.retrieve(customer.stripe_id))
            if facts.get("deleted"):
                return customers.note_deleted(customer, facts["id"])
            usual = _usual_card(facts)
        # Of several looks at once, the one that was noted first may have seen less than the others: these look again.
        as_seen = Customer.objects.filter(pk=customer.pk, key=customer.key, card_version=customer.card_version)
        shown = _shown(usual)
        if as_seen.update(card_version=F("card_version") + 1, email=facts.get("email") or "", **shown):
            customer.refresh_from_db()
            return
    raise client.Unavailable("The customer's card was looked up by others at the same time.")


def _usual_card(customer: dict[str, Any]) -> dict[str, Any] | None:
    """Ask for the card that a customer's invoices are paid with; None if there is none any more."""
    if not (named := client.id_of((customer.get("invoice_settings") or {}).get("default_payment_method"))):
        return None
    # Not by `expand`, which a customer that was deleted meanwhile would refuse.
    method = client.plain(client.client().v1.payment_methods.retrieve(named))
    return method if client.id_of(method.get("customer")) == customer["id"] else None


def _shown(method: dict[str, Any] | None) -> dict[str, Any]:
    if method is None:
        return NO_CARD
    card = method.get("card") or {}
    return {
        "payment_method_id": method["id"],
        "card_brand": card.get("display_brand") or card.get("brand") or method["type"],
        "card_last4": card.get("last4") or "",
        "card_exp_month": card.get("exp_month"),
        "card_exp_year": card.get("exp_year"),
    }


def remove(customer: Customer) -> None:
    """Have Stripe forget every card of the customer's, and top up by itself no more. Raise StripeTrouble."""
    from payments import autotopup

    stripe = client.client().v1
    at_stripe = customers.at_stripe(customer)
    with client.errors():
        for method in stripe.customers.payment_methods.list(at_stripe, {"limit": 100}).auto_paging_iter():
            stripe.payment_methods.detach(method.id)
    autotopup.switch_off(customer, why="The card was removed.")
    refresh(customer)


def fold_payment_method(found: StripeObject) -> bool:
    """Fold what became of a card: a new expiry date from its bank, its removal. False if it is nobody's."""
    facts = client.plain(found)
    holder = client.id_of(facts.get("customer"))
    customer = Customer.objects.filter(stripe_id=holder).first() if holder else None
    # A card that was removed names nobody any more.
    customer = customer or Customer.objects.filter(payment_method_id=facts["id"]).first()
    if customer is None or not client.of_our_mode(facts):
        return False
    refresh(customer)
    return True
