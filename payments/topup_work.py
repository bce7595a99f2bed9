"""What is asked of Stripe for a top-up, a step at a time.

A step may be repeated by anybody at any time: each request has its row's idempotency key, and what comes of it is
folded (payments.topups). Stripe forgets keys after a day, so a request that was not answered in that time is looked for
among the customer's payments, and never sent again.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from payments import cards, client, customers, keys, topups, words
from payments.models import MESSAGE_CHARS, TopUp
from payments.topups import State, end, fold_facts, look_up

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCreateParams
    from stripe.params.checkout import SessionCreateParams

logger = logging.getLogger(__name__)

SHORTEST, LONGEST = dt.timedelta(seconds=1), dt.timedelta(hours=1)
SOONEST_LOOK = dt.timedelta(seconds=5)
WHAT_IS_BOUGHT = "Credit"  # on Stripe's page, the receipt, and for its own staff
# After the words of Stripe's codes: what a request of ours can be refused for.
CARD_GONE = ("resource_missing", "payment_method_unexpected_state", "payment_method_customer_decline")


class TopUpWork:
    """The top-ups that wait for us, or for Stripe."""

    lane, thread_share = client.LANE, client.THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return TopUp.due_rows()

    def step(self, row: TopUp) -> dt.datetime | None:
        return step(row)

    def give_up(self, row: TopUp) -> dt.datetime | None:
        """Leave it as it is: nobody knows whether money was taken. Webhooks are still folded into it."""
        row.mine().update(message=how_often(row, "Asking Stripe")[:MESSAGE_CHARS])
        return None


def advance(topup: TopUp) -> TopUp:
    """Go on with a top-up now, for a member who waits; what can't be done now a worker does later. Return it anew."""
    again = step(topup)
    # Unless somebody else has woken it meanwhile.
    as_left = TopUp.objects.filter(pk=topup.pk, due_at=topup.due_at, lease_until=None)
    as_left.update(due_at=again)
    topup.refresh_from_db()
    return topup


def cancel(topup: TopUp) -> TopUp:
    """Close the page on which a top-up is paid, so that nobody pays there any more; return the top-up anew.

    It may have been paid before: then it has succeeded. Other top-ups can't be cancelled. Raise StripeTrouble.
    """
    if topup.session_id and topup.state == State.REQUIRES_ACTION:
        try:
            with client.errors():
                cards.fold_session(client.client().v1.checkout.sessions.expire(topup.session_id))
        except (client.Unauthorized, client.Unavailable):
            raise
        except client.Refused:  # it is closed already
            look(topup)
    topup.refresh_from_db()
    return topup


def step(row: TopUp) -> dt.datetime | None:
    """Do what is next for a top-up; return when to look again."""
    row.refresh_from_db()
    try:
        if row.state == State.SUCCEEDED:
            finish(row)
        elif row.intent_id or row.session_id:
            look(row)
        elif row.state in TopUp.OPEN:
            send(row)
    except client.Unavailable as exc:
        return _wait(row, exc)
    except client.Unauthorized as exc:
        logger.error("Stripe refuses our key", extra={"topup": str(row.pk), "why": str(exc)})
        return _wait(row, exc)
    except client.Refused as exc:
        # Such as a payment that this key does not know. Nobody knows more of it until that is put right.
        logger.error("top-up can't be looked at", extra={"topup": str(row.pk), "why": str(exc)})
        row.refresh_from_db()
        return timezone.now() + LONGEST
    before = row.state
    row.refresh_from_db()
    if row.state != before and row.due_at is not None and row.due_at <= timezone.now():
        return row.due_at  # what was folded wants something done at once
    if row.state not in TopUp.OPEN:
        return None
    age = timezone.now() - row.created_at
    return timezone.now() + min(max(age / 4, SOONEST_LOOK), LONGEST)


def _wait(row: TopUp, exc: client.StripeTrouble) -> dt.datetime:
    """Return when to ask again: after as long as it has taken so far, a second at least, an hour at most."""
    logger.warning("top-up waits", extra={"topup": str(row.pk), "why": str(exc), "request": exc.request_id})
    now = timezone.now()
    return now + min(max(now - (row.first_sent_at or row.created_at), SHORTEST), LONGEST)


def send(row: TopUp) -> None:
    """Ask Stripe for the payment, or for the page on which it is paid. Raise Unavailable, Unauthorized."""
    first = row.first_sent_at
    # What was begun and not answered may have been done.
    if first is not None and _found(row):
        return
    if _is_given_up(row):
        return
    keys.renew(row)
    try:
        customer = customers.at_stripe(row.customer)
        if row.replaced_intent_id and not _replaced_is_cancelled(row):
            return
        TopUp.objects.filter(pk=row.pk, first_sent_at=None).update(first_sent_at=timezone.now())
        if row.hosted:
            _open_page(row, customer)
        else:
            _charge(row, customer)
    except client.Declined as exc:
        _declined(row, exc)
    except client.KeyReused:
        logger.exception("idempotency key used for another request", extra={"topup": str(row.pk)})
        if not _found(row):
            end(row, State.FAILED, "refused")
    except (client.Unauthorized, client.Unavailable):
        raise
    except client.Refused as exc:
        _refused(row, exc)


def _is_given_up(row: TopUp) -> bool:
    """End a top-up that is not asked for any more; return whether. Had it been made all the same, it is credited."""
    if timezone.now() - (row.first_sent_at or row.created_at) > client.KEY_LASTS:
        end(row, State.FAILED, "unreachable")
    elif row.origin == TopUp.Origin.AUTO and not row.hosted and not topups.automatic_on(row.customer_id):
        # Stripe was away, and meanwhile nobody wants it.
        end(row, State.CANCELLED, "switched_off")
    else:
        return False
    return True


def _charge(row: TopUp, customer: str) -> None:
    wanted: PaymentIntentCreateParams = {
        "amount": row.cents,
        "currency": settings.BILLING_CURRENCY,
        "customer": customer,
        "payment_method": row.payment_method_id,
        "allowed_payment_method_types": ["card"],
        "confirm": True,
        "off_session": True,
        "description": WHAT_IS_BOUGHT,
        "metadata": _about(row),
        "expand": ["latest_charge"],
    }
    with keys.asking(row) as options:
        made = client.client().v1.payment_intents.create(wanted, options)
    topups.fold_intent(made)


def _open_page(row: TopUp, customer: str) -> None:
    payment: Any = {"metadata": _about(row), "description": WHAT_IS_BOUGHT}
    if row.save_card:
        payment["setup_future_usage"] = "off_session"
    wanted: SessionCreateParams = {
        "mode": "payment",
        "customer": customer,
        "allowed_payment_method_types": ["card"],
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": settings.BILLING_CURRENCY,
                    "unit_amount": row.cents,
                    "product_data": {"name": WHAT_IS_BOUGHT},
                },
            }
        ],
        "payment_intent_data": payment,
        "metadata": _about(row),
        "success_url": row.return_url,
        "cancel_url": row.return_url,
    }
    with keys.asking(row, "page") as options:
        made = client.client().v1.checkout.sessions.create(wanted, options)
    topups.note_page(row, client.plain(made))


def _about(row: TopUp) -> dict[str, str]:
    return {"topup": str(row.pk), "account": str(row.customer_id)}


def _declined(row: TopUp, exc: client.Declined) -> None:
    if exc.intent_id:
        fold_facts(look_up(exc.intent_id))
    else:
        end(row, State.FAILED, exc.code, exc.decline_code)


def _refused(row: TopUp, exc: client.Refused) -> None:
    extra = {"topup": str(row.pk), "code": exc.code, "request": exc.request_id, "why": str(exc)}
    logger.error("top-up refused by Stripe", extra=extra)
    known = "card_gone" if exc.code in CARD_GONE and not row.hosted else exc.code
    end(row, State.FAILED, known if known in words.PLAIN else "refused")
    if exc.code in CARD_GONE:  # or the customer is
        cards.refresh(row.customer)


def _replaced_is_cancelled(row: TopUp) -> bool:
    """Cancel the payment whose place a page takes, so that nobody pays twice; False if it turns out to be paid."""
    try:
        with client.errors():
            client.client().v1.payment_intents.cancel(row.replaced_intent_id)
    except client.Unauthorized:
        raise
    except client.Refused as exc:  # it can't be cancelled any more
        facts = look_up(row.replaced_intent_id)
        fold_facts(facts)
        if facts["status"] not in ("canceled", "succeeded"):
            raise client.Unavailable("The first payment can't be cancelled yet.", code=exc.code) from exc
        return bool(facts["status"] == "canceled")
    return True


def _found(row: TopUp) -> bool:
    """Find and fold what a request of ours made whose answer never came; False if it made nothing.

    Stripe's lists hold all that was made before they are asked for, which its search does not.
    """
    if not row.customer.stripe_id or row.first_sent_at is None:
        return False
    # Ours is among those made since; Stripe's clock may be behind.
    since: Any = {"gte": int((row.first_sent_at - customers.CLOCKS).timestamp())}
    listed: Any = {"created": since, "limit": 100}
    if (made := row.customer.first_sent_at) is None or made <= row.first_sent_at:
        listed["customer"] = row.customer.stripe_id  # else it was asked for with one that was deleted since
    stripe = client.client().v1
    with client.errors():
        pages = stripe.checkout.sessions.list(listed) if row.hosted else stripe.payment_intents.list(listed)
        for found in pages.auto_paging_iter():
            facts = client.plain(found)
            if client.named_in(facts, "topup") == row.pk and facts["id"] != row.replaced_intent_id:
                cards.fold_session(found) if row.hosted else fold_facts(facts)
                return True
    return False


def look(row: TopUp) -> None:
    """Ask Stripe how a payment is, or the page on which it is paid. Raise StripeTrouble."""
    if row.session_id:
        with client.errors():
            session = client.client().v1.checkout.sessions.retrieve(row.session_id)
        cards.fold_session(session)
    elif row.intent_id:
        facts = look_up(row.intent_id)
        fold_facts(facts)
        if facts["status"] in topups.UNCONFIRMED and timezone.now() - row.created_at > client.KEY_LASTS:
            # Stripe failed halfway: nothing will be taken, and while it is there nothing ends it.
            with client.errors():
                topups.fold_intent(client.client().v1.payment_intents.cancel(row.intent_id))


def finish(row: TopUp) -> None:
    """Do what follows a payment, where it is still to do: save its card, and keep the address of its receipt."""
    assert row.intent_id
    if row.receipt_url and not row.save_card:
        return
    facts = look_up(row.intent_id)
    charge = facts.get("latest_charge")
    receipt = charge.get("receipt_url") if isinstance(charge, dict) else ""
    if row.save_card and (card := client.id_of(facts.get("payment_method"))):
        try:
            cards.adopt(row.customer, card)
        except (client.Unauthorized, client.Unavailable):
            raise
        except client.Refused as exc:  # such as removed meanwhile: the money has come all the same
            logger.warning("card not saved", extra={"topup": str(row.pk), "why": str(exc), "request": exc.request_id})
    TopUp.objects.filter(pk=row.pk).update(save_card=False, receipt_url=receipt or "")
