"""Accounts as Stripe's customers: each is made there when it is first needed, once."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from accounts import credit
from accounts.models import Account
from payments import client, keys
from payments.models import Customer

if TYPE_CHECKING:
    from stripe import StripeObject
    from stripe.params import CustomerCreateParams

logger = logging.getLogger(__name__)

# After which what Stripe did not answer is looked for: it repeats a failure of its own for as long as it keeps the key.
LOOK_AFTER = dt.timedelta(minutes=10)
CLOCKS = dt.timedelta(hours=1)  # by which Stripe's clock and ours may differ, amply
NO_CARD: dict[str, Any] = {
    "payment_method_id": "",
    "card_brand": "",
    "card_last4": "",
    "card_exp_month": None,
    "card_exp_year": None,
}


class OtherMode(client.Refused):
    """The customer was made with a key of the other mode, live or test."""


def begin(account: Account, *, email: str = "") -> Customer:
    """Return the account's row, made if there is none: from then on the account's casts are paid for from credit."""
    with transaction.atomic():
        credit.begin_billing(account)
        customer, _ = Customer.objects.get_or_create(account=account, defaults={"email": email})
    return customer


def of(account: Account) -> Customer | None:
    """Return the row of an account whose casts need credit, None of another's.

    Billing also begins with a grant of credit, which knows nothing of payments: then the row is made here.
    """
    if not account.billed:
        return None
    return Customer.objects.select_related("account").get_or_create(account=account)[0]


class StillMetered(ValueError):
    """What the customer casts is invoiced: that has to end first."""


def end(customer: Customer) -> None:
    """Have the account's casts cost no credit any more; card, credit and history stay. Raise StillMetered."""
    from payments import autotopup

    with transaction.atomic():
        locked = Customer.objects.select_for_update(no_key=True).select_related("account").get(pk=customer.pk)
        if locked.mode == Customer.Mode.METERED:
            raise StillMetered("Make it prepaid first: then what it has cast until now is invoiced.")
        autotopup.switch_off(locked, why="Billing was turned off.")
        credit.end_billing(locked.account)


def at_stripe(customer: Customer) -> str:
    """Return the customer's id at Stripe, where it is made if it is not there yet. Raise StripeTrouble."""
    customer.refresh_from_db()
    if customer.deleted_at is not None:
        _begin_anew(customer)
    if customer.stripe_id:
        if customer.livemode not in (None, client.live()):
            raise OtherMode(
                "This customer was made with a key of Stripe's other mode (live or test). STRIPE_SECRET_KEY must be of "
                "the mode in which the installation began."
            )
        return customer.stripe_id
    now = timezone.now()
    Customer.objects.filter(pk=customer.pk, key=customer.key, first_sent_at=None).update(first_sent_at=now)
    long_ago = customer.first_sent_at is not None and now - customer.first_sent_at > LOOK_AFTER
    made = _found(customer) if long_ago or customer.spent_at else None
    if made is None:
        if long_ago:
            _begin_anew(customer)
        keys.renew(customer, keys.NO_REST)  # a second one, without a card, costs nothing
        made = _made(customer)
    mine = Customer.objects.filter(pk=customer.pk, key=customer.key, stripe_id=None)
    mine.update(stripe_id=made, livemode=client.live())
    customer.refresh_from_db()
    return customer.stripe_id or made


def _made(customer: Customer) -> str:
    wanted: CustomerCreateParams = {
        "name": customer.account.name,
        "metadata": {"account": str(customer.pk), "customer": str(customer.key)},
    }
    if customer.email:
        wanted["email"] = customer.email
    try:
        with keys.asking(customer) as options:
            made = client.client().v1.customers.create(wanted, options)
    except client.KeyReused:  # the name or the address was changed after we had asked
        if (found := _found(customer)) is not None:
            return found
        _begin_anew(customer)
        return _made(customer)
    logger.info("customer made", extra={"account": customer.pk, "customer": made.id})
    return made.id


def _found(customer: Customer) -> str | None:
    """Return the id of the customer that an unanswered request of ours made, None if it made none."""
    assert customer.first_sent_at is not None
    first, last = customer.first_sent_at - CLOCKS, customer.first_sent_at + client.KEY_LASTS + 2 * CLOCKS
    created: Any = {"gte": int(first.timestamp()), "lte": int(last.timestamp())}
    with client.errors():
        for found in client.client().v1.customers.list({"created": created, "limit": 100}).auto_paging_iter():
            if (client.plain(found).get("metadata") or {}).get("customer") == str(customer.key):
                return found.id
    return None


def _begin_anew(customer: Customer) -> None:
    """Forget a customer that is not at Stripe any more, or that was never made there."""
    anew: dict[str, Any] = {"key": uuid.uuid4(), "stripe_id": None, "livemode": None, "first_sent_at": timezone.now()}
    anew |= {"keys_spent": 0, "spent_at": None}
    Customer.objects.filter(pk=customer.pk, key=customer.key).update(**anew, **NO_CARD, deleted_at=None)
    customer.refresh_from_db()


def set_email(customer: Customer, email: str) -> None:
    """Change where Stripe sends receipts and invoices. Raise StripeTrouble, and change nothing."""
    if customer.stripe_id and customer.deleted_at is None:
        with client.errors():
            client.client().v1.customers.update(at_stripe(customer), {"email": email})
    Customer.objects.filter(pk=customer.pk).update(email=email)
    customer.email = email


def fold_customer(found: StripeObject) -> bool:
    """Fold a customer of Stripe's into its row; False if it is nobody's."""
    from payments import cards

    facts = client.plain(found)
    customer = Customer.objects.filter(stripe_id=facts["id"]).first()
    if customer is None or not client.of_our_mode(facts):
        return False
    if facts.get("deleted"):
        note_deleted(customer, facts["id"])
    else:
        cards.refresh(customer)
    return True


def note_deleted(customer: Customer, stripe_id: str) -> None:
    """Note that Stripe's customer is gone for good: another is made when one is needed."""
    gone = Customer.objects.filter(pk=customer.pk, stripe_id=stripe_id, deleted_at=None)
    if gone.update(deleted_at=timezone.now(), **NO_CARD):
        logger.warning("customer deleted at Stripe", extra={"account": customer.pk, "customer": stripe_id})
