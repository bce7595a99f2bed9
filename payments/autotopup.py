"""Topping up by itself when credit falls below a mark, with the saved card, until that fails three times in a row."""

from __future__ import annotations

import datetime as dt
import logging

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import credit
from accounts.models import Account
from core.money import money
from core.queue import wakeups
from payments import currency, topups
from payments.errors import AmountRefused, NoCard, PaysByInvoice
from payments.models import Customer, TopUp

logger = logging.getLogger(__name__)

FAILURES_MAX = 3
# Between a failure and the next try: a bank that declines now declines in a minute, too.
WAITS = (dt.timedelta(hours=1), dt.timedelta(hours=6))
# How many begin within a time: a small amount under a high mark would be charged again and again.
MOST, MOST_WITHIN = 10, dt.timedelta(hours=1)
SOON = 5  # seconds, after which a card has been charged as a rule


def is_on(customer: Customer) -> bool:
    return customer.auto_topup_below_cents is not None and not customer.auto_topup_off_reason


def switch_on(customer: Customer, *, below_cents: int, cents: int) -> None:
    """Top up by `cents` whenever the credit that is left falls below `below_cents`, from now on.

    Raise AmountRefused, NoCard, PaysByInvoice.
    """
    topups.check_amount(cents)
    if below_cents < 0 or below_cents > currency.most():
        raise AmountRefused("The mark below which credit is topped up is an amount from 0 on.", least_cents=0)
    if cents * MOST < below_cents:
        least = -(-below_cents // MOST)
        raise AmountRefused(
            f"To stay above {money(below_cents)} it takes top-ups of {money(least)} at least: {MOST} are made an hour.",
            least_cents=least,
        )
    with transaction.atomic():
        if Customer.objects.select_for_update(no_key=True).get(pk=customer.pk).mode == Customer.Mode.METERED:
            raise PaysByInvoice("This account pays by invoice for what it casts, so it does not top up by itself.")
        wanted = Customer.objects.filter(pk=customer.pk).exclude(payment_method_id="")
        changes = {"auto_topup_below_cents": below_cents, "auto_topup_cents": cents}
        if not wanted.update(**changes, auto_topup_failures=0, auto_topup_off_reason=""):
            raise NoCard("The account has no saved card to top up with. Save one first.")
        # Which tops up at once if the credit is below by now.
        credit.set_refill(customer.pk, below_cents)
    customer.refresh_from_db()


def switch_off(customer: Customer, *, why: str = "") -> None:
    """Top up by itself no more. With a reason, it is kept what was wanted, and members are shown why it is off."""
    ours = Customer.objects.filter(pk=customer.pk, auto_topup_below_cents__isnull=False)
    if why:
        ours.filter(auto_topup_off_reason="").update(auto_topup_off_reason=why)
    else:
        nothing = {"auto_topup_below_cents": None, "auto_topup_cents": None}
        ours.update(**nothing, auto_topup_off_reason="", auto_topup_failures=0)
    customer.refresh_from_db()


def credit_low(account_id: int, remaining_cents: int) -> None:
    """Begin a top-up if the account has it so: called in the transaction in which its credit fell (CREDIT_LOW)."""
    if (customer := Customer.objects.filter(pk=account_id).first()) is not None:
        start(customer, remaining_cents)


def start(customer: Customer, remaining_cents: int) -> None:
    """Begin an automatic top-up if one is due and none is under way.

    The caller may have the credit's counter locked, for which others wait with the row of a top-up locked: so nothing
    is waited for here but the database's own check that there is one at a time.
    """
    below = customer.auto_topup_below_cents
    if can(customer) and below is not None and remaining_cents < below and _hindrance(customer) is None:
        _begin(customer)


def can(customer: Customer) -> bool:
    return is_on(customer) and bool(customer.payment_method_id)


def _begin(customer: Customer) -> None:
    assert customer.auto_topup_cents is not None  # see `can`
    topup = TopUp(
        customer=customer,
        cents=customer.auto_topup_cents,
        origin=TopUp.Origin.AUTO,
        payment_method_id=customer.payment_method_id,
        return_url=settings.PUBLIC_URL,
        by="automatic",
        due_at=timezone.now(),
    )
    TopUp.objects.bulk_create([topup], ignore_conflicts=True)
    transaction.on_commit(wakeups.work_is_due)


def _hindrance(customer: Customer) -> credit.Remedy | None:
    """Say why no automatic top-up begins now although it is on; None if one may."""
    automatic = customer.topups.filter(origin=TopUp.Origin.AUTO)
    if (under_way := automatic.filter(state__in=TopUp.OPEN).first()) is not None:
        return _under_way(under_way)
    now = timezone.now()
    if (until := _rests_until(customer)) is not None and until > now:
        return credit.Remedy(
            f"The last automatic top-up failed; the next is tried from {until:%Y-%m-%d %H:%M} UTC on.",
            int((until - now).total_seconds()) + 1,
        )
    if automatic.filter(created_at__gt=now - MOST_WITHIN).count() >= MOST:
        return credit.Remedy(f"{MOST} automatic top-ups began within the hour, and no more do.")
    return None


def _under_way(topup: TopUp) -> credit.Remedy:
    if topup.state == TopUp.State.REQUIRES_ACTION:
        return credit.Remedy(f"A top-up of {money(topup.cents)} waits until the card's holder confirms it.")
    return credit.Remedy(f"A top-up of {money(topup.cents)} is under way: try again in a few seconds.", SOON)


def _rests_until(customer: Customer) -> dt.datetime | None:
    """Return until when nothing is tried, as the last automatic top-up failed; None if it did not."""
    if not customer.auto_topup_failures:
        return None
    failed = customer.topups.filter(origin=TopUp.Origin.AUTO, ended_at__isnull=False)
    last = failed.order_by("-ended_at").values_list("ended_at", flat=True).first()
    return last and last + WAITS[min(customer.auto_topup_failures, len(WAITS)) - 1]


def cast_refused(account_id: int, cents: int) -> credit.Remedy | None:
    """Begin a top-up for a cast that the credit did not pay, if one is enough (CREDIT_REFUSED).

    A fall below the mark begins one, but credit may lie above the mark and below a cast's price. Not within the
    refused transaction, nor one that has the credit's counter locked.
    """
    if not Customer.objects.filter(pk=account_id, auto_topup_below_cents__isnull=False).exists():
        return None
    with transaction.atomic():
        # Whose top-up succeeds waits for this row: either its credit is seen here, or that it is under way.
        customer = Customer.objects.select_for_update(no_key=True).get(pk=account_id)
        state = credit.state(Account.objects.get(pk=account_id))
        if state is None or not can(customer) or customer.auto_topup_cents is None:
            return None
        charged = customer.topups.filter(hosted=False, state__in=TopUp.OPEN).exclude(origin=TopUp.Origin.AUTO).first()
        if charged is not None:
            return _under_way(charged)
        missing, adds = cents - state.remaining_cents, customer.auto_topup_cents
        if missing <= 0:
            return credit.Remedy("Credit has come meanwhile: try again.", SOON)
        if (hindrance := _hindrance(customer)) is not None:
            return hindrance
        if missing > adds:
            return credit.Remedy(f"Automatic top-ups add {money(adds)}, which is not enough for this cast.")
        _begin(customer)
    return credit.Remedy(f"A top-up of {money(adds)} has begun: try again in a few seconds.", SOON)


def count_failure(customer_id: int, why: str) -> None:
    """Count an automatic top-up that failed, in the transaction that ends it; the third in a row is the last."""
    ours = Customer.objects.filter(pk=customer_id)
    ours.update(auto_topup_failures=F("auto_topup_failures") + 1)
    reason = f"It failed {FAILURES_MAX} times in a row. The last time: {why}"
    if ours.filter(auto_topup_failures__gte=FAILURES_MAX, auto_topup_off_reason="").update(
        auto_topup_off_reason=reason
    ):
        logger.warning("automatic top-ups off", extra={"account": customer_id, "why": why})


def sweep() -> None:
    """Begin what no fall of credit began: it failed before, or its process was killed. Any worker may call this."""
    wanted = Customer.objects.filter(auto_topup_below_cents__isnull=False, auto_topup_off_reason="")
    for account in list(wanted.exclude(payment_method_id="").values_list("pk", flat=True)):
        with transaction.atomic():
            customer = Customer.objects.select_for_update(no_key=True).get(pk=account)  # as in `cast_refused`
            state = credit.state(Account.objects.get(pk=account))
            if state is not None:
                start(customer, state.remaining_cents)
