"""Topping up by itself when credit falls below a mark, with the saved card, until that fails three times in a row."""

from __future__ import annotations

import datetime as dt
import logging

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import credit
from core.queue import wakeups
from payments import topups
from payments.currency import MOST as MOST_CENTS
from payments.currency import money
from payments.errors import AmountRefused, NoCard, PaysByInvoice
from payments.models import Customer, TopUp

logger = logging.getLogger(__name__)

FAILURES_MAX = 3
# Between a failure and the next try: a bank that declines now declines in a minute, too.
WAITS = (dt.timedelta(hours=1), dt.timedelta(hours=6))
# How many begin within a time: a small amount under a high mark would be charged again and again.
MOST, MOST_WITHIN = 10, dt.timedelta(hours=1)


def is_on(customer: Customer) -> bool:
    return customer.auto_topup_below_cents is not None and not customer.auto_topup_off_reason


def switch_on(customer: Customer, *, below_cents: int, cents: int) -> None:
    """Top up by `cents` whenever the credit that is left falls below `below_cents`, from now on.

    Raise AmountRefused, NoCard, PaysByInvoice.
    """
    topups.check_amount(cents)
    if below_cents < 0 or below_cents > MOST_CENTS:
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
        credit.set_low(customer.pk, below_cents)
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


def start(customer: Customer, remaining_cents: int) -> bool:
    """Begin an automatic top-up if one is due and none is under way.

    The caller may have the credit's counter locked, for which others wait with the row of a top-up locked: so nothing
    is waited for here but the database's own check that there is one at a time.
    """
    if not is_on(customer) or not customer.payment_method_id or customer.auto_topup_cents is None:
        return False
    if customer.auto_topup_below_cents is None or remaining_cents >= customer.auto_topup_below_cents:
        return False
    automatic = customer.topups.filter(origin=TopUp.Origin.AUTO)
    if automatic.filter(state__in=TopUp.OPEN).exists() or _waits(customer):
        return False
    if automatic.filter(created_at__gt=timezone.now() - MOST_WITHIN).count() >= MOST:
        return False
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
    return True


def _waits(customer: Customer) -> bool:
    """Whether the last automatic top-up failed a short while ago."""
    if not customer.auto_topup_failures:
        return False
    failed = customer.topups.filter(origin=TopUp.Origin.AUTO, ended_at__isnull=False)
    last = failed.order_by("-ended_at").values_list("ended_at", flat=True).first()
    wait = WAITS[min(customer.auto_topup_failures, len(WAITS)) - 1]
    return last is not None and last + wait > timezone.now()


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
    for customer in wanted.exclude(payment_method_id="").select_related("account").iterator():
        state = credit.state(customer.account)
        if state is not None:
            start(customer, state.remaining_cents)
