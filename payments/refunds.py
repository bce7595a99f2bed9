"""Money of a top-up given back to its card: as an operator decided here, or by hand at Stripe.

The credit is taken in the transaction that stores the refund, so that it is not spent meanwhile, and given back if the
refund fails, which may be weeks later.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from accounts import credit
from core.money import money
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from payments import autotopup, client, keys, topups
from payments.currency import chargeable
from payments.customers import CLOCKS
from payments.errors import RefundRefused
from payments.models import MESSAGE_CHARS, Refund, TopUp
from payments.topup_work import LONGEST, SHORTEST, SOONEST_LOOK

if TYPE_CHECKING:
    from stripe import StripeObject
    from stripe.params import RefundCreateParams

logger = logging.getLogger(__name__)

State = Refund.State
GIVEN = (State.NEW, State.PENDING, State.SUCCEEDED)  # the money has gone back, or is on its way
BY_HAND = "at Stripe"  # who decided it: somebody in Stripe's dashboard
NO_MORE_BY_ITSELF = "A payment was refunded."
# Stripe's words; what it may still want of the customer is on the way as well.
STATES = {
    "pending": State.PENDING,
    "requires_action": State.PENDING,
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "canceled": State.CANCELLED,
}
# Which state a refund may come to from which. A bank may send back what Stripe had counted as arrived.
FROM = {
    State.PENDING: (State.NEW,),
    State.SUCCEEDED: (State.NEW, State.PENDING),
    State.FAILED: GIVEN,
    State.CANCELLED: GIVEN,
}


def begin(topup: TopUp, cents: int, *, reason: str, by: str, spent_too: bool = False) -> Refund:
    """Store a refund of a top-up, or of a part of it; a worker does the rest. Raise RefundRefused.

    What the account has spent or holds is not refunded, unless the operator says so (`spent_too`): then its credit may
    fall below zero.
    """
    if not reason.strip():
        raise RefundRefused("Say why; the account's owner and other operators read it.")
    if cents <= 0 or not chargeable(cents):
        raise RefundRefused(f"{money(cents)} can't be refunded.")
    with transaction.atomic():
        ours = TopUp.objects.filter(pk=topup.pk, state=TopUp.State.SUCCEEDED)
        if not ours.filter(cents__gte=F("refunded_cents") + cents).update(refunded_cents=F("refunded_cents") + cents):
            topup.refresh_from_db()
            left = topup.cents - topup.refunded_cents if topup.state == TopUp.State.SUCCEEDED else 0
            raise RefundRefused(f"Of this top-up, {money(left)} can be refunded.", refundable_cents=left)
        now = timezone.now()
        refund = Refund.objects.create(topup=topup, cents=cents, reason=reason, by=by, due_at=now)
        autotopup.switch_off(topup.customer, why=NO_MORE_BY_ITSELF)
        credit.book(topup.customer_id, "refund", -cents, source(refund), note=reason, by=by)
        state = credit.state(topup.customer.account)
        if not spent_too and state is not None and state.remaining_cents < 0:
            unspent = max(state.remaining_cents + cents, 0)
            raise RefundRefused(
                f"The account has {money(unspent)} that it has not spent; more is refunded only if you say so.",
                unspent_cents=unspent,
            )
        transaction.on_commit(wakeups.work_is_due)
    return refund


def source(refund: Refund) -> str:
    """Return what its credit is booked under."""
    return f"refund:{refund.pk}"


def fold_refund(found: StripeObject) -> bool:
    """Fold a refund of Stripe's into its row; False if it is for none of ours. Raise StripeTrouble."""
    facts = client.plain(found)
    if not client.of_our_mode(facts):
        return False
    refund = _row_of(facts)
    if refund is None:
        return False
    state = STATES[facts["status"] or "pending"]
    changes: dict[str, Any] = {"refund_id": facts["id"]}
    if state in (State.FAILED, State.CANCELLED):
        changes["message"] = f"Stripe could not refund it: {facts.get('failure_reason') or state}."
    move(refund, state, **changes)
    return True


def move(refund: Refund, state: str, **changes: Any) -> bool:
    """Move a refund on, and give back its credit if it has failed; False if it is there or further already."""
    failed = state in (State.FAILED, State.CANCELLED)
    if failed or state == State.SUCCEEDED:
        changes["ended_at"] = timezone.now()
    with transaction.atomic():
        # The top-up first, as where a refund begins.
        TopUp.objects.select_for_update(no_key=True).get(pk=refund.topup_id)
        ours = Refund.objects.filter(pk=refund.pk, state__in=FROM[State(state)])
        if not ours.update(**{"state": state, **changes}):
            return False
        if failed:
            _count(refund.topup_id)
            credit.book(refund.topup.customer_id, "refund", refund.cents, f"{source(refund)}:failed", by=refund.by)
    logger.info("refund moved", extra={"refund": str(refund.pk), "state": state, "cents": refund.cents})
    return True


def _count(topup_id: Any) -> None:
    """Count what was refunded of a top-up, whose row is locked. At Stripe nobody can refund more than all of it."""
    given = Refund.objects.filter(topup=topup_id, state__in=GIVEN).aggregate(sum=Coalesce(Sum("cents"), 0))["sum"]
    TopUp.objects.filter(pk=topup_id).update(refunded_cents=Least(F("cents"), given))


def _row_of(facts: dict[str, Any]) -> Refund | None:
    """Return the row of a refund of Stripe's, made if it began there; None if its payment is none of ours."""
    refunds = Refund.objects.select_related("topup__customer__account")
    if (named := client.named_in(facts, "refund")) is not None:
        return refunds.filter(pk=named).first()
    topup = topups.paid_by(client.id_of(facts.get("payment_intent")))
    if topup is None or facts["currency"] != settings.BILLING_CURRENCY:
        return None
    with transaction.atomic():
        TopUp.objects.select_for_update(no_key=True).get(pk=topup.pk)
        if (known := refunds.filter(refund_id=facts["id"]).first()) is not None:
            return known
        refund = Refund.objects.create(
            topup=topup, cents=facts["amount"], reason=facts.get("reason") or "", by=BY_HAND, refund_id=facts["id"]
        )
        _count(topup.pk)
        autotopup.switch_off(topup.customer, why=NO_MORE_BY_ITSELF)
        credit.book(topup.customer_id, "refund", -refund.cents, source(refund), note=refund.reason, by=BY_HAND)
    logger.warning("refunded by hand", extra={"topup": str(topup.pk), "refund": facts["id"], "cents": refund.cents})
    return refunds.get(pk=refund.pk)


class RefundWork:
    """The refunds that wait for us, or for Stripe."""

    lane, thread_share = client.LANE, client.THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return Refund.due_rows()

    def step(self, row: Refund) -> dt.datetime | None:
        row.refresh_from_db()
        try:
            if row.state == State.NEW and not row.refund_id:
                send(row)
            elif row.state == State.PENDING and row.refund_id:
                with client.errors():
                    fold_refund(client.client().v1.refunds.retrieve(row.refund_id))
        except (client.Unavailable, client.Unauthorized) as exc:
            logger.warning("refund waits", extra={"refund": str(row.pk), "why": str(exc), "request": exc.request_id})
            age = timezone.now() - (row.first_sent_at or row.created_at)
            return timezone.now() + min(max(age, SHORTEST), LONGEST)
        row.refresh_from_db()
        if row.state != State.PENDING:
            return None
        return timezone.now() + min(max((timezone.now() - row.created_at) / 4, SOONEST_LOOK), 24 * LONGEST)

    def give_up(self, row: Refund) -> dt.datetime | None:
        """Leave it as it is: nobody knows whether money was given. Webhooks are still folded into it."""
        row.mine().update(message=how_often(row, "Asking Stripe")[:MESSAGE_CHARS])
        return None


def send(row: Refund) -> None:
    """Ask Stripe for the refund. Raise Unavailable, Unauthorized."""
    first = row.first_sent_at
    if first is not None and _found(row):
        return
    if timezone.now() - (first or row.created_at) > client.KEY_LASTS:
        move(row, State.FAILED, message="Stripe could not be reached for a day. Nothing was refunded.")
        return
    keys.renew(row)
    Refund.objects.filter(pk=row.pk, first_sent_at=None).update(first_sent_at=timezone.now())
    wanted: RefundCreateParams = {
        "payment_intent": row.topup.intent_id or "",
        "amount": row.cents,
        "metadata": {"refund": str(row.pk), "topup": str(row.topup_id)},
    }
    try:
        with keys.asking(row) as options:
            made = client.client().v1.refunds.create(wanted, options)
        fold_refund(made)
    except (client.Unauthorized, client.Unavailable):
        raise
    except client.KeyReused:
        logger.exception("idempotency key used for another request", extra={"refund": str(row.pk)})
        if not _found(row):
            move(row, State.FAILED, message="Stripe refused it.")
    except client.StripeTrouble as exc:
        logger.error("refund refused by Stripe", extra={"refund": str(row.pk), "code": exc.code})
        move(row, State.FAILED, message=f"Stripe refused it: {exc}"[:MESSAGE_CHARS])


def _found(row: Refund) -> bool:
    """Find and fold what a request of ours made whose answer never came; False if it made nothing."""
    since: Any = {"gte": int(((row.first_sent_at or row.created_at) - CLOCKS).timestamp())}
    wanted: Any = {"payment_intent": row.topup.intent_id, "created": since, "limit": 100}
    with client.errors():
        for found in client.client().v1.refunds.list(wanted).auto_paging_iter():
            if client.named_in(client.plain(found), "refund") == row.pk:
                return fold_refund(found)
    return False


def fold_refunds_of(intent: str) -> None:
    """Fold all refunds of a payment, for what no event of their own told. Raise StripeTrouble."""
    with client.errors():
        for found in client.client().v1.refunds.list({"payment_intent": intent, "limit": 100}).auto_paging_iter():
            fold_refund(found)
