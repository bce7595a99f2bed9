"""How a customer pays: what it has topped up (prepaid), or by an invoice each month for what it cast (metered).

Both cast on the account's credit. A metered customer's credit holds its limit, granted when its subscription begins at
Stripe; what it casts is reported from then on, and what it pays is credited, so the limit is how much may be unpaid.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from accounts import credit
from accounts.models import Credit
from core.money import money
from core.queue import wakeups
from core.queue.due import DueQuerySet
from core.queue.poison import how_often
from payments import catalog, client, customers, keys, metering
from payments.models import MESSAGE_CHARS, Customer, MeterReport, Subscription

logger = logging.getLogger(__name__)

State, Mode = Subscription.State, Customer.Mode
DAYS_UNTIL_DUE = 14  # of an invoice that is mailed
OVER = ("canceled", "incomplete_expired")  # Stripe's words for a subscription that invoices nothing any more
BEGUN = ("active", "past_due", "unpaid", "trialing", "paused")
MOST_WAIT = 3600  # seconds, between tries
SEAL_AFTER = dt.timedelta(seconds=5)  # after each full hour


class ModeRefused(ValueError):
    """A customer can't pay in this way; str() says why and what to do."""


# --- what operators decide -------------------------------------------------------------------------------------------


def set_mode(customer: Customer, mode: str, limit_cents: int | None = None, *, by: str) -> None:
    """Have a customer pay otherwise, or change its limit. Raise ModeRefused.

    To metered: as soon as Stripe has its subscription, what is captured is invoiced, the limit is granted, and what it
    had topped up stays its credit. To prepaid: the limit ends at once, what was captured until now is invoiced at once,
    and what it owes is missing in its credit until it is paid.
    """
    with transaction.atomic():
        locked = Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        if mode == Mode.METERED:
            _meter(locked, limit_cents, by)
        elif locked.mode == Mode.METERED:
            [own] = Subscription.objects.select_for_update(no_key=True).filter(customer=locked, state__in=_GOING)
            _end(locked, own, by)
        transaction.on_commit(wakeups.work_is_due)
    customer.refresh_from_db()


_GOING = (State.NEW, State.ACTIVE)


def _meter(customer: Customer, limit_cents: int | None, by: str) -> None:
    if limit_cents is None or limit_cents <= 0:
        raise ModeRefused("A metered customer needs a credit limit above 0: how much of its casts may be unpaid.")
    mails = not customer.payment_method_id
    if customer.mode == Mode.PREPAID:
        if customer.deleted_at is not None:
            raise ModeRefused("This customer was deleted at Stripe. It has to be made anew first.")
        if mails and not customer.email:
            raise ModeRefused("Save a card, or an e-mail address to which invoices go: it has neither.")
        if customer.subscriptions.filter(state=State.ENDING).exists():
            raise ModeRefused("Its last subscription is still being invoiced. Try again when that has ended.")
        Subscription.objects.create(customer=customer, mails_invoices=mails, due_at=timezone.now())
        # It would charge the card for what the invoice is for.
        customer.auto_topup_below_cents = customer.auto_topup_cents = None
    customer.mode, customer.credit_limit_cents = Mode.METERED, limit_cents
    customer.save(
        update_fields=["mode", "credit_limit_cents", "auto_topup_below_cents", "auto_topup_cents"],
    )
    if customer.subscriptions.filter(state=State.ACTIVE).exists():
        grant_limit(customer, limit_cents, by=by)


def _end(customer: Customer, own: Subscription, by: str) -> None:
    """End a subscription's time now. What was captured in it is still to be reported, and invoiced."""
    ending: dict[str, Any] = {"state": State.ENDING}
    if own.started_at is not None:
        ending["upto_entry"] = metering.newest_capture(customer.pk)
    elif own.first_sent_at is None:  # Stripe knows nothing of it
        ending = {"state": State.ENDED, "ended_at": timezone.now()}
    Subscription.objects.filter(pk=own.pk).update(**ending)
    Subscription.due_rows().wake(pk=own.pk)
    customer.mode, customer.credit_limit_cents = Mode.PREPAID, None
    customer.save(update_fields=["mode", "credit_limit_cents"])
    grant_limit(customer, 0, by=by)


def grant_limit(customer: Customer, cents: int, *, by: str) -> None:
    """Have what is granted as the customer's limit come to `cents`, by adding the difference. Locks the customer."""
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        source = f"limit:{customer.pk}:"
        granted = Credit.objects.filter(account=customer.pk, source__startswith=source)
        now = granted.aggregate(sum=Sum("cents", default=0))["sum"]
        if difference := cents - now:
            note = f"credit limit: {money(cents)}"
            credit.book(
                customer.pk, Credit.Kind.GRANT, difference, f"{source}{granted.count() + 1}", note=note, by=by[:200]
            )


# --- at Stripe -------------------------------------------------------------------------------------------------------


class SubscriptionWork:
    """Subscriptions that are to begin or to end, and what is captured in their time: sealed each hour."""

    lane, thread_share = client.LANE, client.THREAD_SHARE

    def rows(self) -> DueQuerySet:
        return Subscription.due_rows()

    def step(self, row: Subscription) -> dt.datetime | None:
        own = row.mine().select_related("customer").first()
        if own is None or own.state == State.ENDED:
            return None
        try:
            if own.started_at is None:
                return begin(own)
            metering.seal(own)
            return next_hour() if own.state == State.ACTIVE else finish(own)
        except (client.Unavailable, client.Unauthorized) as exc:
            own.mine().update(message=str(exc)[:MESSAGE_CHARS])
            return timezone.now() + dt.timedelta(seconds=min(2 ** min(own.attempts - 1, 20), MOST_WAIT))
        except client.Refused as exc:  # what is wrong may be put right
            logger.error("subscription refused", extra={"subscription": str(own.pk), "why": str(exc)})
            own.mine().update(message=str(exc)[:MESSAGE_CHARS])
            return timezone.now() + dt.timedelta(minutes=10)

    def give_up(self, row: Subscription) -> dt.datetime | None:
        """Go on as if nothing had happened in an hour: it must be sealed, and nobody else does that."""
        row.mine().update(message=how_often(row, "Its step")[:MESSAGE_CHARS])
        return next_hour()


def next_hour() -> dt.datetime:
    now = timezone.now()
    return now.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1) + SEAL_AFTER


def begin(own: Subscription) -> dt.datetime | None:
    """Have Stripe make the subscription, once; return when to go on. Raise what `client.errors` raises."""
    now, customer = timezone.now(), own.customer
    payer = customers.at_stripe(customer)
    if own.stripe_customer not in ("", payer):  # deleted, and its subscription with it, if it had one
        own.mine().update(first_sent_at=None, refusals=own.refusals + 1, stripe_customer="")
        return now
    if own.first_sent_at is not None and (found := find(own)) is not None:
        fold_subscription(found)
        return now
    if own.state == State.ENDING:  # and Stripe has none: it was ended before it began
        own.mine().update(state=State.ENDED, ended_at=now)
        return None
    if own.first_sent_at is not None and now > own.first_sent_at + client.KEY_LASTS:
        # There is none, as we have just seen; another key is as good as the old one.
        own.mine().update(first_sent_at=None, refusals=own.refusals + 1)
        return now
    keys.renew(own)
    price = catalog.price()
    if not own.mine().update(first_sent_at=own.first_sent_at or now, stripe_customer=payer):
        return None
    try:
        with keys.asking(own) as options:
            made = client.client().v1.subscriptions.create(
                asked(own, price.id),  # type: ignore[arg-type]
                options,
            )
    except client.Refused as exc:
        if not isinstance(exc, client.Unauthorized | client.KeyReused):
            own.mine().update(first_sent_at=None, refusals=own.refusals + 1)
            catalog.forget()
        raise
    fold_subscription(made)
    return timezone.now()


def asked(own: Subscription, price_id: str) -> dict[str, Any]:
    """Return what is asked of Stripe: a subscription by calendar months (UTC), as the ledger's are."""
    by_mail = {"collection_method": "send_invoice", "days_until_due": DAYS_UNTIL_DUE}
    return {
        "customer": own.customer.stripe_id,
        "items": [{"price": price_id}],
        "billing_cycle_anchor_config": {"day_of_month": 1, "hour": 0, "minute": 0, "second": 0},
        "metadata": {"subscription": str(own.pk), "account": str(own.customer_id)},
        **(by_mail if own.mails_invoices else {"collection_method": "charge_automatically"}),
    }


def find(own: Subscription) -> Any:
    """Return the subscription at Stripe, None if there is none. Raise what `client.errors` raises."""
    with client.errors():
        listed = client.client().v1.subscriptions.list(
            {"customer": str(own.customer.stripe_id), "status": "all", "limit": 100}
        )
        return next((one for one in listed.auto_paging_iter() if _named(one) == str(own.pk)), None)


def finish(own: Subscription) -> dt.datetime | None:
    """Have Stripe end a subscription and invoice the rest, once all of its time counts there; return when to go on."""
    now = timezone.now()
    if MeterReport.objects.filter(customer=own.customer_id, state__in=MeterReport.OPEN).exists():
        return now + dt.timedelta(minutes=1)
    if own.status not in OVER:
        keys.renew(own)  # what is ended already is not ended again
        try:
            with keys.asking(own, "end") as options:
                ended = client.client().v1.subscriptions.cancel(
                    str(own.stripe_id), {"invoice_now": True, "prorate": False}, options
                )
        except client.Missing:  # ended already, or by somebody else
            with client.errors():
                ended = client.client().v1.subscriptions.retrieve(str(own.stripe_id))
        if ended.status not in OVER:
            return now + dt.timedelta(minutes=1)
        own.mine().update(status=ended.status)
    own.mine().update(state=State.ENDED, ended_at=now)
    return None


def fold_subscription(found: Any) -> bool:
    """Take over what Stripe says of a subscription; return whether it is ours."""
    own = Subscription.objects.filter(stripe_id=found.id).first()
    if own is None and (key := client.named_in(client.plain(found), "subscription")) is not None:
        own = Subscription.objects.filter(pk=key).first()
    if own is None or not client.of_our_mode(client.plain(found)):
        return False
    with transaction.atomic():
        customer = Customer.objects.select_for_update(no_key=True).get(pk=own.customer_id)
        own = Subscription.objects.select_for_update(no_key=True).get(pk=own.pk)
        if own.status in OVER:
            return True  # nothing changes any more; this may be an older state
        own.stripe_id, own.status, own.message = found.id, found.status, ""
        own.save(update_fields=["stripe_id", "status", "message"])
        if own.started_at is None and found.status in BEGUN:
            _begun(customer, own, dt.datetime.fromtimestamp(found.start_date, dt.UTC))
        if found.status in OVER and own.state in _GOING:
            logger.warning("subscription ended at Stripe", extra={"subscription": str(own.pk), "account": customer.pk})
            _end(customer, own, by="Stripe ended the subscription")
            why = "It was ended at Stripe. What was captured since its last invoice may not be invoiced."
            Subscription.objects.filter(pk=own.pk).update(message=why)
    return True


def _begun(customer: Customer, own: Subscription, at: dt.datetime) -> None:
    """Count what is captured from now on, and grant the limit. What was captured before was paid for otherwise."""
    newest = metering.newest_capture(customer.pk)
    own.started_at, own.after_entry, own.sealed_upto_entry = at, newest, newest
    if own.state == State.NEW:
        own.state = State.ACTIVE
        if customer.credit_limit_cents is not None:
            grant_limit(customer, customer.credit_limit_cents, by="its subscription began")
    else:
        own.upto_entry = newest
    own.save(update_fields=["started_at", "after_entry", "sealed_upto_entry", "upto_entry", "state"])
    Subscription.due_rows().wake(pk=own.pk)


def _named(found: Any) -> str:
    return str(client.plain(found.metadata).get("subscription") or "")


def ensure() -> None:
    """Wake subscriptions that are open and rest all the same. Any worker may call this."""
    resting = Subscription.objects.filter(state__in=Subscription.OPEN, due_at=None, lease_until=None)
    resting.update(due_at=timezone.now())
    MeterReport.objects.filter(state__in=MeterReport.OPEN, due_at=None, lease_until=None, failed_steps=0).update(
        due_at=timezone.now()
    )


def troubled() -> Any:
    """Return subscriptions that an operator should look at: unpaid, not begun for an hour, or with a message."""
    hour_ago = timezone.now() - dt.timedelta(hours=1)
    open_ones = Subscription.objects.filter(state__in=Subscription.OPEN)
    return (
        open_ones.filter(status__in=("past_due", "unpaid", "paused", "incomplete"))
        | open_ones.filter(state=State.NEW, created_at__lt=hour_ago)
        | Subscription.objects.exclude(message="")
    )
