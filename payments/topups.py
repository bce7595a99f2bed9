"""Money taken from a card, once, and credited, once.

A top-up is a row before Stripe is asked for anything. What Stripe says of its payment is folded in, whoever learns it:
the answer to our request, a webhook, a later look. The move to `succeeded` and the credit are one transaction, and the
credit's source is the payment's id, so it is booked once. `topup_work` does the asking.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import credit, events
from core.money import money
from payments import client, currency, words
from payments.errors import AmountRefused, NoCard, TopUpUnderWay
from payments.models import Customer, TopUp

if TYPE_CHECKING:
    from stripe import StripeObject

logger = logging.getLogger(__name__)

State, Origin = TopUp.State, TopUp.Origin
SUCCEEDED, FAILED = "topup.succeeded", "topup.failed"
UNCONFIRMED = ("requires_payment_method", "requires_confirmation")  # without an error: the card is not yet charged
# After which a worker takes over from who began a top-up and does what follows by himself.
TAKE_OVER = dt.timedelta(seconds=30)


def begin(
    customer: Customer,
    cents: int,
    *,
    by: str,
    hosted: bool = False,
    save_card: bool = False,
    origin: str = Origin.MEMBER,
    return_url: str = "",
    request_key: str = "",
    request_digest: str = "",
) -> TopUp:
    """Store a top-up, to be paid on a page of Stripe's (`hosted`) or with the saved card; `topup_work.advance` goes on.

    Raise AmountRefused, NoCard, TopUpUnderWay, and IntegrityError if there is one with this `request_key`.
    """
    check_amount(cents)
    with transaction.atomic():
        # So that two clicks are not two charges.
        locked = Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        card = "" if hosted else locked.payment_method_id
        if not hosted and not card:
            raise NoCard("The account has no saved card. Save one first, or pay on Stripe's page.")
        if not hosted:
            under_way = locked.topups.filter(origin=origin, hosted=False, state__in=TopUp.OPEN).first()
            if under_way is not None and not (request_key and under_way.request_key == request_key):
                raise TopUpUnderWay(
                    f"A top-up of {money(under_way.cents)} is under way; see how that ends first.",
                    topup_id=str(under_way.pk),
                )
        return TopUp.objects.create(
            customer=customer,
            cents=cents,
            by=by,
            hosted=hosted,
            payment_method_id=card,
            save_card=save_card and hosted,
            origin=origin,
            return_url=return_url or settings.PUBLIC_URL,
            request_key=request_key,
            request_digest=request_digest,
            due_at=timezone.now() + TAKE_OVER,
        )


def check_amount(cents: int) -> None:
    """Raise AmountRefused if no card can be charged this."""
    least, most, step = currency.least(), currency.most(), currency.step()
    if cents < least:
        raise AmountRefused(f"A top-up is {money(least)} at least.", least_cents=least)
    if cents > most:
        raise AmountRefused(f"A top-up is {money(most)} at most.", most_cents=most)
    if not currency.chargeable(cents):
        code = settings.BILLING_CURRENCY.upper()
        raise AmountRefused(f"In {code}, amounts are multiples of {money(step)}.", multiple_of_cents=step)


# --- What Stripe says of it --------------------------------------------------------------------------------------


def fold_intent(found: StripeObject) -> bool:
    """Fold a payment into the top-up that it is for; False if it is for none."""
    return fold_facts(client.plain(found))


def fold_facts(facts: dict[str, Any]) -> bool:
    topup = of_intent(facts)
    if topup is None or not client.of_our_mode(facts):
        return False
    status, error = facts["status"], facts.get("last_payment_error") or {}
    if status == "succeeded":
        _succeed(topup, facts)
        _look_for_refunds(topup, facts)
    elif facts["id"] == topup.replaced_intent_id:
        pass  # it was cancelled for a page of Stripe's, and must not end what is paid there
    elif topup.hosted:
        _go_on_hosted(topup, facts, error)
    elif status == "requires_action" or "authentication_required" in (error.get("code"), error.get("decline_code")):
        _want_holder(topup, facts["id"])
    elif status == "canceled":
        end(topup, State.CANCELLED, "canceled", intent_id=facts["id"])
    elif status == "requires_payment_method" and error:
        end(topup, State.FAILED, error.get("code") or "", error.get("decline_code") or "", intent_id=facts["id"])
    elif status == "processing":
        _go_on(topup, State.PROCESSING, intent_id=facts["id"])
    elif status in UNCONFIRMED:
        _go_on(topup, State.NEW, intent_id=facts["id"])
    return True


def of_intent(facts: dict[str, Any]) -> TopUp | None:
    """Return the top-up that a payment is for."""
    named = client.named_in(facts, "topup")
    return TopUp.objects.select_related("customer").filter(pk=named).first() if named else None


def paid_by(intent: str) -> TopUp | None:
    """Return the top-up that a payment was for, also if nobody has learnt yet that it was paid. Raise StripeTrouble."""
    paid = TopUp.objects.select_related("customer__account")
    if not intent:
        return None
    if (known := paid.filter(intent_id=intent, state=State.SUCCEEDED).first()) is not None:
        return known
    try:
        facts = look_up(intent)
    except client.Missing:
        return None
    fold_facts(facts)
    if facts["status"] != "succeeded" or (topup := of_intent(facts)) is None:
        return None
    return paid.get(pk=topup.pk)


def fold_paid_page(facts: dict[str, Any]) -> bool:
    """Fold a page on which a top-up is paid, and its payment; False if it is for none. Raise StripeTrouble."""
    topup = of_intent(facts)
    if topup is None or not client.of_our_mode(facts):
        return False
    note_page(topup, facts)
    if intent := client.id_of(facts.get("payment_intent")):
        shown = facts["payment_intent"]
        payment = shown if isinstance(shown, dict) else look_up(intent)
        fold_facts(payment)
        if facts["status"] == "complete" and payment["status"] in ("requires_payment_method", "canceled"):
            # A payment that takes days has failed after its page was done with.
            error = payment.get("last_payment_error") or {}
            end(topup, State.FAILED, error.get("code") or "", error.get("decline_code") or "", intent_id=intent)
    if facts["status"] == "expired":
        # Who was sent there because a charge of the saved card needed them did not come: that charge has failed.
        wanted = topup.replaced_intent_id
        state, code = (State.FAILED, "authentication_required") if wanted else (State.CANCELLED, "expired")
        end(topup, state, code, message=words.PLAIN["expired"])
    return True


def note_page(topup: TopUp, facts: dict[str, Any]) -> None:
    open_ones = TopUp.objects.filter(pk=topup.pk, state__in=(State.NEW, State.REQUIRES_ACTION), hosted=True)
    if facts["status"] == "open":
        open_ones.update(state=State.REQUIRES_ACTION, session_id=facts["id"], action_url=facts.get("url") or "")
        if topup.replaced_intent_id:
            _tell_holder(topup, facts.get("url") or "")
    else:
        open_ones.update(session_id=facts["id"], action_url="")


def look_up(intent: str) -> dict[str, Any]:
    with client.errors():
        found = client.client().v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]})
    return client.plain(found)


def _succeed(topup: TopUp, facts: dict[str, Any]) -> None:
    intent, received = facts["id"], facts["amount_received"]
    if facts["currency"] != settings.BILLING_CURRENCY:
        logger.error("paid in another currency", extra={"topup": str(topup.pk), "intent": intent})
        took = f"{intent} took {received} {facts['currency'].upper()} in its smallest unit, and nothing is credited."
        with transaction.atomic():
            # Once: the code stays when it is settled.
            TopUp.objects.filter(pk=topup.pk).exclude(code="currency").update(to_settle=took)
            if not end(topup, State.FAILED, "currency", intent_id=intent, message="It was paid in another currency."):
                TopUp.objects.filter(pk=topup.pk).update(code="currency")
        return
    if received != topup.cents:
        logger.error("another amount was paid", extra={"topup": str(topup.pk), "intent": intent})
    paid: dict[str, Any] = {
        "state": State.SUCCEEDED,
        "cents": received,
        "intent_id": intent,
        "ended_at": timezone.now(),
    }
    # Woken, for what follows: see topup_work.finish.
    now = timezone.now()
    paid |= {"action_url": "", "code": "", "decline_code": "", "message": "", "ended_at": now, "due_at": now}
    with transaction.atomic():
        moved = TopUp.objects.filter(pk=topup.pk).exclude(state=State.SUCCEEDED).update(**paid)
        if moved and topup.origin == Origin.AUTO:
            Customer.objects.filter(pk=topup.customer_id).update(auto_topup_failures=0)
        if moved:
            events.tell(topup.customer_id, SUCCEEDED, f"{SUCCEEDED}:{topup.pk}", told(topup, State.SUCCEEDED, received))
        # Also if the top-up had succeeded by another payment: what was paid is credited.
        booked = credit.book(topup.customer_id, "topup", received, intent, by=topup.by)
        if booked and not moved:
            again = f"It was paid again, by {intent}: {money(received)} more are credited. Give one payment back."
            TopUp.objects.filter(pk=topup.pk).update(to_settle=again)
        elif booked and received != topup.cents:
            other = f"{money(received)} were taken and credited, in place of {money(topup.cents)}."
            TopUp.objects.filter(pk=topup.pk).update(to_settle=other)
    if booked:
        facts_told = {"topup": str(topup.pk), "intent": intent, "cents": received}
        logger.log(logging.INFO if moved else logging.ERROR, "paid" if moved else "paid again", extra=facts_told)


def _look_for_refunds(topup: TopUp, facts: dict[str, Any]) -> None:
    from payments import refunds

    charge = facts.get("latest_charge")
    refunded = charge.get("amount_refunded", 0) if isinstance(charge, dict) else 0
    if refunded > TopUp.objects.values_list("refunded_cents", flat=True).get(pk=topup.pk):
        refunds.fold_refunds_of(facts["id"])


def _go_on(topup: TopUp, state: str, **changes: Any) -> None:
    """Note where an open top-up is. One that processes goes back to nothing but its end."""
    before = Q(state=State.NEW) | Q(state=State.REQUIRES_ACTION)
    TopUp.objects.filter(before, pk=topup.pk).update(state=state, **changes)


def _go_on_hosted(topup: TopUp, facts: dict[str, Any], error: dict[str, Any]) -> None:
    """Note how it goes on Stripe's page, where a member may try another card: only the page's end ends it."""
    if facts["status"] == "processing":
        _go_on(topup, State.PROCESSING, intent_id=facts["id"])
    elif error:
        code, decline = error.get("code") or "", words.told_code(error.get("decline_code") or "")
        _go_on(topup, State.REQUIRES_ACTION, code=code, decline_code=decline, message=words.declined(code, decline))


def _want_holder(topup: TopUp, intent: str) -> None:
    """Have a page of Stripe's take the place of a charge that the card's bank does not allow without its holder."""
    code = "authentication_required"
    TopUp.objects.filter(pk=topup.pk, state__in=(State.NEW, State.PROCESSING), hosted=False).update(
        state=State.REQUIRES_ACTION,
        hosted=True,
        save_card=True,  # as confirmed by its holder, it needs less of that later
        replaced_intent_id=intent,
        intent_id=None,
        first_sent_at=None,
        spent_at=None,
        code=code,
        decline_code=code,
        message=words.PLAIN[code],
        due_at=timezone.now(),
    )


def _tell_holder(topup: TopUp, url: str) -> None:
    """Tell of a page that waits for the card's holder, who may not be there: a top-up may be automatic."""
    code = "authentication_required"
    data = told(topup, State.REQUIRES_ACTION, topup.cents, code, code, words.PLAIN[code])
    with transaction.atomic():
        events.tell(topup.customer_id, FAILED, f"{FAILED}:{topup.pk}:{code}", data | {"action_url": url})


def end(
    topup: TopUp, state: str, code: str, decline_code: str = "", *, intent_id: str | None = None, message: str = ""
) -> bool:
    """End an open top-up without money; False if it has ended. A payment that succeeds after all is credited still."""
    from payments import autotopup

    decline_code = words.told_code(decline_code)
    why: dict[str, Any] = {"code": code, "decline_code": decline_code}
    why["message"] = message or words.declined(code, decline_code)
    changes = why | {"action_url": "", "ended_at": timezone.now()} | ({"intent_id": intent_id} if intent_id else {})
    with transaction.atomic():
        if not TopUp.objects.filter(pk=topup.pk, state__in=TopUp.OPEN).update(state=state, **changes):
            return False
        if topup.origin == Origin.AUTO and code != "switched_off":
            autotopup.count_failure(topup.customer_id, why["message"])
        # Whoever leaves a page without paying needs no message.
        if state == State.FAILED or topup.origin == Origin.AUTO:
            data = told(topup, state, topup.cents, code, decline_code, why["message"])
            events.tell(topup.customer_id, FAILED, f"{FAILED}:{topup.pk}", data)
    logger.info("top-up ended", extra={"topup": str(topup.pk), "state": state, "code": code, "decline": decline_code})
    return True


def told(
    topup: TopUp, state: str, cents: int, code: str = "", decline_code: str = "", message: str = ""
) -> dict[str, Any]:
    """Return what an account's owner is told of a top-up."""
    return {
        "topup_id": str(topup.pk),
        "state": state,
        "cents": cents,
        "currency": settings.BILLING_CURRENCY,
        "origin": topup.origin,
        "code": code,
        "decline_code": decline_code,
        "message": message,
        "automatic_topups_on": automatic_on(topup.customer_id),
    }


def automatic_on(customer_id: int) -> bool:
    on = Customer.objects.filter(pk=customer_id, auto_topup_below_cents__isnull=False, auto_topup_off_reason="")
    return on.exists()
